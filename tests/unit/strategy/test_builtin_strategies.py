"""What holds for every built-in strategy of one symbol: its page, its bytes, its honesty."""

from __future__ import annotations

import re

import numpy as np
import pytest

from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner
from libs.common.strategy.honesty import check_lookahead, check_warmup
from tests.support.builtin import MINUTE_NS, OPEN_NS, ROOT, builtin

NAMES = sorted(
    path.stem for path in (ROOT / "strategies").glob("*.py") if not path.stem.startswith("_")
)
SINGLE = [name for name in NAMES if "(Strategy)" in (ROOT / f"strategies/{name}.py").read_text()]

# How far sizes may differ after the warm-up, as their pages say, on bars of a day. A band of 0.1
# around one wish holds sizes from 0.9 to 1.1 of it; a mean with weights that fade never forgets.
SIZES_DIFFER = {"time_series_momentum": 0.01, "volatility_target": 0.2}


def walk(seed: int, count: int) -> np.ndarray:
    """Return five-minute bars of a random walk round the clock."""
    rng = np.random.default_rng(seed)
    made = np.zeros(count, BAR)
    made["ts"] = OPEN_NS + 5 * MINUTE_NS * np.arange(count)
    made["close"] = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, count))), 2)
    made["open"] = np.concatenate([[100.0], made["close"][:-1]])
    made["high"] = np.maximum(made["open"], made["close"]) + 0.05
    made["low"] = np.minimum(made["open"], made["close"]) - 0.05
    made["volume"] = rng.integers(0, 1000, count)
    return made


SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
ROW = re.compile(r"^\| `(\w+)( … \w+)?` \| (\S+) \| (\S+) … (\S+) \| \S", re.MULTILINE)


def number(text: str) -> float:
    """Return '0.5', or '10⁻⁹' as 1e-9."""
    power = re.fullmatch("10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    return float(f"1e{power[1].translate(SUPERSCRIPTS)}" if power else text)


def stated(page: str) -> dict[str, tuple[float, ...]]:
    """Return default, low and high by parameter; `a_1 … a_9` stands for all that begin with a_."""
    return {
        name.rstrip("0123456789") if more else name: tuple(number(n) for n in numbers)
        for name, more, *numbers in ROW.findall(page)
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_page_states_every_parameter_as_it_is(name: str) -> None:
    page = (ROOT / "docs" / "strategies" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# `{name}`: ")
    for part in ("**Idea.**", "**Source.**", "**Decision.**", "**Warm-up.**"):
        assert part in page
    rows = stated(page)
    for parameter, field in builtin(name).schema.fields.items():
        row = rows.get(parameter) or rows.get(parameter.rstrip("0123456789"))
        assert row == (field.default, field.low, field.high), parameter


def test_the_fit_on_the_page_gives_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "strategies" / "regime_hold.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    exec(compile(code, "regime_hold.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "calm 0.0009 ± 0.0086, stays 0.988",
        "wild -0.0008 ± 0.0212, stays 0.957",
    ]


@pytest.mark.parametrize("name", SINGLE)
def test_saved_and_restored_anywhere_it_decides_the_same_bits(name: str) -> None:
    definition, made = builtin(name), walk(11, 1200)
    whole = Runner(definition, {})
    wanted = whole.run(made)
    assert not np.isnan(wanted.decisions["target"]).all()
    for cut in (1, 77, 600, 1199):
        runner = Runner(definition, {})
        runner.run(made[:cut])
        restored = Runner(definition, {})
        restored.restore(runner.save())
        late = [restored.step(bar) for bar in made[cut:]]
        assert late == wanted.changed[cut:].tolist()
        assert restored.save() == whole.save()


@pytest.mark.parametrize("name", SINGLE)
def test_it_looks_at_nothing_but_the_bars_so_far(name: str) -> None:
    history = {"X": walk(12, 1500)}
    report = check_lookahead(builtin(name), {}, history, np.random.default_rng(7), cuts=8)
    assert [check for check in report.checks if not check.passed] == []


@pytest.mark.parametrize("name", [name for name in SINGLE if name not in SIZES_DIFFER])
def test_the_declared_warmup_is_enough(name: str) -> None:
    report = check_warmup(builtin(name), {}, {"X": walk(13, 3000)}, starts=6)
    assert report.enough, report.first


@pytest.mark.parametrize("name", ["crypto_trend", *SIZES_DIFFER])
def test_the_declared_warmup_is_enough_on_bars_of_a_day(name: str) -> None:
    made = walk(13, 3000)
    made["ts"] = 86_400 * 10**9 * np.arange(1, 3001)
    tolerance = SIZES_DIFFER.get(name, 1e-6)
    report = check_warmup(builtin(name), {}, {"X": made}, tolerance=tolerance)
    assert report.enough, report.first


def test_without_a_band_the_volatility_is_all_that_is_remembered() -> None:
    report = check_warmup(builtin("volatility_target"), {"band": 0.0}, {"X": walk(13, 3000)})
    assert report.enough, report.first
