"""The order state table: every (status, event) cell is decided here, once.

Read a row as "an order that stands so", a column as "this happened". A cell is

- a two-letter status: the order moves there;
- `.` and a letter  ignored, nothing changes; the letter says why (`Why`);
- `x` and a letter  refused: one of *our* acts that makes no sense in this status (a caller's
  mistake); the letter says why;
- a leading `!`  an anomaly: the venue and we disagree about the past. The move (if any) is still
  made, because the venue is right about what happened, but the order is flagged, its symbol takes
  no new risk and somebody is told.

Streams reorder and repeat, so progress never runs backward: `working` after `pending_cancel` is a
late message, not news. What leads back is named: a refused cancel or replace, an order resumed
after `suspended` or `done_for_day`, and `found_live`, a look-up that was asked twice and saw the
order open at the venue.

What the venue changes afterwards moves nothing either: `restated` is about what the order asks for
(a split gives a resting order another quantity and price), `busted` and `corrected` are about an
execution. They only prove that the order is at the venue, where that was in doubt.

Executions are no part of this table. They are a set of their own (`executions.py`), taken in any
status; `partly_filled` and `filled` here only say what the sum of them, or the venue, amounts to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from libs.common.domain.vocabulary import OrderStatus


class OrderEvent(StrEnum):
    """What can happen to an order: first our acts, then the venue's words."""

    DENY = "deny"
    SEND = "send"
    LOSE_OUTCOME = "lose_outcome"
    RESEND = "resend"
    GIVE_UP = "give_up"
    ASK_CANCEL = "ask_cancel"
    ASK_REPLACE = "ask_replace"

    ACKNOWLEDGED = "acknowledged"
    ACCEPTED = "accepted"
    HELD = "held"
    WORKING = "working"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    CANCEL_REFUSED = "cancel_refused"
    PENDING_REPLACE = "pending_replace"
    REPLACE_REFUSED = "replace_refused"
    REPLACED = "replaced"
    SUSPENDED = "suspended"
    DONE_FOR_DAY = "done_for_day"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    RESTATED = "restated"
    BUSTED = "busted"
    CORRECTED = "corrected"
    UNRECOGNISED = "unrecognised"
    FOUND_LIVE = "found_live"


OUR_ACTS: Final = frozenset(
    {
        OrderEvent.DENY,
        OrderEvent.SEND,
        OrderEvent.LOSE_OUTCOME,
        OrderEvent.RESEND,
        OrderEvent.GIVE_UP,
        OrderEvent.ASK_CANCEL,
        OrderEvent.ASK_REPLACE,
    }
)


class Why(StrEnum):
    """Why a cell leaves the order where it is; the value is the cell's code."""

    KNOWN = ".k"
    LATE = ".l"
    ENDED = ".o"
    ANSWERED = ".a"
    UNASKED = ".u"
    PENDING = ".p"
    NO_MEANING = ".w"
    TERMS = ".t"
    EXECUTIONS = ".x"
    NEVER_SENT = ".n"
    CONTRADICTED = ".c"

    NOT_SENT = "xn"
    SENT = "xs"
    IN_DOUBT = "xw"
    NOT_IN_DOUBT = "xc"
    VENUE_REFUSES = "xv"
    OVER = "xo"


@dataclass(frozen=True, slots=True)
class Step:
    """What an event does to an order: where it stands then, and what is to be thought of it.

    `refused` means the act is not allowed and `status` is the old one; `anomaly` means flag the
    order, whether it moved or not. `why` is given exactly where the order does not move.
    """

    status: OrderStatus
    changed: bool = False
    refused: bool = False
    anomaly: bool = False
    why: Why | None = None


_CODES: Final = {
    "cr": OrderStatus.CREATED,
    "de": OrderStatus.DENIED,
    "sg": OrderStatus.SUBMITTING,
    "un": OrderStatus.OUTCOME_UNKNOWN,
    "sd": OrderStatus.SUBMITTED,
    "ac": OrderStatus.ACCEPTED,
    "he": OrderStatus.HELD,
    "wo": OrderStatus.WORKING,
    "pf": OrderStatus.PARTIALLY_FILLED,
    "pc": OrderStatus.PENDING_CANCEL,
    "pr": OrderStatus.PENDING_REPLACE,
    "su": OrderStatus.SUSPENDED,
    "df": OrderStatus.DONE_FOR_DAY,
    "fi": OrderStatus.FILLED,
    "ca": OrderStatus.CANCELED,
    "ex": OrderStatus.EXPIRED,
    "re": OrderStatus.REJECTED,
    "rp": OrderStatus.REPLACED,
}

