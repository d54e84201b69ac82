"""Judging: signals from the log, and requests with a deadline."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.contracts.channels import SIGNALS
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import Signal
from libs.common.contracts.risk_api import (
    CLOSING,
    AssessmentReply,
    AssessmentRequest,
    PreviewRequest,
)
from libs.common.domain.vocabulary import StrategyMode, Verdict
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import NotFoundError, UnavailableError
from libs.common.kernel.ids import IdSource, SignalId, order_id_of
from libs.common.kernel.money import ZERO
from services.risk_manager import metrics
from services.risk_manager.desk import Desk, Moment
from services.risk_manager.judgement import Ask, Judgement, forget, judge, reserve
from services.risk_manager.ports import Assessment, Market, Outgoing, Registry, Store
from services.risk_manager.records import (
    alert_of,
    assessment_of,
    outgoing_of,
    pending_of,
    reply_of,
)
from services.risk_manager.settings import RiskSettings
from services.risk_manager.signals import ask_of_signal

ALERT_EVERY_S: Final = 60.0
_POLL_S: Final = 0.02


@dataclass
class Office:
    """The desk of one account with everything that its handlers need. `lock` makes the account's
    judgements, and all changes of its book, one after the other."""

    desk: Desk
    store: Store
    registry: Registry
    market: Market
    clock: Clock
    ids: IdSource
    settings: RiskSettings
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    rebuilt: bool = False
    settled_at: float = 0.0
    booked_until: dt.datetime = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    earned: Decimal = ZERO
    fired: dict[str, object] = field(default_factory=dict)
    valued_at: float = 0.0
    refreshed_at: float = 0.0
    alerted: dict[tuple[str, str], float] = field(default_factory=dict)
    # Signals of which nobody knows whether their judgement was stored.
    doubted: set[UUID] = field(default_factory=set)


@dataclass(frozen=True)
class _Done:
    """A judgement with its record and what it changed in memory."""

    judgement: Judgement
    assessment: Assessment
    messages: list[Outgoing]
    signal: Signal | None = None
    bar_before: dt.datetime | None = None


async def judge_signals(office: Office, envelopes: Sequence[Envelope[Signal]]) -> None:
    """Judge a batch in its order; store and announce it in one transaction.

    A signal that was judged before keeps its verdict and is only counted; one of a shadow
    strategy is only counted too.
    """
    live = [e for e in envelopes if e.payload.mode is StrategyMode.LIVE]
    metrics.SHADOWED.inc(len(envelopes) - len(live))
    if not live:
        return
    await _settle(office, {e.payload.symbol for e in live})
    async with office.lock:
        _require_book(office)
        with metrics.BATCH.time():
            known = await _judged_before(office, [e.payload for e in live])
            done: dict[UUID, _Done] = {}
            for envelope in live:
                signal_id = envelope.payload.signal_id
                if signal_id in known:
                    office.desk.see_bar(envelope.payload)
                    await _repeat(office, known[signal_id])
                elif signal_id in done:
                    metrics.REPEATED.labels("signal").inc()
                else:
                    done[signal_id] = _judge_signal(office, envelope)
            await _record(office, list(done.values()))


async def _judged_before(office: Office, signals: Sequence[Signal]) -> Mapping[UUID, Assessment]:
    """Return the judgements of those signals that have one.

    Only those are asked for that can have: a bar newer than any that was judged for its strategy
    and symbol was not. A judgement that could not be stored may be stored all the same, which
    makes its signal one to ask for.
    """
    asked = [
        signal.signal_id
        for signal in signals
        if signal.signal_id in office.doubted or not office.desk.is_newest(signal)
    ]
    if not asked:
        return {}
    known = await office.store.judged(asked)
    office.doubted.difference_update(asked)
    return known


def _judge_signal(office: Office, envelope: Envelope[Signal]) -> _Done:
    signal, desk = envelope.payload, office.desk
    now, started = office.market.moment(), office.clock.monotonic_ns()
    ask = ask_of_signal(desk, signal, order_id_of(SignalId(signal.signal_id)), now)
    judgement = judge(desk, ask, now)
    before = desk.see_bar(signal)
    assessment = _keep(
        office,
        judgement,
        now,
        started,
        correlation_id=envelope.correlation_id,
        source=envelope.source,
        signal=signal,
    )
    messages = outgoing_of(assessment, causation_id=envelope.id, publish_order=True)
    messages += _alerts(office, judgement, assessment)
    return _Done(judgement, assessment, messages, signal, before)


def _keep(
    office: Office,
    judgement: Judgement,
    now: Moment,
    started_ns: int,
    *,
    correlation_id: UUID,
    source: str,
    signal: Signal | None = None,
    request_id: UUID | None = None,
) -> Assessment:
    """Reserve what was approved and make the record."""
    expires = now.wall + office.settings.risk_reservation_s
    if judgement.refusal is None:
        reserve(office.desk, judgement, now, expires)
    latency_ns = office.clock.monotonic_ns() - started_ns
    metrics.LATENCY.observe(latency_ns / 1e9)
    return assessment_of(
        office.desk,
        judgement,
        assessment_id=office.ids.new(),
        correlation_id=correlation_id,
        ts=office.clock.now(),
        latency_us=latency_ns // 1000,
        source=source,
        expires_at=dt.datetime.fromtimestamp(expires, dt.UTC),
        signal_id=None if signal is None else signal.signal_id,
        request_id=request_id,
        bar_ts=None if signal is None else signal.bar_ts,
    )


async def _record(office: Office, done: Sequence[_Done]) -> None:
    """Store the judgements, or take back in memory what was not stored."""
    if not done:
        return
    stored = False
    try:
        await office.store.record(
            [d.assessment for d in done], [m for d in done for m in d.messages]
        )
        stored = True
    finally:
        if not stored:
            for d in reversed(done):
                forget(office.desk, d.judgement)
                if d.signal is not None:
                    office.desk.forget_bar(d.signal, d.bar_before)
                    office.doubted.add(d.signal.signal_id)
    for d in done:
        metrics.JUDGEMENTS.labels(d.assessment.verdict.value, d.assessment.code or "APPROVED").inc()


async def judge_request(
    office: Office, request: AssessmentRequest, correlation_id: UUID
) -> AssessmentReply:
    """Judge a caller's order. Raises NotFoundError for an account that is not ours and
    UnavailableError when the deadline passes first; nothing is then set aside."""
    _require_account(office, request.account_id)
    left = _seconds_left(office, request.deadline)
    try:
        await asyncio.wait_for(office.lock.acquire(), left)
    except TimeoutError as error:
        raise UnavailableError("deadline: passed before the account's turn came") from error
    try:
        _require_book(office)
        known = await office.store.judged([request.request_id])
        if request.request_id in known:
            await _repeat(office, known[request.request_id])
            return reply_of(known[request.request_id], replayed=True)
        leg = await _is_leg(office, request.replaces)
        _seconds_left(office, request.deadline)
        done = _judge_request(office, request, correlation_id, leg=leg)
        await _record(office, [done])
    finally:
        office.lock.release()
    return reply_of(done.assessment, replayed=False)


async def _is_leg(office: Office, replaces: UUID | None) -> bool:
    """Tell whether the order to amend is an exit leg; one that the book has not heard of yet is
    taken into it."""
    if replaces is None:
        return False
    found = await office.store.open_order(replaces)
    if found is None:
        raise NotFoundError(f"replaces: there is no order {replaces}")
    if not (found.leg or found.ended):
        office.desk.book.take_up(found.pending, found.before_us)
    return found.leg


def _judge_request(
    office: Office, request: AssessmentRequest, correlation_id: UUID, *, leg: bool
) -> _Done:
    now, started = office.market.moment(), office.clock.monotonic_ns()
    spec = request.order.to_spec()
    ask = Ask(
        request.request_id,
        spec,
        request.strategy_id,
        replaces=request.replaces,
        leg=leg,
        closing=request.source == CLOSING,
    )
    judgement = judge(office.desk, ask, now)
    assessment = _keep(
        office,
        judgement,
        now,
        started,
        correlation_id=request.correlation_id or correlation_id,
        source=request.source,
        request_id=request.request_id,
    )
    messages = outgoing_of(assessment, causation_id=request.signal_id, publish_order=False)
    return _Done(judgement, assessment, messages + _alerts(office, judgement, assessment))


async def preview(office: Office, request: PreviewRequest, correlation_id: UUID) -> AssessmentReply:
    """What the judgement would be now: no reservation, no record."""
    _require_account(office, request.account_id)
    async with office.lock:
        _require_book(office)
    now, started = office.market.moment(), office.clock.monotonic_ns()
    ask = Ask(office.ids.new(), request.order.to_spec(), request.strategy_id)
    judgement = judge(office.desk, ask, now)
    assessment = assessment_of(
        office.desk,
        judgement,
        assessment_id=office.ids.new(),
        correlation_id=correlation_id,
        ts=office.clock.now(),
        latency_us=(office.clock.monotonic_ns() - started) // 1000,
        source="preview",
        expires_at=office.clock.now(),
    )
    return reply_of(assessment, replayed=False, binding=False)


async def _repeat(office: Office, assessment: Assessment) -> None:
    """An approval on record whose transaction we had believed lost counts again, unless its order
    has come and gone meanwhile."""
    metrics.REPEATED.labels("signal" if assessment.signal_id else "request").inc()
    expires = assessment.expires_at
    if assessment.verdict is Verdict.APPROVED and expires and expires > office.clock.now():
        order = await office.store.open_order(assessment.order_id)
        if order is not None and order.ended:
            office.desk.book.pass_over(assessment.order_id)
        else:
            office.desk.book.reserve(pending_of(assessment))


def _alerts(office: Office, judgement: Judgement, assessment: Assessment) -> list[Outgoing]:
    """The denial's alert, at most once a minute for a code and symbol."""
    if judgement.refusal is None:
        return []
    alert = alert_of(assessment, judgement.refusal.context)
    if alert is None:
        return []
    key, now = (judgement.refusal.code, assessment.symbol), office.clock.now_ns() / 1e9
    if now - office.alerted.get(key, 0.0) < ALERT_EVERY_S:
        return []
    office.alerted[key] = now
    return [alert]


async def _settle(office: Office, symbols: set[str]) -> None:
    """Shortly after the start, wait a little for the first prices: they come by broadcast, and
    a signal should not be denied for being earlier than they."""
    while office.clock.now_ns() / 1e9 < office.settled_at:
        now = office.market.moment()
        marks = [office.desk.book.mark(s, now.market_ns, now.factor) for s in symbols]
        limits = [office.desk.limits_for(None, s).price_age_s_max for s in symbols]
        if all(m and m.age_s <= limit for m, limit in zip(marks, limits, strict=True)):
            return
        await asyncio.sleep(_POLL_S)


def _seconds_left(office: Office, deadline: dt.datetime) -> float:
    left = (deadline - office.clock.now()).total_seconds()
    if left <= 0:
        raise UnavailableError(f"deadline: {deadline.isoformat()} has passed")
    return min(left, office.settings.risk_deadline_s_max)


def _require_account(office: Office, account_id: str) -> None:
    if account_id != office.desk.account_id:
        raise NotFoundError(f"account_id: {account_id!r} is not judged here")


def _require_book(office: Office) -> None:
    if not office.rebuilt:
        raise UnavailableError("the book is not rebuilt yet")


HANDLERS: Final = {SIGNALS: judge_signals}
