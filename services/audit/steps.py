"""One step of a story from one row of the audit log or of a table on the trading path."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import plain
from services.audit.story import Step

Fields = Mapping[str, Any]


def of_bar(row: Fields) -> Step:
    """The closed bar that a signal was decided on; it has market time only."""
    key = f"{row['symbol']}:{row['timeframe']}:{row['ts'].isoformat()}"
    return Step(
        kind="bar",
        key=key,
        title=f"{row['symbol']} {row['timeframe']} bar closed at {plain(row['close'])}",
        service="data_collector",
        ts=None,
        ts_event=row["ts"],
        details=_plain(row),
    )


def of_signal(row: Fields) -> Step:
    """A strategy's decision, from the signals table."""
    return Step(
        kind="signal",
        key=str(row["id"]),
        title=_signal_title(row),
        service="strategy_engine",
        ts=row["created_at"],
        ts_event=row["ts"],
        details=_plain(row),
    )


def of_assessment(row: Fields) -> Step:
    """A judgement with every check, from the risk manager's table."""
    return Step(
        kind="judgement",
        key=str(row["id"]),
        title=_judgement_title(row),
        service="risk_manager",
        ts=row["ts"],
        details=_plain(row),
    )


def of_order_event(row: Fields) -> Step:
    """One change of an order, from the executor's table (joined with its order)."""
    return Step(
        kind="order_event",
        key=f"{row['order_id']}:{row['seq']}",
        title=_event_title(row),
        service="trade_executor",
        ts=row["ts"],
        place=row["seq"],
        details=_plain(row),
    )


def of_trade(row: Fields) -> Step:
    """One execution as booked."""
    return Step(
        kind="trade",
        key=str(row["id"]),
        title=_trade_title(row, row["executed_price"]),
        service="trade_executor",
        ts=row["booked_at"],
        ts_event=row["executed_at"],
        details=_plain(row),
    )


def of_transfer(row: Fields) -> Step:
    """One ledger line, with the names of its two accounts."""
    title = (
        f"{row['kind']} {plain(row['amount'])} {row['ledger']}: "
        f"{row['debit_owner']}/{row['debit_code']} → {row['credit_owner']}/{row['credit_code']} "
        f"({row['code']})"
    )
    return Step(
        kind="ledger",
        key=str(row["id"]),
        title=title,
        service="trade_executor",
        ts=row["ts"],
        place=row["seq"],
        details=_plain(row),
    )


def of_record(row: Fields) -> Step:
    """A row of the audit log, `details` decoded; the same step as its table row, if it has one."""
    payload: Fields = row["details"].get("payload", {})
    reading = _RECORDS.get(row["event_type"], _OTHER)
    return Step(
        kind=reading.kind,
        key=reading.key(payload) or str(row["message_id"]),
        title=reading.title(payload) or f"{row['action']} {row['resource']}: {row['outcome']}",
        service=row["actor"],
        ts=row["ts"],
        ts_event=_instant(payload.get(reading.time)),
        seq=row["seq"],
        place=_place(payload, row["seq"]),
        details=dict(payload),
    )


class _Reading:
    """How a recorded payload becomes a step: kind, natural key, title, field of market time."""

    def __init__(
        self,
        kind: str,
        key: Callable[[Fields], str],
        title: Callable[[Fields], str],
        time: str = "",
    ) -> None:
        self.kind, self.key, self.title, self.time = kind, key, title, time


def _signal_title(row: Fields) -> str:
    wish = f"{row.get('strategy_id')} wants {row.get('target')} of {row.get('symbol')}"
    return f"{wish} at {_num(row.get('reference_price'))}"


def _judgement_title(row: Fields) -> str:
    code = row.get("code")
    why = f" ({code})" if code else ""
    return (
        f"{row.get('verdict')}{why}: {row.get('side')} {_num(row.get('quantity'))} "
        f"{row.get('symbol')}"
    )


def _approval_title(payload: Fields) -> str:
    spec: Fields = payload.get("spec", {})
    size = spec.get("quantity") or spec.get("notional")
    return f"{spec.get('side')} {_num(size)} {spec.get('symbol')} {spec.get('order_type')}"


def _event_title(row: Fields) -> str:
    reason = f" ({row['reason']})" if row.get("reason") else ""
    return (
        f"{row.get('side')} {row.get('symbol')}: {row.get('event')}, "
        f"{row.get('from_status') or 'new'} → {row.get('to_status')}{reason}"
    )


def _trade_title(row: Fields, price: Any) -> str:
    return f"{row.get('side')} {_num(row.get('quantity'))} {row.get('symbol')} at {_num(price)}"


def _place(payload: Fields, seq: int) -> int:
    own = payload.get("seq")
    return own if isinstance(own, int) else seq


def _named(field: str) -> Callable[[Fields], str]:
    return lambda payload: str(payload.get(field, ""))


_RECORDS: Final = {
    "Signal": _Reading("signal", _named("signal_id"), _signal_title, "ts_event"),
    "RiskAssessment": _Reading("judgement", _named("assessment_id"), _judgement_title),
    "ApprovedOrder": _Reading("approval", _named("order_id"), _approval_title),
    "OrderEvent": _Reading("order_event", lambda p: f"{p['order_id']}:{p['seq']}", _event_title),
    "Trade": _Reading(
        "trade",
        _named("trade_id"),
        lambda p: _trade_title(p, p.get("price")),
        "executed_at",
    ),
    "TradeReversed": _Reading(
        "reversal",
        _named("reversal_id"),
        lambda p: f"{p.get('kind')} of {_trade_title(p, p.get('price'))}",
        "reversed_at",
    ),
    "RiskAlert": _Reading("alert", lambda p: "", lambda p: str(p.get("message", ""))),
    "Notification": _Reading("alert", lambda p: "", lambda p: str(p.get("title", ""))),
}
_OTHER: Final = _Reading("event", lambda p: "", lambda p: "")


def _num(value: Any) -> str:
    if value is None:
        return "?"
    try:
        return plain(value if isinstance(value, Decimal) else Decimal(str(value)))
    except InvalidOperation:
        return str(value)


def _plain(row: Fields) -> dict[str, Any]:
    """The row without what is null; decimals and times become text when the answer is encoded."""
    return {name: value for name, value in row.items() if value is not None}


def _instant(value: Any) -> dt.datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return from_ns(parse_ns(value))
    except InvalidInputError:
        return None