# Our acts. `denied` after `submitting` is the refusal at the last step before the wire: nothing
# was sent. A cancel that meets `submitting` or `outcome_unknown` has to wait for the answer.
_ACTS: Final = """
                  deny send lose_outcome resend give_up ask_cancel ask_replace
created           de   sg   xn           xn     xn      ca         xn
denied            .k   xo   xo           xo     xo      xo         xo
submitting        de   xs   un           xc     xc      xw         xw
outcome_unknown   xw   xw   .k           sg     de      xw         xw
submitted         xs   xs   .a           xc     xc      pc         xv
accepted          xs   xs   .a           xc     xc      pc         xv
held              xs   xs   .a           xc     xc      pc         pr
working           xs   xs   .a           xc     xc      pc         pr
partially_filled  xs   xs   .a           xc     xc      pc         pr
pending_cancel    xs   xs   .a           xc     xc      .k         xv
pending_replace   xs   xs   .a           xc     xc      pc         xv
suspended         xs   xs   .a           xc     xc      pc         xv
done_for_day      xs   xs   .a           xc     xc      pc         pr
filled            xo   xo   .a           xo     xo      xo         xo
canceled          xo   xo   .a           xo     xo      xo         xo
expired           xo   xo   .a           xo     xo      xo         xo
rejected          xo   xo   .a           xo     xo      xo         xo
replaced          xo   xo   .a           xo     xo      xo         xo
"""

# The venue before an end: the way forward. A venue that speaks of an order we never sent
# (`created`) or refused ourselves (`denied`) is an anomaly whatever it says.
_PROGRESS: Final = """
                  acknowledged accepted held working pending_cancel cancel_refused pending_replace
created           !sd          !ac      !he  !wo     !pc            !.n            !pr
denied            !sd          !ac      !he  !wo     !pc            !.n            !pr
submitting        sd           ac       he   wo      pc             .u             pr
outcome_unknown   sd           ac       he   wo      pc             .u             pr
submitted         .k           ac       he   wo      pc             .u             pr
accepted          .l           .k       he   wo      pc             .u             pr
held              .l           .l       .k   wo      pc             .u             pr
working           .l           .l       .l   .k      pc             .u             pr
partially_filled  .l           .l       .l   .l      pc             .u             pr
pending_cancel    .l           .l       .l   .l      .k             wo             .p
pending_replace   .l           .l       .l   .l      pc             .u             .k
suspended         .l           .l       .l   wo      pc             .u             pr
done_for_day      .l           .l       .l   wo      pc             .u             pr
filled            .o           .o       .o   .o      .o             .o             .o
canceled          .o           .o       .o   .o      .o             .o             .o
expired           .o           .o       .o   .o      .o             .o             .o
rejected          .o           .o       .o   .o      .o             .o             .o
replaced          .o           .o       .o   .o      .o             .o             .o
"""

_PAUSES: Final = """
                  replace_refused suspended done_for_day unrecognised found_live
created           !.n             !su       !df          !.n          !wo
denied            !.n             !su       !df          !.n          !wo
submitting        .u              su        df           .w           sd
outcome_unknown   .u              su        df           .w           sd
submitted         .u              su        df           .w           .k
accepted          .u              su        df           .w           .k
held              .u              su        df           .w           .k
working           .u              su        df           .w           .k
partially_filled  .u              su        df           .w           .k
pending_cancel    .u              .p        .p           .w           .k
pending_replace   wo              .p        .p           .w           .k
suspended         .u              .k        df           .w           wo
done_for_day      .u              su        .k           .w           .k
filled            .o              .o        .o           .w           !wo
canceled          .o              .o        .o           .w           !wo
expired           .o              .o        .o           .w           !wo
rejected          .o              .o        .o           .w           !wo
replaced          .o              .o        .o           .w           !wo
"""

