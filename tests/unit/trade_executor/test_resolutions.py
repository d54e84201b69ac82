"""A difference that is closed lifts its block, also where nobody heard that it was closed."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from libs.common.kernel.errors import UnavailableError
from services.trade_executor.gate import Blocks
from services.trade_executor.ports import Discrepancy, OpenDiscrepancy
from services.trade_executor.resolutions import Resolutions

NOW = dt.datetime(2026, 11, 20, 15, tzinfo=dt.UTC)


class LostAnswers:
    """Closes what is asked for, or not, and gives no answer."""

    def __init__(self, *, closes: bool) -> None:
        self.standing = [
            OpenDiscrepancy(uuid.uuid4(), Discrepancy("KO", "position", "1", "2"), NOW)
        ]
        self._closes = closes

    async def open_discrepancies(self) -> list[OpenDiscrepancy]:
        return list(self.standing)

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        if self._closes:
            self.standing.remove(one)
        raise UnavailableError("the answer is lost")


@pytest.mark.parametrize("closes", [True, False])
async def test_a_closing_whose_answer_is_lost(closes: bool) -> None:
    books, blocks = LostAnswers(closes=closes), Blocks()
    resolutions = Resolutions(books, blocks)
    blocks.block("KO", "position")
    (one,) = await resolutions.open()
    with pytest.raises(UnavailableError):
        await resolutions.resolve(one, "they agree")
    assert blocks.shown() == {"KO": ["position"]}
    await resolutions.open()
    assert blocks.shown() == ({} if closes else {"KO": ["position"]})


async def test_one_that_was_opened_anew_keeps_its_block() -> None:
    books, blocks = LostAnswers(closes=True), Blocks()
    resolutions = Resolutions(books, blocks)
    (one,) = await resolutions.open()
    blocks.block("KO", "position")
    with pytest.raises(UnavailableError):
        await resolutions.resolve(one, "they agree")
    books.standing.append(OpenDiscrepancy(uuid.uuid4(), one.found, NOW))
    await resolutions.open()
    assert blocks.shown() == {"KO": ["position"]}
