"""Every cell of the order state table against answers written down here, event by event.

The answers follow the trading path's rules and the venue's notes; nothing is read from the table.
"""

from __future__ import annotations

from itertools import product

import pytest

from infra.docs_lifecycle import SECTIONS
from libs.common.domain.order_meanings import EVENT_MEANINGS, STATUS_MEANINGS, WHY_MEANINGS
from libs.common.domain.orders import OrderEvent, Why, apply
from libs.common.domain.vocabulary import OrderStatus

S, E = OrderStatus, OrderEvent

NOT_SENT = "created denied"
SENDING = "submitting outcome_unknown"
RESTING = "submitted accepted held working partially_filled"
ASKED = "pending_cancel pending_replace"
PAUSED = "suspended done_for_day"
LIVE = f"{SENDING} {RESTING} {ASKED} {PAUSED}"
VENUE_ENDS = "filled canceled expired rejected replaced"
ENDS = f"denied {VENUE_ENDS}"
AT_VENUE = f"{RESTING} {ASKED} {PAUSED}"

# Event -> outcome -> the statuses in which it is the outcome. An outcome is a status (moves there)
# or a reason (stays); `!` before it: an anomaly.
EXPECTED: dict[str, dict[str, str]] = {
    "deny": {
        "denied": "created submitting", "KNOWN": "denied", "IN_DOUBT": "outcome_unknown",
        "SENT": AT_VENUE, "OVER": VENUE_ENDS,
    },
    "send": {
        "submitting": "created", "SENT": f"submitting {AT_VENUE}", "IN_DOUBT": "outcome_unknown",
        "OVER": ENDS,
    },
    "lose_outcome": {
        "outcome_unknown": "submitting", "NOT_SENT": "created", "OVER": "denied",
        "KNOWN": "outcome_unknown", "ANSWERED": f"{AT_VENUE} {VENUE_ENDS}",
    },
    "resend": {
        "submitting": "outcome_unknown", "NOT_SENT": "created",
        "NOT_IN_DOUBT": f"submitting {AT_VENUE}", "OVER": ENDS,
    },
    "give_up": {
        "denied": "outcome_unknown", "NOT_SENT": "created",
        "NOT_IN_DOUBT": f"submitting {AT_VENUE}", "OVER": ENDS,
    },
    "ask_cancel": {
        "canceled": "created", "IN_DOUBT": SENDING, "KNOWN": "pending_cancel",
        "pending_cancel": f"{RESTING} pending_replace {PAUSED}", "OVER": ENDS,
    },
    "ask_replace": {
        "pending_replace": "held working partially_filled done_for_day", "NOT_SENT": "created",
        "IN_DOUBT": SENDING, "VENUE_REFUSES": f"submitted accepted {ASKED} suspended",
        "OVER": ENDS,
    },
    "acknowledged": {
        "!submitted": NOT_SENT, "submitted": SENDING, "KNOWN": "submitted",
        "LATE": f"accepted held working partially_filled {ASKED} {PAUSED}", "ENDED": VENUE_ENDS,
    },
    "accepted": {
        "!accepted": NOT_SENT, "accepted": f"{SENDING} submitted", "KNOWN": "accepted",
        "LATE": f"held working partially_filled {ASKED} {PAUSED}", "ENDED": VENUE_ENDS,
    },
    "held": {
        "!held": NOT_SENT, "held": f"{SENDING} submitted accepted", "KNOWN": "held",
        "LATE": f"working partially_filled {ASKED} {PAUSED}", "ENDED": VENUE_ENDS,
    },
    "working": {
        "!working": NOT_SENT, "working": f"{SENDING} submitted accepted held {PAUSED}",
        "KNOWN": "working", "LATE": f"partially_filled {ASKED}", "ENDED": VENUE_ENDS,
    },
    "partly_filled": {
        "!partially_filled": NOT_SENT,
        "partially_filled": f"{SENDING} submitted accepted held working {PAUSED}",
        "KNOWN": "partially_filled", "PENDING": ASKED, "ENDED": "filled",
        "!CONTRADICTED": "canceled expired rejected replaced",
    },
    "filled": {
        "!filled": f"{NOT_SENT} canceled expired rejected replaced", "filled": LIVE,
        "KNOWN": "filled",
    },
    "pending_cancel": {
        "!pending_cancel": NOT_SENT, "KNOWN": "pending_cancel",
        "pending_cancel": f"{SENDING} {RESTING} pending_replace {PAUSED}", "ENDED": VENUE_ENDS,
    },
    "cancel_refused": {
        "!NEVER_SENT": NOT_SENT, "working": "pending_cancel", "ENDED": VENUE_ENDS,
        "UNASKED": f"{SENDING} {RESTING} pending_replace {PAUSED}",
    },
    "pending_replace": {
        "!pending_replace": NOT_SENT, "KNOWN": "pending_replace", "PENDING": "pending_cancel",
        "pending_replace": f"{SENDING} {RESTING} {PAUSED}", "ENDED": VENUE_ENDS,
    },
    "replace_refused": {
        "!NEVER_SENT": NOT_SENT, "working": "pending_replace", "ENDED": VENUE_ENDS,
        "UNASKED": f"{SENDING} {RESTING} pending_cancel {PAUSED}",
    },
    "replaced": {
        "!replaced": NOT_SENT, "replaced": LIVE, "KNOWN": "replaced",
        "!CONTRADICTED": "filled canceled expired rejected",
    },
    "suspended": {
        "!suspended": NOT_SENT, "suspended": f"{SENDING} {RESTING} done_for_day",
        "KNOWN": "suspended", "PENDING": ASKED, "ENDED": VENUE_ENDS,
    },
    "done_for_day": {
        "!done_for_day": NOT_SENT, "done_for_day": f"{SENDING} {RESTING} suspended",
        "KNOWN": "done_for_day", "PENDING": ASKED, "ENDED": VENUE_ENDS,
    },
    "canceled": {
        "!canceled": NOT_SENT, "canceled": LIVE, "KNOWN": "canceled",
        "!CONTRADICTED": "filled expired rejected replaced",
    },
    "expired": {
        "!expired": NOT_SENT, "expired": LIVE, "KNOWN": "expired",
        "!CONTRADICTED": "filled canceled rejected replaced",
    },
    "rejected": {
        "!rejected": "created", "rejected": LIVE, "KNOWN": "denied rejected",
        "!CONTRADICTED": "filled canceled expired replaced",
    },
    "restated": {
        "!submitted": NOT_SENT, "submitted": SENDING, "TERMS": AT_VENUE, "ENDED": VENUE_ENDS,
    },
    "busted": {
        "!NEVER_SENT": NOT_SENT, "submitted": SENDING, "EXECUTIONS": f"{AT_VENUE} {VENUE_ENDS}",
    },
    "corrected": {
        "!NEVER_SENT": NOT_SENT, "submitted": SENDING, "EXECUTIONS": f"{AT_VENUE} {VENUE_ENDS}",
    },
    "unrecognised": {"!NEVER_SENT": NOT_SENT, "NO_MEANING": f"{LIVE} {VENUE_ENDS}"},
    "found_live": {
        "!working": f"{NOT_SENT} {VENUE_ENDS}", "submitted": SENDING, "working": "suspended",
        "KNOWN": f"{RESTING} {ASKED} done_for_day",
    },
}  # fmt: skip
REFUSALS = {"NOT_SENT", "SENT", "IN_DOUBT", "NOT_IN_DOUBT", "VENUE_REFUSES", "OVER"}
CELLS = [
    (status, event, outcome)
    for event, outcomes in EXPECTED.items()
    for outcome, statuses in outcomes.items()
    for status in statuses.split()
]