# What the venue changes without our asking: the terms of a resting order (a corporate action, a
# sibling's execution), or an execution it had told of. A late word about an execution of an order
# that has ended is still true of the execution.
_CHANGES: Final = """
                  restated busted corrected
created           !sd      !.n    !.n
denied            !sd      !.n    !.n
submitting        sd       sd     sd
outcome_unknown   sd       sd     sd
submitted         .t       .x     .x
accepted          .t       .x     .x
held              .t       .x     .x
working           .t       .x     .x
partially_filled  .t       .x     .x
pending_cancel    .t       .x     .x
pending_replace   .t       .x     .x
suspended         .t       .x     .x
done_for_day      .t       .x     .x
filled            .o       .x     .x
canceled          .o       .x     .x
expired           .o       .x     .x
rejected          .o       .x     .x
replaced          .o       .x     .x
"""

# The ends, and the executions' sum. One end contradicted by another is an anomaly; `filled` wins
# over any other end, because shares that moved cannot be unmoved by a word.
_ENDS: Final = """
                  partly_filled filled replaced canceled expired rejected
created           !pf           !fi    !rp      !ca      !ex     !re
denied            !pf           !fi    !rp      !ca      !ex     .k
submitting        pf            fi     rp       ca       ex      re
outcome_unknown   pf            fi     rp       ca       ex      re
submitted         pf            fi     rp       ca       ex      re
accepted          pf            fi     rp       ca       ex      re
held              pf            fi     rp       ca       ex      re
working           pf            fi     rp       ca       ex      re
partially_filled  .k            fi     rp       ca       ex      re
pending_cancel    .p            fi     rp       ca       ex      re
pending_replace   .p            fi     rp       ca       ex      re
suspended         pf            fi     rp       ca       ex      re
done_for_day      pf            fi     rp       ca       ex      re
filled            .o            .k     !.c      !.c      !.c     !.c
canceled          !.c           !fi    !.c      .k       !.c     !.c
expired           !.c           !fi    !.c      !.c      .k      !.c
rejected          !.c           !fi    !.c      !.c      !.c     .k
replaced          !.c           !fi    .k       !.c      !.c     !.c
"""


def _read(grids: tuple[str, ...]) -> dict[tuple[OrderStatus, OrderEvent], Step]:
    table: dict[tuple[OrderStatus, OrderEvent], Step] = {}
    for grid in grids:
        head, *rows = grid.strip("\n").splitlines()
        events = [OrderEvent(name) for name in head.split()]
        for row in rows:
            name, *cells = row.split()
            status = OrderStatus(name)
            for event, cell in zip(events, cells, strict=True):
                assert (status, event) not in table, f"cell {status}, {event} written twice"
                table[status, event] = _step(status, cell)
    assert len(table) == len(OrderStatus) * len(OrderEvent), "the state table has holes"
    return table


def _step(status: OrderStatus, cell: str) -> Step:
    anomaly, code = cell.startswith("!"), cell.lstrip("!")
    if code in _CODES:
        assert _CODES[code] is not status, f"cell of {status} moves to itself"
        return Step(_CODES[code], changed=True, anomaly=anomaly)
    return Step(status, refused=code.startswith("x"), anomaly=anomaly, why=Why(code))


TABLE: Final = MappingProxyType(_read((_ACTS, _PROGRESS, _PAUSES, _CHANGES, _ENDS)))


def apply(status: OrderStatus, event: OrderEvent) -> Step:
    """Return what `event` does to an order in `status`; total, never raises.

    `apply(PENDING_CANCEL, FILLED)` moves to filled: a cancel is only asked for, never had.
    """
    return TABLE[status, event]


def statuses_allowing(act: OrderEvent) -> frozenset[OrderStatus]:
    """Return the statuses in which `act` is not refused."""
    return frozenset(status for status in OrderStatus if not TABLE[status, act].refused)


LIVE_STATUSES: Final = frozenset(
    status for status in OrderStatus if not status.is_terminal and status is not OrderStatus.CREATED
)
"""Statuses in which the venue may hold the order, those included where we do not know."""
