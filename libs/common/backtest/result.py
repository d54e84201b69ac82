"""What came of a backtest, and the folder that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np

from libs.common.backtest.columns import words_of, write_parquet
from libs.common.backtest.decide import Chosen
from libs.common.backtest.spec import BacktestSpec
from libs.common.kernel.clock import format_ns
from libs.common.quant.metrics import Metrics
from libs.common.quant.simulation.layout import CODES, REASONS
from libs.common.quant.simulation.outcome import Outcome
from libs.common.strategy.parameters import Value

RESULT: Final = "result.json"
_WORDS: Final = {"reason": REASONS, "code": CODES}


@dataclass(frozen=True, slots=True)
class Ran:
    """One strategy as it ran: the code by its hash, all parameters, how it was sized."""

    name: str
    class_name: str
    version_hash: str
    params: dict[str, Value]
    symbols: tuple[str, ...]
    warmup: int
    weight: float
    sizing: dict[str, Any]

    @classmethod
    def of(cls, chosen: Chosen) -> Self:
        """Return what is kept of a choice."""
        return cls(
            name=chosen.choice.title,
            class_name=chosen.choice.class_name,
            version_hash=chosen.loaded.version_hash,
            params=dict(chosen.params),
            symbols=chosen.choice.symbols,
            warmup=chosen.warmup,
            weight=chosen.weight,
            sizing=msgspec.to_builtins(chosen.sizing),
        )


@dataclass(frozen=True)
class BacktestResult:
    """Everything that a run gave; `outcome` holds the kernel's arrays.

    `benchmark` (n,) is its close at each time of the curve; `last_prices` (symbols,) the last
    closes; `fingerprint` the hash of all bars;
    `seconds` how long each stage took; the rest of it is the same in every run.
    """

    spec: BacktestSpec
    strategies: tuple[Ran, ...]
    symbols: tuple[str, ...]
    outcome: Outcome
    signals: Mapping[str, Mapping[str, np.ndarray]]
    benchmark: np.ndarray | None
    last_prices: np.ndarray
    metrics: Metrics
    bars: int
    fingerprint: str
    source: str
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def summary(self) -> dict[str, Any]:
        """Return the result without its series, as JSON data."""
        outcome = self.outcome
        return {
            "spec": self.spec.to_json(),
            "strategies": msgspec.to_builtins(self.strategies),
            "data": {
                "source": self.source,
                "fingerprint": self.fingerprint,
                "symbols": list(self.symbols),
                "bars": self.bars,
                "first": format_ns(int(outcome.ts[0])),
                "last": format_ns(int(outcome.ts[-1])),
            },
            "equity_first": self.spec.cash,
            "equity_last": float(outcome.equity[-1]),
            "fills": len(outcome.fills),
            "trades": len(outcome.trades),
            "refused": self.refusals(),
            "signals": sum(len(s) for by in self.signals.values() for s in by.values()),
            "metrics": self.metrics.to_json(),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }

    def refusals(self) -> dict[str, int]:
        """Return how many orders were not carried out, by the reason's code."""
        codes, counts = np.unique(self.outcome.refused["code"], return_counts=True)
        return {CODES[c]: int(n) for c, n in zip(codes.tolist(), counts.tolist(), strict=True)}

    def save(self, folder: Path) -> None:
        """Write result.json and the series as Parquet into `folder`, which is made if needed."""
        folder.mkdir(parents=True, exist_ok=True)
        outcome = self.outcome
        curve = {
            "ts": outcome.ts,
            "equity": outcome.equity,
            "cash": outcome.cash,
            "exposure_long": outcome.exposure_long,
            "exposure_short": outcome.exposure_short,
        }
        if self.benchmark is not None:
            curve["benchmark"] = self.benchmark
        write_parquet(folder / "equity.parquet", curve)
        for name in ("fills", "trades", "refused"):
            write_parquet(folder / f"{name}.parquet", self._columns(getattr(outcome, name)))
        write_parquet(folder / "signals.parquet", self._signals())
        # Last: a folder with this file is whole.
        text = msgspec.json.format(msgspec.json.encode(self.summary()), indent=2)
        (folder / RESULT).write_bytes(text + b"\n")

    def _columns(self, records: np.ndarray) -> dict[str, Any]:
        names = tuple(ran.name for ran in self.strategies)
        words = {"symbol": self.symbols, "sleeve": names, **_WORDS}
        return {
            name: words_of(words[name], records[name]) if name in words else records[name]
            for name in records.dtype.names or ()
        }

    def _signals(self) -> dict[str, Any]:
        rows = [
            (sleeve, self.symbols.index(symbol), found)
            for sleeve, by_symbol in enumerate(self.signals.values())
            for symbol, found in by_symbol.items()
        ]
        lengths = [len(found) for _, _, found in rows]
        columns: dict[str, Any] = {
            "sleeve": words_of(
                tuple(self.signals), np.repeat([sleeve for sleeve, _, _ in rows], lengths)
            ),
            "symbol": words_of(self.symbols, np.repeat([symbol for _, symbol, _ in rows], lengths)),
        }
        every = np.concatenate([found for _, _, found in rows])
        return columns | {name: every[name] for name in every.dtype.names or ()}


def load_summary(folder: Path) -> dict[str, Any]:
    """Return the JSON data of a kept result."""
    data: dict[str, Any] = msgspec.json.decode((folder / RESULT).read_bytes())
    return data
