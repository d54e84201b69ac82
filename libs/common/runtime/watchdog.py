"""A process whose event loop stands still ends itself, and says where it stood.

A service that is blocked for good answers nobody, keeps its connections, and is not restarted by
what only waits for its end (Docker's `restart:`). Here a timer of the interpreter's own, which no
lock of ours can hold up, is set back by the loop once a second; when it runs out it writes the
stack of every thread to the log and ends the process, so that whoever started it starts it again.
"""

from __future__ import annotations

import faulthandler
from typing import Final

import uvicorn

_TICKS: Final = 10  # uvicorn's loop turns ten times a second


class WatchedServer(uvicorn.Server):
    """Serves, and ends the process when the loop has stood still for `blocked_s_max`."""

    def __init__(self, config: uvicorn.Config, blocked_s_max: float) -> None:
        super().__init__(config)
        self._blocked_s_max = blocked_s_max

    async def on_tick(self, counter: int) -> bool:
        """Set the timer back; tell whether to stop serving, as uvicorn asks."""
        if counter % _TICKS == 0:
            faulthandler.dump_traceback_later(self._blocked_s_max, exit=True)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: object = None) -> None:
        """Stop serving; how long that may take is the stop hooks' own affair."""
        faulthandler.cancel_dump_traceback_later()
        await super().shutdown(sockets)  # type: ignore[arg-type]
