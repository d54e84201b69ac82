"""Where both exits of a group have traded, the excess is bought or sold back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from typing import Final
from uuid import UUID

from libs.common.contracts.risk_api import OrderFields
from libs.common.domain.protection import overfilled
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError
from libs.common.kernel.ids import OrderId, derived_id
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.logging import get_logger
from services.trade_executor.exits import open_quantity
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import Order
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books, Discrepancy
from services.trade_executor.protection_exits import traded_groups
from services.trade_executor.protection_store import Protection

_log = get_logger(__name__)

_TRIES_S_MAX: Final = 60.0
_GAP_MAX: Final = 2  # numbers that were judged and never became an order


class GivingBack:
    """Goes back by what the exits of a protection traded too much."""

    def __init__(
        self, books: Books, lifecycle: Lifecycle, placing: Placing, clock: Clock, *,
        account_id: str, pause_s: float,
    ) -> None:  # fmt: skip
        self._books = books
        self._lifecycle = lifecycle
        self._placing = placing
        self._clock = clock
        self._account_id = account_id
        self._pause_s = pause_s
        self._retry: dict[UUID, tuple[float, float]] = {}

    async def give_back(
        self, one: Protection, entry: Order | None, exits: Sequence[Order], position: Decimal
    ) -> None:
        """Both exits of a group traded: go back by what was too much and is not given back yet."""
        if position * one.side.sign <= 0:
            return
        for group, total, filled in traded_groups(entry, exits):
            too_much = overfilled(total, filled)
            if not too_much:
                continue
            number, given, under_way = await self._given_back(one, group)
            excess = min(too_much - given - under_way, abs(position) - under_way)
            now_s, name = (
                self._clock.monotonic_ns() / 1e9,
                derived_id("protection_back", str(group)),
            )
            not_before, pause_s = self._retry.get(name, (0.0, self._pause_s))
            if excess <= 0 or now_s < not_before:
                continue
            self._retry[name] = (now_s + pause_s, min(2 * pause_s, _TRIES_S_MAX))
            await self._lifecycle.differs(
                Discrepancy(
                    one.symbol,
                    "anomaly:both_exits_filled",
                    plain(total),
                    plain(sum(filled, ZERO)),
                    f"Both exits of {group} traded; {plain(excess)} are given back.",
                )
            )
            fields = OrderFields(symbol=one.symbol, side=one.side.opposite, quantity=excess)
            try:
                order = await self._placing.place(fields, one.back_key(group, number), one.id)
            except ConflictError as error:
                # Judged before the last look was cut down, for another quantity: the next number.
                _log.info("protection_counts_on", protection=str(one.id), why=str(error))
                order = await self._placing.place(fields, one.back_key(group, number + 1), one.id)
            _log.error("protection_gave_back", symbol=one.symbol, order=str(order.id))

    async def _given_back(self, one: Protection, group: OrderId) -> tuple[int, Decimal, Decimal]:
        """Return the number of the next order that gives back what `group` traded too much, what
        the earlier ones have given, and what they still may."""
        number, given, under_way = 0, ZERO, ZERO
        for at in count():
            order = await self._books.order(one.back_id(self._account_id, group, at))
            if order is not None:
                number = at + 1
                given += order.filled_quantity
                under_way += ZERO if order.status.is_terminal else open_quantity(order)
            elif at >= number + _GAP_MAX:
                return number, given, under_way
        raise AssertionError("numbers do not end")
