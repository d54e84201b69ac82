"""The order state table: every (status, event) cell is decided here, once.

Read a row as "an order that stands so", a column as "this happened". A cell is

- a two-letter status: the order moves there;
- `.`  nothing changes: the event is late, repeated, or says what we know already;
- `x`  refused: one of *our* acts that makes no sense in this status (a caller's mistake);
- a leading `!`  an anomaly: the venue and we disagree about the past. The move (or `.`) is still
  made, because the venue is right about what happened, but the order is flagged, its symbol takes
  no new risk and somebody is told.

Streams reorder and repeat, so progress never runs backward: `working` after `pending_cancel` is a
late message, not news. What leads back is named: a refused cancel or replace, an order resumed
after `suspended` or `done_for_day`, and `found_live`, a look-up that was asked twice and saw the
order open at the venue.

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


@dataclass(frozen=True, slots=True)
class Step:
    """What an event does to an order: where it stands then, and what is to be thought of it.

    `refused` means the act is not allowed and `status` is the old one; `anomaly` means flag the
    order, whether it moved or not.
    """

    status: OrderStatus
    changed: bool = False
    refused: bool = False
    anomaly: bool = False


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
created           de   sg   x            x      x       ca         x
denied            .    x    x            x      x       x          x
submitting        de   x    un           x      x       x          x
outcome_unknown   x    x    .            sg     de      x          x
submitted         x    x    .            x      x       pc         x
accepted          x    x    .            x      x       pc         x
held              x    x    .            x      x       pc         pr
working           x    x    .            x      x       pc         pr
partially_filled  x    x    .            x      x       pc         pr
pending_cancel    x    x    .            x      x       .          x
pending_replace   x    x    .            x      x       pc         x
suspended         x    x    .            x      x       pc         x
done_for_day      x    x    .            x      x       pc         pr
filled            x    x    .            x      x       x          x
canceled          x    x    .            x      x       x          x
expired           x    x    .            x      x       x          x
rejected          x    x    .            x      x       x          x
replaced          x    x    .            x      x       x          x
"""

# The venue before an end: the way forward. A venue that speaks of an order we never sent
# (`created`) or refused ourselves (`denied`) is an anomaly whatever it says.
_PROGRESS: Final = """
                  acknowledged accepted held working pending_cancel cancel_refused pending_replace
created           !sd          !ac      !he  !wo     !pc            !.             !pr
denied            !sd          !ac      !he  !wo     !pc            !.             !pr
submitting        sd           ac       he   wo      pc             .              pr
outcome_unknown   sd           ac       he   wo      pc             .              pr
submitted         .            ac       he   wo      pc             .              pr
accepted          .            .        he   wo      pc             .              pr
held              .            .        .    wo      pc             .              pr
working           .            .        .    .       pc             .              pr
partially_filled  .            .        .    .       pc             .              pr
pending_cancel    .            .        .    .       .              wo             .
pending_replace   .            .        .    .       pc             .              .
suspended         .            .        .    wo      pc             .              pr
done_for_day      .            .        .    wo      pc             .              pr
filled            .            .        .    .       .              .              .
canceled          .            .        .    .       .              .              .
expired           .            .        .    .       .              .              .
rejected          .            .        .    .       .              .              .
replaced          .            .        .    .       .              .              .
"""

_PAUSES: Final = """
                  replace_refused suspended done_for_day unrecognised found_live
created           !.              !su       !df          !.           !wo
denied            !.              !su       !df          !.           !wo
submitting        .               su        df           .            sd
outcome_unknown   .               su        df           .            sd
submitted         .               su        df           .            .
accepted          .               su        df           .            .
held              .               su        df           .            .
working           .               su        df           .            .
partially_filled  .               su        df           .            .
pending_cancel    .               .         .            .            .
pending_replace   wo              .         .            .            .
suspended         .               .         df           .            wo
done_for_day      .               su        .            .            .
filled            .               .         .            .            !wo
canceled          .               .         .            .            !wo
expired           .               .         .            .            !wo
rejected          .               .         .            .            !wo
replaced          .               .         .            .            !wo
"""

# The ends, and the executions' sum. One end contradicted by another is an anomaly; `filled` wins
# over any other end, because shares that moved cannot be unmoved by a word.
_ENDS: Final = """
                  partly_filled filled replaced canceled expired rejected
created           !pf           !fi    !rp      !ca      !ex     !re
denied            !pf           !fi    !rp      !ca      !ex     .
submitting        pf            fi     rp       ca       ex      re
outcome_unknown   pf            fi     rp       ca       ex      re
submitted         pf            fi     rp       ca       ex      re
accepted          pf            fi     rp       ca       ex      re
held              pf            fi     rp       ca       ex      re
working           pf            fi     rp       ca       ex      re
partially_filled  .             fi     rp       ca       ex      re
pending_cancel    .             fi     rp       ca       ex      re
pending_replace   .             fi     rp       ca       ex      re
suspended         pf            fi     rp       ca       ex      re
done_for_day      pf            fi     rp       ca       ex      re
filled            .             .      !.       !.       !.      !.
canceled          !.            !fi    !.       .        !.      !.
expired           !.            !fi    !.       !.       .       !.
rejected          !.            !fi    !.       !.       !.      .
replaced          !.            !fi    .        !.       !.      !.
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
    if code == "x":
        return Step(status, refused=True)
    if code == ".":
        return Step(status, anomaly=anomaly)
    return Step(_CODES[code], changed=_CODES[code] is not status, anomaly=anomaly)


TABLE: Final = MappingProxyType(_read((_ACTS, _PROGRESS, _PAUSES, _ENDS)))


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
