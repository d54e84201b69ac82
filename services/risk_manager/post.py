"""Messages that are committed with rows, a whole batch in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from sqlalchemy import text

from libs.common.runtime.database import WriteSession
from libs.common.runtime.outbox import Outbox
from services.risk_manager import sql
from services.risk_manager.ports import Outgoing

SOURCE: Final = "risk_manager"


class Post:
    """The way to the outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def send(self, tx: WriteSession, messages: Sequence[Outgoing]) -> None:
        """Store messages in `tx`; they are published after its commit."""
        prepared = [
            self._outbox.prepare(
                m.channel,
                m.payload,
                correlation_id=m.correlation_id,
                causation_id=m.causation_id,
                key=m.key,
            )
            for m in messages
        ]
        if not prepared:
            return
        # One statement for a batch, and one string of bytes: rows one by one, or an array of bytes,
        # which the driver escapes one by one, cost more than the judgements.
        sizes = [len(m.data) for m in prepared]
        await tx.execute(
            text(sql.ADD_MESSAGES),
            {
                "source": SOURCE,
                "ids": [m.id for m in prepared],
                "channels": [m.channel for m in prepared],
                "streams": [m.stream for m in prepared],
                "bytes": b"".join(m.data for m in prepared),
                "starts": list(accumulate(sizes[:-1], initial=1)),
                "sizes": sizes,
            },
        )
        self._outbox.publish_after(tx, prepared)
