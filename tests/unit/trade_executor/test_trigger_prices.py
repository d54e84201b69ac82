"""What meets a trigger: trades and the near side of quotes, no older than allowed."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import ValidationError

from libs.common.contracts.messages import MarketData, Quote, TradeTick
from libs.common.contracts.risk_api import OrderFields
from services.trade_executor.trigger import Trigger, TriggerFields, met

D = Decimal
ORDER = {"symbol": "AAPL", "side": "buy", "quantity": "1"}


def trigger(*, above: str | None = None, below: str | None = None) -> Trigger:
    return Trigger(
        id=uuid.UUID(int=1),
        account_id="main",
        idempotency_key="k",
        request={},
        order=OrderFields.model_validate(ORDER),
        correlation_id=uuid.UUID(int=2),
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        above=D(above) if above else None,
        below=D(below) if below else None,
    )


def quoted(bid: float, ask: float, at: int = 100) -> MarketData:
    quote = Quote(ts_event=at, bid=bid, ask=ask)
    return MarketData(symbol="AAPL", provider="test", ts_init=at, quotes=(quote,))


def traded(price: float, at: int = 100) -> MarketData:
    tick = TradeTick(ts_event=at, price=price, size=1)
    return MarketData(symbol="AAPL", provider="test", ts_init=at, trades=(tick,))


@pytest.mark.parametrize(
    ("data", "above", "below"),
    [
        (quoted(105.0, 105.02), "105", None),
        (quoted(104.99, 105.5), None, None),
        (quoted(94.98, 95.0), None, "95"),
        (quoted(94.0, 95.01), None, None),
        (traded(105.0), "105", None),
        (traded(95.0), None, "95"),
        (traded(100.0), None, None),
        (quoted(105.0, 105.02, at=9), None, None),
        (traded(105.0, at=9), None, None),
        (quoted(0.0, 95.0), None, None),
        (quoted(106.0, 105.0), None, None),
        (traded(0.0), None, None),
    ],
)
def test_a_trigger_is_met_by_what_is_at_or_beyond_its_price(
    data: MarketData, above: str | None, below: str | None
) -> None:
    assert met(trigger(above="105"), data, 10) == (D(above) if above else None)
    assert met(trigger(below="95"), data, 10) == (D(below) if below else None)


def test_each_firing_has_an_order_of_its_own_and_the_same_one_again() -> None:
    one = trigger(above="105")
    assert one.order_id == trigger(above="105").order_id
    assert one.order_id != replace(one, firing=1).order_id


@pytest.mark.parametrize("prices", [{}, {"above": "1", "below": "2"}])
def test_exactly_one_price_is_needed(prices: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one of above and below"):
        TriggerFields.model_validate({"order": ORDER, **prices})
