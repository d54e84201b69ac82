"""The table of proposals, and who could agree to one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select, tuple_, update

from libs.common.contracts.channels import AUDIT_EVENTS, NOTIFICATIONS
from libs.common.contracts.messages import AuditEvent, Notification
from libs.common.domain.vocabulary import Level
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.auth.roles import ALL_ACCOUNTS, permissions_of
from libs.common.runtime.database import WriteSession
from libs.common.runtime.four_eyes import Decision, Demand, FourEyes, Proposal
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.security import proposals, users

_WORDS: Final = {Decision.APPROVED: "approve", Decision.REJECTED: "reject"}


class ProposalTable:
    """Implements `Proposals` for one service and account."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._account_id = runtime.settings.account_id
        columns = proposals.c
        self._own = (
            columns.service == runtime.name,
            columns.account_id == self._account_id,
        )

    async def waiting(self, now: dt.datetime) -> Sequence[Proposal]:
        """Return those that wait, oldest first."""
        columns = proposals.c
        query = select(proposals).where(
            *self._own, columns.decision.is_(None), columns.expires_at > now
        )
        async with self._database.read() as session:
            return [_proposal(row) for row in await session.rows(query.order_by(columns.id))]

    async def page(self, *, limit: int, after: UUID | None) -> Sequence[Proposal]:
        """Return all, newest first."""
        columns = proposals.c
        query = select(proposals).where(*self._own)
        if after is not None:
            place = select(columns.proposed_at, columns.id).where(columns.id == after)
            query = query.where(tuple_(columns.proposed_at, columns.id) < place.scalar_subquery())
        query = query.order_by(columns.proposed_at.desc(), columns.id.desc()).limit(limit)
        async with self._database.read() as session:
            return [_proposal(row) for row in await session.rows(query)]

    async def get(self, proposal_id: UUID) -> Proposal | None:
        """Return one, None if there is none."""
        async with self._database.read() as session:
            row = await session.row(
                select(proposals).where(*self._own, proposals.c.id == proposal_id)
            )
        return None if row is None else _proposal(row)

    async def add(self, proposal: Proposal, correlation_id: UUID) -> None:
        """Keep a new one; people hear of it."""
        async with self._database.write() as tx:
            await tx.execute(insert(proposals).values(**dataclasses.asdict(proposal)))
            await self._record(tx, proposal, "propose", proposal.proposed_by, correlation_id)
            await self._runtime.outbox.add(
                tx,
                NOTIFICATIONS,
                Notification(
                    level=Level.WARNING,
                    title=f"Approval wanted: {proposal.body['summary']}",
                    message=(
                        f"{proposal.proposed_by} asks for it: {proposal.body['reason']}."
                        f" `tradewind approvals approve {proposal.id}` until"
                        f" {proposal.expires_at:%H:%M} UTC"
                    ),
                    fingerprint=f"proposal:{proposal.id}",
                    ts=proposal.proposed_at,
                    context={"proposal_id": str(proposal.id), "action": proposal.action},
                ),
                correlation_id=correlation_id,
                key=proposal.service,
            )

    async def decide(
        self,
        proposal_id: UUID,
        decision: Decision,
        who: Principal,
        now: dt.datetime,
        correlation_id: UUID,
    ) -> Proposal | None:
        """Decide one that waits; of several at once the first wins, the others get None."""
        columns = proposals.c
        statement = (
            update(proposals)
            .where(
                *self._own,
                columns.id == proposal_id,
                columns.decision.is_(None),
                columns.expires_at > now,
            )
            .values(
                decision=decision.value,
                decided_by=who.actor,
                decider_id=who.subject,
                decided_at=now,
            )
            .returning(*columns)
        )
        async with self._database.write() as tx:
            row = await tx.row(statement)
            if row is None:
                return None
            proposal = _proposal(row)
            await self._record(tx, proposal, _WORDS[decision], who.actor, correlation_id)
        return proposal

    async def conclude(self, proposal: Proposal, outcome: str, correlation_id: UUID) -> Proposal:
        """Note how the act ended."""
        concluded = dataclasses.replace(proposal, outcome=outcome)
        async with self._database.write() as tx:
            await tx.execute(
                update(proposals).where(proposals.c.id == proposal.id).values(outcome=outcome)
            )
            await self._record(tx, concluded, "carry_out", proposal.actors, correlation_id)
        return concluded

    async def approvers(self, permission: str) -> int:
        """Return how many active users hold `permission` for the account."""
        query = select(users.c.roles, users.c.accounts).where(users.c.state == "active")
        async with self._database.read() as session:
            rows = await session.rows(query)
        return sum(
            permission in permissions_of(row["roles"])
            and bool({ALL_ACCOUNTS, self._account_id} & set(row["accounts"]))
            for row in rows
        )

    async def _record(
        self, tx: WriteSession, proposal: Proposal, act: str, actor: str, correlation_id: UUID
    ) -> None:
        event = AuditEvent(
            event_type="four_eyes",
            actor=actor,
            action=act,
            resource=f"proposal:{proposal.id}",
            outcome=proposal.outcome or "done",
            ts=self._runtime.clock.now(),
            details={
                "wish": proposal.action,
                "summary": str(proposal.body["summary"]),
                "reason": str(proposal.body["reason"]),
                "proposed_by": proposal.proposed_by,
                "decided_by": proposal.decided_by or "",
            },
        )
        await self._runtime.outbox.add(tx, AUDIT_EVENTS, event, correlation_id=correlation_id)


def _proposal(row: Any) -> Proposal:
    values = {field.name: row[field.name] for field in dataclasses.fields(Proposal)}
    if values["decision"] is not None:
        values["decision"] = Decision(values["decision"])
    return Proposal(**values)


def four_eyes_of(runtime: Runtime, area: str) -> FourEyes:
    """Return the four eyes of a service, for acts of `area`."""
    settings = runtime.settings
    return FourEyes(
        ProposalTable(runtime),
        service=runtime.name,
        account_id=settings.account_id,
        area=area,
        demand=Demand(settings.four_eyes),
        lasting=dt.timedelta(minutes=settings.proposal_minutes),
        clock=runtime.clock,
        ids=runtime.ids,
    )
