"""Four eyes: what loosens a safeguard needs a second person, where there is one.

A service says what such an act would be (`wish`). Where nobody else could agree to it, a fresh
proof of the caller (step-up) is enough and the act goes on; otherwise it becomes a proposal that
waits for somebody else, who must hold `<area>:approve`, be logged in and be another person than the
proposer, whatever session or key that one used. Both are users: the key file of an installation
belongs to whoever is at the machine, so it is neither of the two. The act is carried out at most
once, by the service that holds the proposal, and only if what it would change still is as it was
when it was proposed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, NotFoundError, TradewindError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.auth.authenticator import STEP_UP_WITHIN
from libs.common.runtime.auth.errors import denied
from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.logging import get_logger

_log = get_logger(__name__)

WAITING_MAX: Final = 100
"""Proposals of one account that may wait at a time."""


class Demand(StrEnum):
    """When a second person is demanded: always, never, or as soon as two people could agree."""

    AUTO = "auto"
    ALWAYS = "always"
    OFF = "off"


class Decision(StrEnum):
    """What a second person said."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Wish:
    """An act that loosens a safeguard: its name, all that is needed to carry it out, what it would
    change as that is now, and a line for people."""

    action: str
    body: Mapping[str, Any]
    summary: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wish that waits, or what became of it. `outcome` is `done`, or why it was not; null after
    an approval means that the service ended before the act was done."""

    id: UUID
    service: str
    account_id: str
    action: str
    body: Mapping[str, Any]
    proposed_by: str
    proposer_id: str
    proposed_at: dt.datetime
    expires_at: dt.datetime
    decision: Decision | None = None
    decided_by: str | None = None
    decider_id: str | None = None
    decided_at: dt.datetime | None = None
    outcome: str | None = None

    def state(self, now: dt.datetime) -> str:
        """Return `waiting`, `expired`, `approved` or `rejected`."""
        if self.decision is not None:
            return self.decision.value
        return "expired" if self.expires_at <= now else "waiting"

    @property
    def actors(self) -> str:
        """Return both names, as records of the act have them."""
        return f"{self.proposed_by}, approved by {self.decided_by}"


Act = Callable[[Proposal, UUID], Awaitable[object]]
"""Carries out an approved proposal, under a correlation id. Raises ConflictError where what it
would change is not any more as it was."""


class Proposals(Protocol):
    """Where proposals are kept; each change is announced with it."""

    async def waiting(self, now: dt.datetime) -> Sequence[Proposal]:
        """Return those that wait."""
        ...

    async def page(self, *, limit: int, after: UUID | None) -> Sequence[Proposal]:
        """Return all, newest first, those before `after`."""
        ...

    async def get(self, proposal_id: UUID) -> Proposal | None:
        """Return one."""
        ...

    async def add(self, proposal: Proposal, correlation_id: UUID) -> None:
        """Keep a new one; people hear of it."""
        ...

    async def decide(
        self,
        proposal_id: UUID,
        decision: Decision,
        who: Principal,
        now: dt.datetime,
        correlation_id: UUID,
    ) -> Proposal | None:
        """Decide one that waits, once; None where it waits no more."""
        ...  # fmt: skip

    async def conclude(self, proposal: Proposal, outcome: str, correlation_id: UUID) -> Proposal:
        """Note how the act of an approved one ended."""
        ...

    async def approvers(self, permission: str) -> int:
        """Return how many active users hold `permission` for the account."""
        ...


class FourEyes:
    """Decides what needs a second person, and carries out what one has agreed to."""

    def __init__(
        self,
        proposals: Proposals,
        *,
        service: str,
        account_id: str,
        area: str,
        demand: Demand,
        lasting: dt.timedelta,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._proposals = proposals
        self._service = service
        self._account_id = account_id
        self.permission = f"{area}:approve"
        self._demand = demand
        self._lasting = lasting
        self._clock = clock
        self._ids = ids
        self._acts: dict[str, Act] = {}

    def carries_out(self, action: str, act: Act) -> None:
        """Say how proposals of `action` are carried out."""
        self._acts[action] = act

    async def wish(self, wish: Wish, who: Principal, correlation_id: UUID) -> Proposal | None:
        """Return None where the act may go on at once, else the proposal that it has become.

        Raises AccessError where nobody else could agree and the caller has not proven lately that
        it is them, and where a second person is demanded and the caller is no person; ConflictError
        where too many wait.
        """
        assert wish.action in self._acts
        if not await self._demanded():
            if not who.is_stepped_up(self._clock.now(), STEP_UP_WITHIN):
                raise denied("step-up-required", "Prove again that it is you, then repeat this.")
            return None
        if who.kind is Kind.SERVICE:
            raise denied(
                "not-a-person",
                "This needs two people: log in to ask for it, then somebody else agrees.",
            )
        now = self._clock.now()
        waiting = await self._proposals.waiting(now)
        body = {**wish.body, "summary": wish.summary, "reason": wish.reason}
        for known in waiting:
            if known.proposer_id == who.subject and known.body == body:
                return known
        if len(waiting) >= WAITING_MAX:
            raise ConflictError(f"{len(waiting)} proposals wait already; decide on some first")
        proposal = Proposal(
            id=self._ids.new(),
            service=self._service,
            account_id=self._account_id,
            action=wish.action,
            body=body,
            proposed_by=who.actor,
            proposer_id=who.subject,
            proposed_at=now,
            expires_at=now + self._lasting,
        )
        await self._proposals.add(proposal, correlation_id)
        _log.warning("proposed", action=wish.action, by=who.actor, summary=wish.summary)
        return proposal

    async def approve(self, proposal_id: UUID, who: Principal, correlation_id: UUID) -> Proposal:
        """Agree to a proposal and carry it out. Returns it with its outcome.

        Raises NotFoundError, AccessError for the proposer, for services and for API keys,
        ConflictError where it waits no more or what it would change has changed.
        """
        proposal = await self._get(proposal_id)
        if who.subject == proposal.proposer_id:
            raise denied("same-person", "Somebody else than the proposer must agree.")
        if who.kind is not Kind.USER:
            raise denied("not-a-person", "A second person must agree, logged in.")
        decided = await self._decide(proposal_id, Decision.APPROVED, who, correlation_id)
        try:
            await self._acts[decided.action](decided, correlation_id)
        except TradewindError as error:
            await self._proposals.conclude(decided, f"not done: {error}", correlation_id)
            raise
        return await self._proposals.conclude(decided, "done", correlation_id)

    async def reject(self, proposal_id: UUID, who: Principal, correlation_id: UUID) -> Proposal:
        """Refuse a proposal, or withdraw one's own. Raises NotFoundError, ConflictError."""
        await self._get(proposal_id)
        return await self._decide(proposal_id, Decision.REJECTED, who, correlation_id)

    async def page(self, *, limit: int, after: UUID | None) -> Sequence[Proposal]:
        """Return proposals, newest first."""
        return await self._proposals.page(limit=limit, after=after)

    async def find(self, proposal_id: UUID) -> Proposal | None:
        """Return a proposal, None if there is none."""
        return await self._proposals.get(proposal_id)

    def now(self) -> dt.datetime:
        """Return the time by which proposals expire."""
        return self._clock.now()

    async def _demanded(self) -> bool:
        if self._demand is Demand.AUTO:
            return await self._proposals.approvers(self.permission) >= 2
        return self._demand is Demand.ALWAYS

    async def _get(self, proposal_id: UUID) -> Proposal:
        proposal = await self._proposals.get(proposal_id)
        if proposal is None:
            raise NotFoundError(f"there is no proposal {proposal_id}")
        return proposal

    async def _decide(
        self, proposal_id: UUID, decision: Decision, who: Principal, correlation_id: UUID
    ) -> Proposal:
        now = self._clock.now()
        decided = await self._proposals.decide(proposal_id, decision, who, now, correlation_id)
        if decided is None:
            state = (await self._get(proposal_id)).state(now)
            raise ConflictError(f"proposal {proposal_id} is {state}")
        _log.warning("decided", decision=decision.value, by=who.actor, proposal=str(proposal_id))
        return decided
