"""What in the risk manager needs a second person, and how it is carried out once there is one."""

from __future__ import annotations

from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.money import plain
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.four_eyes import FourEyes, Proposal, Wish
from services.risk_manager import controls
from services.risk_manager.handlers import Office
from services.risk_manager.limits import LimitKey, Scope, validated
from services.risk_manager.loosening import loosens_limit, loosens_state

LIMIT: Final = "raise_limit"
STATE: Final = "release_kill_switch"
RESUME: Final = "risk:resume"


class Approvals:
    """Turns what loosens a safeguard into proposals."""

    def __init__(self, office: Office, eyes: FourEyes) -> None:
        self.eyes = eyes
        self._office = office
        eyes.carries_out(LIMIT, self._set_limit)
        eyes.carries_out(STATE, self._set_state)

    async def of_limit(
        self, key: LimitKey, value: Decimal | None, reason: str, who: Principal, story: UUID
    ) -> Proposal | None:
        """Return the proposal that raising a limit has become, None where it may be set at once.

        Raises InvalidInputError, AccessError.
        """
        wanted = validated(key, value)
        old = self._office.desk.limits.values.get(key)
        if not loosens_limit(key, old, wanted):
            return None
        where = ":".join(part for part in (key.scope.value, key.key, key.name) if part)
        body = {
            "scope": key.scope.value,
            "scope_key": key.key,
            "name": key.name,
            "old": _text(old),
            "new": _text(wanted),
        }
        summary = f"limit {where} from {_text(old)} to {_text(wanted) or 'none'}"
        return await self.eyes.wish(Wish(LIMIT, body, summary, reason), who, story)

    async def of_state(
        self, state: TradingState, reason: str, who: Principal, story: UUID
    ) -> Proposal | None:
        """Return the proposal that a milder kill switch has become, None where it may be set."""
        switch = self._office.desk.switch
        if not loosens_state(switch.state, state):
            return None
        body = {"state": state.value, "generation": switch.generation, "from": switch.state.value}
        summary = f"kill switch from {switch.state.value} to {state.value}"
        return await self.eyes.wish(Wish(STATE, body, summary, reason), who, story)

    async def _set_limit(self, proposal: Proposal, story: UUID) -> None:
        body = proposal.body
        await controls.set_limit(
            self._office,
            LimitKey(Scope(body["scope"]), body["scope_key"], body["name"]),
            _number(body["new"]),
            reason=body["reason"],
            actor=proposal.actors,
            correlation_id=story,
            basis=controls.LimitBasis(_number(body["old"])),
        )

    async def _set_state(self, proposal: Proposal, story: UUID) -> None:
        body = proposal.body
        await controls.set_state(
            self._office,
            TradingState(body["state"]),
            reason=body["reason"],
            actor=proposal.actors,
            correlation_id=story,
            generation=body["generation"],
        )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
