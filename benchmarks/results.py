"""One measured figure beside its floor or peer of the same run, and how it is shown."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure with its floor: `ratio` = value / floor, held against the target.

    `target_ratio` None means that only the absolute target counts; `target_value` likewise.
    `higher_is_better` says in which direction a target is met.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    target_ratio: float | None = None
    target_value: float | None = None
    higher_is_better: bool = True
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return value / floor, None where there is no floor."""
        return None if not self.floor else self.value / self.floor

    @property
    def target(self) -> str:
        """Return the target in words."""
        sign = "≥" if self.higher_is_better else "≤"
        parts = []
        if self.target_ratio is not None:
            parts.append(f"{sign} {self.target_ratio:g} × floor")
        if self.target_value is not None:
            parts.append(f"{sign} {number(self.target_value)} {self.unit}")
        return " and ".join(parts) or "–"

    @property
    def verdict(self) -> str:
        """Return `met`, `missed`, or `–` where no target is set."""
        checks = []
        if self.target_ratio is not None and self.ratio is not None:
            checks.append(self._good(self.ratio, self.target_ratio))
        if self.target_value is not None:
            checks.append(self._good(self.value, self.target_value))
        if not checks:
            return "–"
        return "met" if all(checks) else "missed"

    def _good(self, value: float, target: float) -> bool:
        return value >= target if self.higher_is_better else value <= target


def number(value: float) -> str:
    """Return three significant digits with thousands marks: 48211.3 -> '48,200'."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}"


def percentiles(samples: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Return p50, p99, p99.9 and max of `samples` (any unit)."""
    array = np.asarray(samples, dtype=np.float64)
    return {
        "p50": float(np.percentile(array, 50)),
        "p99": float(np.percentile(array, 99)),
        "p99.9": float(np.percentile(array, 99.9)),
        "max": float(array.max()),
    }


HEADINGS = ("what", "measured", "floor or peer in the same run", "ratio", "target", "verdict")


def rows(measurements: Iterable[Measurement]) -> list[tuple[str, ...]]:
    """Return the table's rows as text."""
    return [
        (
            f"{m.name} ({m.note})" if m.note else m.name,
            f"{number(m.value)} {m.unit}",
            f"{m.floor_name}: {number(m.floor)} {m.unit}" if m.floor else "–",
            f"{m.ratio:.2f}" if m.ratio is not None else "–",
            m.target,
            m.verdict,
        )
        for m in measurements
    ]


def show(measurements: Iterable[Measurement], title: str = "") -> None:
    """Print the table."""
    table = Table(*HEADINGS, title=title or None)
    for row in rows(measurements):
        table.add_row(*row)
    Console(width=180).print(table)


def machine() -> str:
    """Return what the figures were measured on."""
    model = platform.processor() or "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
        model = names[0] if names else model
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} × {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )
