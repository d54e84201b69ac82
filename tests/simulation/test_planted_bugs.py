"""The invariants can fail: bugs are planted by wrapping the books or the broker, and are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from libs.common.domain.vocabulary import OrderStatus
from services.trade_executor.ports import BrokerRefusedError, OutcomeUnknownError, Written
from tests.simulation.dice import Weather
from tests.simulation.session import play

pytestmark = pytest.mark.slow


class Wrapped:
    """Passes everything on; a subclass gets one thing wrong."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class SendsAgain(Wrapped):
    """Repeats a POST whose answer was lost, as a client library may do by itself."""

    async def submit(self, client_order_id: Any, spec: Any) -> Any:
        try:
            return await self._real.submit(client_order_id, spec)
        except OutcomeUnknownError:
            return await self._real.submit(client_order_id, spec)


class TakesSilenceForAbsence(Wrapped):
    """Says that an order is not there when nobody has answered."""

    async def submit(self, client_order_id: Any, spec: Any) -> Any:
        try:
            return await self._real.submit(client_order_id, spec)
        except OutcomeUnknownError as error:
            raise BrokerRefusedError(408, None, "no answer, so it was not taken") from error


class SendsMore(Wrapped):
    """Rounds a quantity up on its way out."""

    async def submit(self, client_order_id: Any, spec: Any) -> Any:
        return await self._real.submit(
            client_order_id, type(spec)(**{**_fields(spec), "quantity": spec.quantity + 1})
        )


class BooksTwice(Wrapped):
    """Forgets that an execution is the same by whatever way it comes."""

    async def book(self, order: Any, execution: Any, *, source: str) -> Any:
        renamed = replace(execution, execution_id=f"{execution.execution_id}-{source}")
        return await self._real.book(order, renamed, source=source)


class BooksOtherwise(Wrapped):
    """Books every execution a cent off."""

    async def book(self, order: Any, execution: Any, *, source: str) -> Any:
        cheaper = replace(execution, price=execution.price - 1)
        return await self._real.book(order, cheaper, source=source)


class KeepsWhatWasTakenBack(Wrapped):
    """Says of every bust and correction that it knows it already."""

    async def reverse(self, order: Any, reversal: Any, held: Any = None) -> Any:
        return Written("duplicate", order)


class BlamesNotTheOpening(Wrapped):
    """Takes no execution out of the opening balance."""

    async def reverse(self, order: Any, reversal: Any, held: Any = None) -> Any:
        return await self._real.reverse(order, reversal)


class LosesReplacements(Wrapped):
    """Takes a corrected execution back and forgets what stands in its place."""

    async def reverse(self, order: Any, reversal: Any, held: Any = None) -> Any:
        return await self._real.reverse(order, replace(reversal, replacement=None), held)


class LosesSplits(Wrapped):
    """Books the money of activities only."""

    async def book_activities(self, activities: Any) -> Any:
        return await self._real.book_activities([one for one in activities if not one.symbol])


class ForgetsHolds(Wrapped):
    """Ends orders without releasing what they hold."""

    async def move(self, order: Any, move: Any) -> Any:
        blind = replace(order, hold_id=None) if move.to_status.is_terminal else order
        return await self._real.move(blind, move)


class LosesApprovals(Wrapped):
    """Says that an order was written when it was not."""

    async def create(self, order: Any, recorded: Any, hold: Any, causation_id: Any = None) -> Any:
        if order.signal_id is not None:
            return Written("created", replace(order, status=OrderStatus.CANCELED))
        return await self._real.create(order, recorded, hold, causation_id)


def _fields(spec: Any) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def weather() -> Weather:
    """Enough bad luck for every bug to show."""
    return Weather(
        broker_answer_lost=0.2, stream_twice=0.3, stream_lost=0.2, stream_late=0.1,
        venue_partial=0.3, venue_ends=0.2, crash=0.03,
    )  # fmt: skip


def found(seeds: range, under: Weather | None = None, **planted: Any) -> list[str]:
    """Return what the invariants say of a bug, seed by seed, until one has shown it."""
    for seed in seeds:
        violation = play(seed, 40, replace(under or weather()), **planted).violation
        if violation is not None:
            return [violation]
    return []


@pytest.mark.parametrize(
    ("bug", "seen"),
    [
        (SendsAgain, ("sent twice", "doubled")),
        (TakesSilenceForAbsence, ("found_live", "ended rejected", "is rejected", "blocked",
                                  "after_rejected", "no rest")),
        (SendsMore, ("approved was",)),
    ],
)  # fmt: skip
def test_bug_on_the_way_to_the_broker_is_seen(
    bug: Callable[[Any], Any], seen: tuple[str, ...]
) -> None:
    told = found(range(1, 30), make_broker=bug)
    assert told, "the invariants did not see it"
    assert any(word in told[0] for word in seen), told


@pytest.mark.parametrize(
    ("bug", "seen"),
    [
        (BooksTwice, ("never happened",)),
        (BooksOtherwise, ("otherwise than it happened",)),
        (ForgetsHolds, ("and holds", "holds of the ledger")),
        (LosesApprovals, ("intent lost",)),
        (KeepsWhatWasTakenBack, ("blocked", "took back", "is filled", "position", "cash")),
        (BlamesNotTheOpening, ("blocked", "position", "cash", "booked")),
        (LosesReplacements, ("blocked", "not booked", "position", "cash")),
        (LosesSplits, ("blocked", "position")),
    ],
)
def test_bug_in_the_books_is_seen(bug: Callable[[Any], Any], seen: tuple[str, ...]) -> None:
    told = found(range(1, 30), make_books=bug)
    assert told, "the invariants did not see it"
    assert any(word in told[0] for word in seen), told


def test_anomaly_that_is_told_by_a_second_commit_is_seen() -> None:
    late = Weather(
        broker_arrives_late=0.2, broker_ghost=0.1, broker_request_lost=0.1, crash=0.03
    )  # fmt: skip
    told = found(range(1, 13), late, triggers=False)
    assert "an anomaly without its discrepancy" in told[0], told
    assert found(range(1, 13), late) == []


def test_the_same_weather_without_a_bug_is_fine() -> None:
    assert found(range(1, 12)) == []
