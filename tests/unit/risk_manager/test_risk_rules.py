"""When a rule sets the kill switch by itself."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from services.risk_manager.conduct import Conduct
from services.risk_manager.rules import mismatch, rejects

NOW = dt.datetime(2022, 3, 1, 15, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("sent", "rejected", "broken"),
    [(20, 11, True), (20, 10, False), (19, 19, False), (0, 0, False), (1000, 501, True)],
)
def test_rejects(sent: int, rejected: int, broken: bool) -> None:
    found = rejects(Conduct(sent, rejected, None), Decimal("0.5"), Decimal(20))
    assert (found is not None) is broken


@pytest.mark.parametrize(
    ("open_s", "set_s", "broken"),
    [
        (301, 1000, True),
        (300, 1000, False),
        (1000, 999, True),  # set while it was still young
        (1000, 600, False),  # whoever set it then knew
    ],
)
def test_a_mismatch_counts_once_and_after_its_time(open_s: int, set_s: int, broken: bool) -> None:
    since, set_at = (NOW - dt.timedelta(seconds=s) for s in (open_s, set_s))
    found = mismatch(Conduct(0, 0, since), NOW, Decimal(300), set_at)
    assert (found is not None) is broken


def test_no_mismatch_is_none() -> None:
    assert mismatch(Conduct(0, 0, None), NOW, Decimal(300), NOW) is None
