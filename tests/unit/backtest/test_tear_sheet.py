"""The tear sheet: opens offline, shows what was given, and takes any text for text."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from libs.common.backtest.report import ReportInput, render_html, report_json
from libs.common.backtest.report.series import POINTS_MAX, dates, numbers, thinned
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics import Metrics
from libs.common.quant.metrics.drawdowns import DAY_NS
from tests.support.report_runs import trend_run

EVIL = """</script><script>alert(1)</script><img src=x onerror=alert(2)>"'&<b>\u2028"""


class Page(HTMLParser):
    """What a browser would see: elements, the texts of scripts, all visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data

    @property
    def figures(self) -> dict[str, Any]:
        """The plots by place."""
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


RUN = trend_run(days=1_500)
PAGE = Page(render_html(RUN))


def test_nothing_is_fetched() -> None:
    for tag, attributes in PAGE.elements:
        assert tag not in {"link", "img", "iframe", "object", "base"}, tag
        assert "src" not in attributes
        assert "href" not in attributes
    (policy,) = [a["content"] or "" for t, a in PAGE.elements if t == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_every_plot_has_its_place() -> None:
    places = {a["id"] for t, a in PAGE.elements if (a.get("id") or "").startswith("plot-")}
    assert places == {f"plot-{name}" for name in PAGE.figures}
    assert set(PAGE.figures) == {"equity", "months", "yearly", "rolling", "distribution",
                                 "exposure", "contributions", "trades"}  # fmt: skip


def test_the_curve_is_the_one_that_was_given() -> None:
    equity, benchmark, drawdown = PAGE.figures["equity"]["data"]
    assert equity["x"][0] == dates(RUN.ts)[0]
    assert equity["y"] == numbers(RUN.equity)
    assert RUN.benchmark is not None
    assert benchmark["y"][-1] == pytest.approx(
        RUN.benchmark[-1] / RUN.benchmark[0] * RUN.equity[0], rel=1e-6
    )
    assert min(drawdown["y"]) == pytest.approx(RUN.measured.max_drawdown, rel=1e-6)


def test_months_stand_in_their_row_and_column() -> None:
    heat = PAGE.figures["months"]["data"][0]
    data = report_json(RUN)["months"]
    row, column = heat["y"].index("2020"), heat["x"].index("Mar")
    assert heat["z"][row][column] == pytest.approx(data["2020-03"], rel=1e-3)
    ends = {text[:7]: value for text, value in zip(dates(RUN.ts), RUN.equity, strict=True)}
    assert data["2020-03"] == pytest.approx(ends["2020-03"] / ends["2020-02"] - 1.0)


def test_contributions_add_up_to_what_was_earned() -> None:
    earned = report_json(RUN)["contributions"]["by_sleeve"]
    total = sum(value for by_symbol in earned.values() for value in by_symbol.values())
    assert total == pytest.approx(RUN.equity[-1] - 1_000_000.0, abs=0.01)


def test_figures_of_the_metrics_are_shown() -> None:
    assert f"{RUN.measured.sharpe:.2f}" in PAGE.text
    assert "Covid crash" in PAGE.text
    assert "S&P 500" in PAGE.text
    assert RUN.notes[0] in PAGE.text


def test_how_sure_the_figures_are_is_told_and_repeatable() -> None:
    one, two = (report_json(replace(RUN))["sureness"] for _ in range(2))
    assert one == two
    assert one != report_json(replace(RUN, seed=8))["sureness"]
    assert 0.5 < one["above_zero"] < 1.0
    assert one["years"] == pytest.approx(1_499 / 252)
    assert one["growth_low"] < RUN.measured.total_return < one["growth_high"]
    assert one["drawdown_resampled"] < 0.0
    assert one["beside"]["low"] < one["beside"]["difference"] < one["beside"]["high"]
    assert "Luck or skill" in PAGE.text


def test_any_text_is_only_text() -> None:
    named = tuple(f"{EVIL}{i}" for i in range(3))
    run = replace(
        RUN, title=EVIL, symbols=named, sleeves=named[:2], params={EVIL: EVIL},
        facts={EVIL: EVIL, "b": 1}, notes=(EVIL,), benchmark_name=EVIL,
    )  # fmt: skip
    evil = Page(render_html(run))
    assert [tag for tag, _ in evil.elements] == [tag for tag, _ in PAGE.elements]
    assert not any(name.startswith("on") for _, attrs in evil.elements for name in attrs)
    assert EVIL in evil.text
    told = json.dumps(evil.figures)
    assert "&lt;script&gt;" in told
    assert "<script>" not in told
    assert report_json(run)["title"] == EVIL


def test_json_holds_no_nan_and_gives_the_metrics_back() -> None:
    data = json.loads(json.dumps(report_json(RUN), allow_nan=False))
    assert repr(Metrics.from_json(data["metrics"])) == repr(RUN.measured)
    assert len(data["daily"]["date"]) == len(data["daily"]["equity"]) == 1_500


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_short_and_empty_runs_have_a_page(n: int) -> None:
    run = ReportInput("short", np.arange(n, dtype=np.int64) * DAY_NS, np.full(n, 100.0))
    page = Page(render_html(run))
    assert "equity" in page.figures
    assert "trades" not in page.figures
    json.dumps(report_json(run), allow_nan=False)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_ruin_and_nan_have_a_page() -> None:
    equity = np.concatenate([np.linspace(100.0, 0.0, 200), np.full(50, np.nan), np.zeros(150)])
    ts = np.arange(400, dtype=np.int64) * DAY_NS
    exposed = np.full(400, 50.0)
    run = ReportInput("ruin", ts, equity, exposure_long=exposed, exposure_short=exposed)
    assert "exposure" in Page(render_html(run)).figures
    json.dumps(report_json(run), allow_nan=False)


def test_intraday_times_and_a_short_book_are_drawn() -> None:
    ts = np.arange(2_000, dtype=np.int64) * (DAY_NS // 24)
    equity = 100.0 + np.sin(np.arange(2_000) / 50.0)
    run = ReportInput("hours", ts, equity, exposure_long=np.zeros(2_000), exposure_short=equity / 2)
    page = Page(render_html(run))
    assert page.figures["equity"]["data"][0]["x"][1] == "1970-01-01T01:00:00"
    assert page.figures["exposure"]["data"][2]["y"][0] == -0.5


def test_curves_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="mine: 3 times but 2 values"):
        ReportInput("mine", np.arange(3), np.ones(2))
    with pytest.raises(InvalidInputError, match="mine: 3 times but 1 values"):
        ReportInput("mine", np.arange(3), np.ones(3), cash=np.ones(1))


@given(hnp.arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6)))
def test_thinning_keeps_ends_and_extremes(values: np.ndarray) -> None:
    kept = thinned(values, 40)
    assert len(kept) <= max(40, 1)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()


def test_a_million_bars_become_a_page_of_thousands() -> None:
    n = 1_000_000
    equity = 100.0 + np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, n))
    run = ReportInput("long", np.arange(n, dtype=np.int64) * 60_000_000_000, equity)
    shown = Page(render_html(run)).figures["equity"]["data"][0]["y"]
    assert len(shown) <= POINTS_MAX
    assert max(shown) == pytest.approx(equity.max(), rel=1e-6)
