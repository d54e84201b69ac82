"""What each tear sheet runs: symbols, bars, period, costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from libs.common.backtest.spec import BacktestSpec, spec_of

ROOT: Final = Path(__file__).resolve().parents[2]
STRATEGIES: Final = ROOT / "strategies"

SHARES: Final = (
    "AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO",
    "LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH", "WMT", "XOM",
)  # fmt: skip
PAIR: Final = ("KO", "PEP")
MINUTE_SHARES: Final = ("SPY", "BAC", "IBM", "AIG")

SURVIVORS = (
    "Twenty large American companies as they stand today: survivors. Read the figures beside those "
    "of holding the same twenty, never alone."
)
WEEK = "One week of one-minute bars of four symbols: enough to see it work, not to judge it."


@dataclass(frozen=True, slots=True)
class Case:
    """One tear sheet; `minutes`: on one-minute bars from a file that is no part of the project."""

    symbols: tuple[str, ...] = SHARES
    start: str = "1995-01-01"
    end: str = "2022-12-28"
    params: dict[str, Any] = field(default_factory=dict)
    remark: str = SURVIVORS
    minutes: bool = False

    def spec(self, name: str, path: Path | None) -> BacktestSpec:
        """Return the run of strategy `name`: a commission of 5 bps and slippage of 2 bps a side."""
        choice = {"class_name": name, "symbols": list(self.symbols), "params": self.params}
        return spec_of(
            {
                "strategies": [choice],
                "timeframe": "1m" if self.minutes else "1d",
                "start": self.start,
                "end": self.end,
                "models": {
                    "commission": {"percent": 0.0005},
                    "slippage": {"method": "bps", "figure": 2.0},
                },
                "source": {"kind": "file", "path": str(path)} if path else {"kind": "sample"},
            }
        )

    def command(self, name: str) -> str:
        """Return how to run the same."""
        parts = [f"tradewind backtest {name} --symbols {','.join(self.symbols)}"]
        parts.append(f"--from {self.start} --to {self.end}")
        if self.minutes:
            parts.append("--timeframe 1m --data minutes.parquet")
        parts += [f"--set {key}={value}" for key, value in self.params.items()]
        parts.append("--model commission.percent=0.0005")
        parts.append("--model slippage.method=bps --model slippage.figure=2")
        return " \\\n    ".join(parts)


_WEEK = Case(MINUTE_SHARES, "2013-10-04", "2013-10-11", remark=WEEK, minutes=True)

CASES: Final[dict[str, Case]] = {
    "pairs": Case(PAIR, remark="One pair of shares that many expect to move together."),
    "crypto_trend": Case(
        remark=f"Shares, for want of prices of a market that never closes. {SURVIVORS}"
    ),
    "dual_momentum": Case(
        ("AAPL", "JPM", "WMT", "XOM", "PG"),
        remark="The safe asset, the last one, is a share here, for want of bonds: it shows the "
        "mechanism, not the idea. " + SURVIVORS,
    ),
    "opening_range_breakout": _WEEK,
    "vwap_reversion": _WEEK,
}
"""The strategies that do not run on all shares of the sample, day by day."""


WITHOUT: Final = {
    "fx_carry": "no prices of currencies are installed, and spot prices lack the interest it earns"
}
"""The strategies that have no tear sheet, and why."""


def case_of(name: str) -> Case:
    """Return the case of strategy `name`."""
    return CASES.get(name, Case())


def built_in() -> tuple[str, ...]:
    """Return the names of all built-in strategies: those of their files."""
    return tuple(sorted(p.stem for p in STRATEGIES.glob("*.py") if not p.name.startswith("_")))
