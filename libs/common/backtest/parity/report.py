"""The parity report: three comparisons, their causes counted, as JSON and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from libs.common.backtest.parity.decisions import (
    Agreement,
    Difference,
    compare_decisions,
    summed,
)
from libs.common.backtest.parity.execution import (
    Comparison,
    carried_out,
    compare_fills,
    compare_orders,
)
from libs.common.backtest.parity.session import Session
from libs.common.backtest.report.page import card, page
from libs.common.backtest.report.words import table
from libs.common.kernel.clock import format_ns
from libs.common.quant.simulation.models import Models
from libs.common.strategy.registry import Registry

LISTED_MAX: Final = 200
PARITY: Final = "parity.json"
PAGE: Final = "parity.html"


@dataclass(frozen=True)
class Parity:
    """All of it; `notes` say what could not be compared."""

    session: Session
    decisions: Agreement
    orders: Comparison
    fills: Comparison
    notes: tuple[str, ...]

    @property
    def unexplained(self) -> int:
        """Return how many decisions differ without a cause: bugs, until shown otherwise."""
        return sum(each.cause == "unexplained" for each in self.decisions.differences)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "from": format_ns(self.session.start_ns),
            "to": format_ns(self.session.end_ns),
            "strategies": [each.id for each in self.session.strategies],
            "decisions": {
                "live": self.decisions.live,
                "replayed": self.decisions.replayed,
                "same": self.decisions.same,
                "restated": self.decisions.restated,
                **_differences(self.decisions.differences),
            },
            "orders": _comparison(self.orders),
            "fills": _comparison(self.fills),
            "unexplained": self.unexplained,
            "notes": list(self.notes),
        }


def parity_of(session: Session, registry: Registry, models: Models) -> Parity:
    """Replay the session and compare. Raises StepError, MarketError."""
    agreements: list[Agreement] = []
    notes = []
    for strategy in session.strategies:
        loaded = registry.strategies.get(strategy.class_name)
        if loaded is None:
            notes.append(f"{strategy.id}: there is no strategy {strategy.class_name} here")
            continue
        if loaded.version_hash != strategy.version_hash:
            notes.append(f"{strategy.id}: ran as other code than {loaded.path.name} is now")
        agreements += compare_decisions(session, strategy, loaded)
    kernel = carried_out(session, models)
    spans = {each.id: each.timeframe.ns for each in session.strategies}
    return Parity(
        session,
        summed(agreements),
        compare_orders(session, kernel),
        compare_fills(session, kernel, spans),
        tuple(notes),
    )


def parity_page(parity: Parity) -> str:
    """Return the report as an HTML page."""
    data = parity.to_json()
    cards = [
        card(
            name,
            table(("what", "figure"), [(key, str(value)) for key, value in part.items()
                                       if key != "differences"], numeric=(1,))
            + _listed(part["differences"]),
            300,
            wide=True,
        ).html
        for name, part in (("Decisions", data["decisions"]), ("Orders", data["orders"]),
                           ("Fills", data["fills"]))
    ]  # fmt: skip
    title = f"Parity {data['from'][:16]} to {data['to'][:16]}"
    return page(title, f"<h1>{title}</h1>", "".join(cards), {})


def write_parity(parity: Parity, folder: Path, *, page: bool = True) -> None:
    """Write the report into the folder, as JSON and as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(parity.to_json()), indent=2)
    (folder / PARITY).write_bytes(text + b"\n")
    if page:
        (folder / PAGE).write_text(parity_page(parity), encoding="utf-8")


def _listed(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    head = tuple(rows[0])
    return table(head, [tuple(row.values()) for row in rows])


def _comparison(found: Comparison) -> dict[str, Any]:
    off = found.off_bps
    return {
        "compared": found.compared,
        "same": found.same,
        "off_bps_mean": float(off.mean()) if len(off) else None,
        "off_bps_p95": float(np.quantile(np.abs(off), 0.95)) if len(off) else None,
        **_differences(found.differences),
    }


def _differences(found: Sequence[Difference]) -> dict[str, Any]:
    return {
        "causes": dict(Counter(each.cause for each in found).most_common()),
        "differences": [
            {
                "strategy": each.strategy_id,
                "symbol": each.symbol,
                "bar": format_ns(each.bar_ts)[:19],
                "live": each.live,
                "replay": each.replay,
                "cause": each.cause,
            }
            for each in found[:LISTED_MAX]
        ],
        "more": max(len(found) - LISTED_MAX, 0),
    }
