"""The end of an executor: every writer has its try, and what is left is told once."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from libs.common.kernel.errors import UnavailableError
from services.trade_executor.ending import finish
from services.trade_executor.tasks import Tasks


class Buffer:
    """A writer that works, fails or hangs."""

    def __init__(self, waiting: int, how: str = "works") -> None:
        self.waiting = waiting
        self._how = how

    async def flush(self) -> None:
        if self._how == "fails":
            raise UnavailableError("database: away")
        if self._how == "hangs":
            await asyncio.Event().wait()
        self.waiting = 0


async def test_each_writer_has_its_try_and_one_line_tells_what_is_left() -> None:
    writers = {"first": Buffer(3, "hangs"), "second": Buffer(2, "fails"), "third": Buffer(1)}
    with capture_logs() as lines:
        await finish(Tasks(), writers, [], 0.3)
    assert writers["third"].waiting == 0
    assert lines == [
        {"event": "unwritten_at_the_end", "log_level": "error", "first": 3, "second": 2}
    ]


async def test_nothing_is_told_where_all_is_written() -> None:
    with capture_logs() as lines:
        await finish(Tasks(), {"one": Buffer(3)}, [], 1.0)
    assert lines == []


async def test_a_connection_that_cannot_be_closed_keeps_nobody_from_writing() -> None:
    async def breaks() -> None:
        raise OSError("no route")

    writer = Buffer(3)
    with pytest.raises(OSError, match="no route"):
        await finish(Tasks(), {"one": writer}, [breaks], 1.0)
    assert writer.waiting == 0
