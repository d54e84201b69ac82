"""What the executor does with each message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from libs.common.contracts.channels import COMMANDS, ORDERS_APPROVED, RISK_ALERTS, SYSTEM_HEALTH
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import ApprovedOrder, Command, Heartbeat, RiskAlert
from libs.common.kernel.errors import ContractError
from libs.common.runtime.logging import get_logger
from services.trade_executor.cancels import Cancels
from services.trade_executor.gate import TradingGate
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.submission import Submission
from services.trade_executor.tasks import Tasks
from services.trade_executor.watch import Watch

_log = get_logger(__name__)


@dataclass(frozen=True)
class Handlers:
    """The use cases that messages lead to."""

    account_id: str
    submission: Submission
    cancels: Cancels
    reconciliation: Reconciliation
    gate: TradingGate
    watch: Watch
    tasks: Tasks

    async def on_approved(self, envelopes: Sequence[Envelope[ApprovedOrder]]) -> None:
        """Take approved orders; done when all are durable, sending goes on by itself."""
        if len(envelopes) == 1:
            await self._take(envelopes[0])
        else:
            await asyncio.gather(*(self._take(envelope) for envelope in envelopes))

    async def _take(self, envelope: Envelope[ApprovedOrder]) -> None:
        approved = envelope.payload
        if approved.account_id != self.account_id:
            raise ContractError(f"order of account {approved.account_id!r}, not {self.account_id}")
        await self.submission.take(
            approved, correlation_id=envelope.correlation_id, causation_id=envelope.id
        )

    async def on_risk_alert(self, envelope: Envelope[RiskAlert]) -> None:
        """The kill switch may have moved: read it anew, now."""
        if envelope.payload.account_id == self.account_id:
            self.gate.invalidate()
            self.watch.look_at_gate()

    async def on_heartbeat(self, envelope: Envelope[Heartbeat]) -> None:
        """Note the risk manager's sign of life; one that only stands by judges nothing."""
        if envelope.payload.service == "risk_manager" and envelope.payload.ready:
            self.gate.heard_risk_manager()

    async def on_commands(self, envelopes: Sequence[Envelope[Command]]) -> None:
        """Carry out commands; those for other services are not ours."""
        for envelope in envelopes:
            command = envelope.payload
            act = COMMAND_ACTS.get(command.command)
            if act is not None:
                _log.info("command", command=command.command, actor=command.actor)
                await act(self, command)

    async def _reconcile(self, command: Command) -> None:
        await self.reconciliation.run(f"command by {command.actor}"[:40], balances=True, deep=True)

    async def _cancel_all(self, command: Command) -> None:
        await self.cancels.cancel_open(f"command by {command.actor}", spare_protective=False)


COMMAND_ACTS: dict[str, Callable[[Handlers, Command], Awaitable[None]]] = {
    "reconcile": Handlers._reconcile,
    "cancel_all": Handlers._cancel_all,
}

HANDLERS = {
    ORDERS_APPROVED.topic: Handlers.on_approved,
    RISK_ALERTS.topic: Handlers.on_risk_alert,
    SYSTEM_HEALTH.topic: Handlers.on_heartbeat,
    COMMANDS.topic: Handlers.on_commands,
}
