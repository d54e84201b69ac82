"""Bars as records, the same to the bit whether they came live or from the table."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import numpy as np

from libs.common.contracts.messages import Bar
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import PRICE_QUANTUM, QUANTITY_LIMIT
from libs.common.quant.simulation.records import BAR

_LIMIT: Final = float(QUANTITY_LIMIT)
Row = tuple[int, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A closed bar on its way to the strategies.

    `bar` is a BAR record. `correlation_id` is that of the batch that brought it, `causation_id`
    that message, None for a bar read from the table. `received_ns` is the wall time at which the
    batch's data reached us, 0 for a bar from the table.
    """

    bar: np.void
    correlation_id: uuid.UUID
    causation_id: uuid.UUID | None = None
    received_ns: int = 0

    @property
    def ts(self) -> int:
        """Return the bar's start in ns."""
        return int(self.bar["ts"])


def as_stored(value: float) -> float:
    """Return `value` as it comes back from NUMERIC(20,8): 0.123456785 -> 0.12345679.

    PostgreSQL rounds half away from zero.
    """
    if round(value, 8) == value:
        return value
    return float(Decimal(repr(value)).quantize(PRICE_QUANTUM, rounding=ROUND_HALF_UP))


def live_record(bar: Bar) -> np.void:
    """Return a received bar as a BAR record.

    Raises InvalidInputError for a price that is not positive or a figure that no table holds.
    """
    figures = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    if not all(0.0 < price < _LIMIT for price in figures[:4]) or not 0.0 <= bar.volume < _LIMIT:
        raise InvalidInputError(f"bar {bar.ts_event}: figures out of range: {figures}")
    o, h, low, c, volume = map(as_stored, figures)
    record: np.void = records([(bar.ts_event, o, h, low, c, volume)])[0]
    return record


def records(rows: Iterable[Row]) -> np.ndarray:
    """Return rows of (ts ns, open, high, low, close, volume) as an array of BAR, shape (k,)."""
    return np.array(list(rows), BAR)
