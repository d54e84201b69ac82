"""Messages that are committed with the rows they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause

from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import WriteSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.single import SingleSession
from services.risk_manager.ports import Outgoing


class Post:
    """The way to the outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def send(self, tx: WriteSession, messages: Sequence[Outgoing]) -> None:
        """Store messages in `tx`; they are published after its commit."""
        await self._outbox.store(tx, self._sealed(messages))

    async def send_with(
        self,
        tx: SingleSession,
        statement: TextClause,
        parameters: dict[str, Any],
        messages: Sequence[Outgoing],
    ) -> None:
        """Run `statement`, which stores rows and messages at once, and publish afterwards."""
        sealed = self._sealed(messages)
        await tx.execute(statement, {**parameters, **self._outbox.rows(sealed)})
        self._outbox.publish_after(tx, sealed)

    def _sealed(self, messages: Sequence[Outgoing]) -> list[LogMessage]:
        return [
            self._outbox.prepare(
                m.channel,
                m.payload,
                correlation_id=m.correlation_id,
                causation_id=m.causation_id,
                key=m.key,
            )
            for m in messages
        ]
