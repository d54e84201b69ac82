"""The order state table is total and says what FIX and the venue's notes demand."""

import pytest

from libs.common.domain.orders import (
    LIVE_STATUSES,
    OUR_ACTS,
    TABLE,
    OrderEvent,
    apply,
    statuses_allowing,
)
from libs.common.domain.vocabulary import TERMINAL_STATUSES, OrderStatus

S, E = OrderStatus, OrderEvent
VENUE_WORDS = [event for event in E if event not in OUR_ACTS]


def test_every_cell_is_decided() -> None:
    assert set(TABLE) == {(status, event) for status in S for event in E}


@pytest.mark.parametrize("event", VENUE_WORDS)
def test_the_venue_is_never_refused(event: OrderEvent) -> None:
    assert not any(apply(status, event).refused for status in S)


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_an_end_is_left_only_as_an_anomaly(status: OrderStatus) -> None:
    for event in E:
        step = apply(status, event)
        assert step.anomaly or not step.changed, (status, event)


@pytest.mark.parametrize("status", sorted(S))
def test_a_second_arrival_changes_nothing(status: OrderStatus) -> None:
    for event in VENUE_WORDS:
        once = apply(status, event)
        again = apply(once.status, event)
        assert again.status is once.status, (status, event)
        assert not again.changed, (status, event)


def test_changed_means_another_status() -> None:
    assert all(step.changed == (step.status is not status) for (status, _), step in TABLE.items())


@pytest.mark.parametrize(
    "path",
    [
        [(E.SEND, S.SUBMITTING), (E.ACKNOWLEDGED, S.SUBMITTED), (E.WORKING, S.WORKING)],
        [(E.SEND, S.SUBMITTING), (E.LOSE_OUTCOME, S.OUTCOME_UNKNOWN), (E.RESEND, S.SUBMITTING)],
        [(E.SEND, S.SUBMITTING), (E.LOSE_OUTCOME, S.OUTCOME_UNKNOWN), (E.GIVE_UP, S.DENIED)],
        [(E.SEND, S.SUBMITTING), (E.FILLED, S.FILLED), (E.ACKNOWLEDGED, S.FILLED)],
        [(E.SEND, S.SUBMITTING), (E.REJECTED, S.REJECTED)],
        [(E.DENY, S.DENIED)],
    ],
)
def test_ways_of_an_order(path: list[tuple[OrderEvent, OrderStatus]]) -> None:
    status = S.CREATED
    for event, expected in path:
        step = apply(status, event)
        assert (step.status, step.anomaly, step.refused) == (expected, False, False)
        status = step.status


def test_fill_may_follow_a_cancel_that_was_only_promised() -> None:
    step = apply(apply(S.WORKING, E.ASK_CANCEL).status, E.FILLED)
    assert (step.status, step.anomaly) == (S.FILLED, False)


def test_fill_after_cancel_still_counts_and_is_flagged() -> None:
    step = apply(S.CANCELED, E.FILLED)
    assert (step.status, step.anomaly) == (S.FILLED, True)


def test_refused_cancel_returns_the_order_to_work() -> None:
    assert apply(S.PENDING_CANCEL, E.CANCEL_REFUSED).status is S.WORKING


@pytest.mark.parametrize("status", [S.SUBMITTED, S.ACCEPTED, S.PENDING_CANCEL, S.PENDING_REPLACE])
def test_replace_is_refused_where_the_venue_refuses_it(status: OrderStatus) -> None:
    assert apply(status, E.ASK_REPLACE).refused


def test_a_denied_order_seen_at_the_venue_is_an_anomaly() -> None:
    words = set(VENUE_WORDS) - {E.REJECTED}
    assert all(apply(S.DENIED, event).anomaly for event in words)


def test_a_blind_resend_is_refused() -> None:
    assert statuses_allowing(E.RESEND) == {S.OUTCOME_UNKNOWN}
    assert statuses_allowing(E.SEND) == {S.CREATED}


def test_live_statuses_are_those_the_venue_may_hold() -> None:
    assert set(S) - LIVE_STATUSES == TERMINAL_STATUSES | {S.CREATED}
