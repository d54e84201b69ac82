"""Commands on the bus: a halt by whoever may write there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.common.contracts.channels import COMMANDS
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import Command
from libs.common.domain.vocabulary import TradingState
from services.risk_manager import metrics
from services.risk_manager.controls import set_state
from services.risk_manager.handlers import Office

# No `resume`: leaving a halt is a person's act, over the API.
_STATES: Final = {"halt": TradingState.HALTED, "reduce": TradingState.REDUCING}
_OURS: Final = "risk_manager"


async def take_commands(office: Office, envelopes: Sequence[Envelope[Command]]) -> None:
    """Halt or reduce as told. What we ourselves told the executor is not for us, and a command
    older than the present state is history: told again, it does not undo a resume."""
    for envelope in envelopes:
        command = envelope.payload
        state = _STATES.get(command.command)
        account = command.arguments.get("account_id", office.desk.account_id)
        if state is None or envelope.source == _OURS or account != office.desk.account_id:
            continue
        if command.ts <= office.desk.switch.set_at:
            metrics.REPEATED.labels("command").inc()
            continue
        flatten = command.arguments.get("flatten") == "true"
        await set_state(
            office,
            state,
            reason=command.arguments.get("reason", f"command by {command.actor}"),
            actor=command.actor,
            correlation_id=envelope.correlation_id,
            flatten=flatten and state is TradingState.HALTED,
        )


HANDLERS: Final = {COMMANDS: take_commands}