def test_the_answers_name_every_cell_once() -> None:
    assert len(CELLS) == 18 * 28
    named = {(status, event) for status, event, _ in CELLS}
    assert named == {(status.value, event.value) for status, event in product(S, E)}


@pytest.mark.parametrize(("status", "event", "outcome"), CELLS)
def test_cell(status: str, event: str, outcome: str) -> None:
    step = apply(S(status), E(event))
    word = outcome.removeprefix("!")
    moves = word in set(S)
    assert step.status == (word if moves else status)
    assert step.changed is moves
    assert step.why == (None if moves else Why[word])
    assert step.refused is (word in REFUSALS)
    assert step.anomaly is outcome.startswith("!")


@pytest.mark.parametrize("end", VENUE_ENDS.split())
def test_a_venues_end_stays_an_end(end: str) -> None:
    left = {event: apply(S(end), event) for event in E if apply(S(end), event).changed}
    assert set(left) == {E.FOUND_LIVE} | ({E.FILLED} if end != "filled" else set())
    assert all(step.anomaly for step in left.values())


@pytest.mark.parametrize("status", S)
def test_a_word_nobody_knows_moves_nothing(status: OrderStatus) -> None:
    step = apply(status, E.UNRECOGNISED)
    assert (step.status, step.changed, step.refused) == (status, False, False)
    assert step.anomaly is (status in {S.CREATED, S.DENIED})


def test_every_word_has_its_line() -> None:
    for words, meanings in (
        (set(S), set(STATUS_MEANINGS)),
        (set(E), set(EVENT_MEANINGS)),
        (set(Why), set(WHY_MEANINGS)),
    ):
        assert words == meanings


def test_every_event_has_one_column_on_the_page() -> None:
    assert sorted(event for _, events in SECTIONS for event in events) == sorted(E)
