"""Crisis windows: their dates are found in the index, and curves are measured in them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from skfolio.datasets import load_sp500_index

from libs.common.quant.validation import CRISES, Crisis, stressed

INDEX = load_sp500_index().iloc[:, 0].astype(float)
IN_THE_INDEX = [
    c
    for c in CRISES
    if c.source.startswith("S&P") and date(1990, 1, 2) < c.first and c.last < date(2022, 12, 28)
]


def ns(index: pd.DatetimeIndex) -> np.ndarray:
    return index.to_numpy("datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize("crisis", IN_THE_INDEX, ids=lambda c: c.name)
def test_a_crisis_runs_from_a_peak_of_the_index_to_its_trough(crisis: Crisis) -> None:
    around = INDEX.loc[
        str(crisis.first - timedelta(days=20)) : str(crisis.last + timedelta(days=10))
    ]
    assert around.idxmax().date() == crisis.first
    assert around.idxmin().date() == crisis.last


def test_crises_are_in_order_and_have_names_of_their_own() -> None:
    assert [c.first for c in CRISES] == sorted(c.first for c in CRISES)
    assert len({c.name for c in CRISES}) == len(CRISES)
    assert all(c.first < c.last and c.source for c in CRISES)


def test_the_index_fell_by_what_is_known() -> None:
    found = {s.crisis.name: s for s in stressed(ns(INDEX.index), INDEX.to_numpy())}
    assert found["Financial crisis"].total_return == pytest.approx(-0.568, abs=5e-4)
    assert found["Dot-com bust"].total_return == pytest.approx(-0.491, abs=5e-4)
    assert found["Covid crash"].total_return == pytest.approx(-0.339, abs=5e-4)
    assert found["Covid crash"].max_drawdown == pytest.approx(-0.339, abs=5e-4)
    assert "Black Monday" not in found
    assert "Tariffs of 2025" not in found


def test_a_curve_that_begins_inside_a_crisis_is_not_measured_in_it() -> None:
    part = INDEX.loc["2008-01-01":"2009-12-31"]
    assert [s.crisis.name for s in stressed(ns(part.index), part.to_numpy())] == []
