"""The kill switch and the limits: changed by a person or a rule, kept with their history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.contracts.channels import AUDIT_EVENTS, COMMANDS, RISK_ALERTS
from libs.common.contracts.messages import AuditEvent, Command, RiskAlert
from libs.common.domain.vocabulary import Level, TradingState
from libs.common.kernel.errors import ConflictError
from libs.common.kernel.money import plain
from libs.common.runtime.logging import get_logger
from services.risk_manager.desk import Switch
from services.risk_manager.handlers import Office
from services.risk_manager.limits import LimitBook, LimitKey, defaults, validated
from services.risk_manager.ports import LimitChange, Outgoing

_log = get_logger(__name__)

EXECUTOR: Final = "trade_executor"
_COMMANDS: Final = {
    TradingState.ACTIVE: "resume",
    TradingState.REDUCING: "reduce",
    TradingState.HALTED: "halt",
}
_LEVELS: Final = {
    TradingState.ACTIVE: Level.WARNING,
    TradingState.REDUCING: Level.ERROR,
    TradingState.HALTED: Level.CRITICAL,
}


async def ensure_switch(office: Office) -> None:
    """Read the kill switch; at the very first start make it: active, generation 1."""
    switch = await office.registry.switch()
    if switch is None:
        now = office.clock.now()
        switch = Switch(TradingState.ACTIVE, 1, "first start", "risk_manager", now)
        await office.registry.set_switch(switch, [])
    office.desk.switch = switch


async def set_state(
    office: Office,
    state: TradingState,
    *,
    reason: str,
    actor: str,
    code: str = "TRADING_STATE",
    correlation_id: UUID | None = None,
    flatten: bool = False,
    generation: int | None = None,
) -> Switch:
    """Set the kill switch: a new generation, stored and published to the executor and as an alert.
    A halt with `flatten` has the executor close every position too.

    Asked twice for the same state it rises again: what was approved in between is void. With
    `generation` it is set only if the switch still is at that one. Raises ConflictError if somebody
    else changed it meanwhile, UnavailableError without a database; the memory follows only what is
    stored.
    """
    async with office.lock:
        old = office.desk.switch
        if generation is not None and old.generation != generation:
            raise ConflictError(
                f"the kill switch was set anew since: {old.state.value} by {old.set_by}"
            )
        switch = Switch(state, old.generation + 1, reason, actor, office.clock.now(), flatten)
        messages = _announcement(office, switch, code, correlation_id or office.ids.new())
        await office.registry.set_switch(switch, messages)
        office.desk.switch = switch
    _log.warning(
        "trading_state_set",
        state=state.value,
        generation=switch.generation,
        reason=reason,
        actor=actor,
    )
    return switch


def _announcement(
    office: Office, switch: Switch, code: str, correlation_id: UUID
) -> Sequence[Outgoing]:
    account, state = office.desk.account_id, switch.state
    facts = {
        "account_id": account,
        "state": state.value,
        "generation": str(switch.generation),
        "reason": switch.reason,
        "flatten": "true" if switch.flatten else "false",
    }
    command = Command(
        command=_COMMANDS[state], actor=switch.set_by, ts=switch.set_at, arguments=facts
    )
    alert = RiskAlert(
        account_id=account,
        code=code,
        level=_LEVELS[state],
        message=f"trading is {state.value}: {switch.reason}",
        ts=switch.set_at,
        context={"actor": switch.set_by, **facts},
        generation=switch.generation,
        state=state,
    )
    return [
        Outgoing(COMMANDS, command, correlation_id, key=EXECUTOR),
        Outgoing(RISK_ALERTS, alert, correlation_id),
    ]


async def seed_limits(office: Office) -> None:
    """Read the limits; those that were never set get their defaults."""
    values = dict(await office.registry.limits())
    now = office.clock.now()
    missing = {key: value for key, value in defaults().items() if key not in values}
    if missing:
        await office.registry.set_limits(
            [
                LimitChange(key, None, value, "risk_manager", "default", now)
                for key, value in missing.items()
            ]
        )
    office.desk.limits = LimitBook({**values, **missing})


@dataclass(frozen=True, slots=True)
class LimitBasis:
    """What a limit must be for a change to be made; None is no limit."""

    value: Decimal | None


async def set_limit(
    office: Office,
    key: LimitKey,
    value: Decimal | None,
    *,
    reason: str,
    actor: str,
    correlation_id: UUID,
    basis: LimitBasis | None = None,
) -> LimitChange:
    """Set a limit, or with None remove it; with `basis` only if it still is as that says.

    Raises InvalidInputError naming what is wrong, ConflictError.
    """
    wanted = validated(key, value)
    async with office.lock:
        old = office.desk.limits.values.get(key)
        if basis is not None and basis.value != old:
            raise ConflictError(f"{key.name} was changed since, to {old}; propose it again")
        now = office.clock.now()
        event = _audit_event(office, key, old, wanted, reason=reason, actor=actor, now=now)
        change = LimitChange(
            key, old, wanted, actor, reason, now, [Outgoing(AUDIT_EVENTS, event, correlation_id)]
        )
        await office.registry.set_limits([change])
        office.desk.limits.change(key, wanted)
    return change


def _audit_event(
    office: Office,
    key: LimitKey,
    old: Decimal | None,
    new: Decimal | None,
    *,
    reason: str,
    actor: str,
    now: dt.datetime,
) -> AuditEvent:
    where = ":".join(part for part in (office.desk.account_id, key.scope.value, key.key) if part)
    return AuditEvent(
        event_type="risk.limit_changed",
        actor=actor,
        action="set" if new is not None else "remove",
        resource=f"{where}:{key.name}",
        outcome="done",
        ts=now,
        details={
            "old": "" if old is None else plain(old),
            "new": "" if new is None else plain(new),
            "reason": reason,
        },
    )
