"""The generated part of docs/order-lifecycle.md: the order state table as diagram and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from libs.common.domain.order_meanings import EVENT_MEANINGS, STATUS_MEANINGS, WHY_MEANINGS
from libs.common.domain.orders import OUR_ACTS, TABLE, OrderEvent, Step, Why
from libs.common.domain.vocabulary import OrderStatus

S, E = OrderStatus, OrderEvent
K = TypeVar("K", bound=StrEnum)

# Boxes of the diagram: one arrow leaves a box where the same event leads all in it to one place.
BOXES: Final = {
    "asked": ("a change was asked for", (S.PENDING_CANCEL, S.PENDING_REPLACE)),
    "paused": ("paused", (S.SUSPENDED, S.DONE_FOR_DAY)),
    "resting": (
        "at the venue",
        (S.SUBMITTED, S.ACCEPTED, S.HELD, S.WORKING, S.PARTIALLY_FILLED),
    ),
    "sending": ("being sent", (S.SUBMITTING, S.OUTCOME_UNKNOWN)),
}
LIVE: Final = tuple(status for _, members in BOXES.values() for status in members)
SECTIONS: Final = (
    ("Our acts", (E.DENY, E.SEND, E.LOSE_OUTCOME, E.RESEND, E.GIVE_UP, E.ASK_CANCEL,
                  E.ASK_REPLACE)),
    ("The venue: the way forward", (E.ACKNOWLEDGED, E.ACCEPTED, E.HELD, E.WORKING,
                                    E.PARTLY_FILLED)),
    ("The venue: cancel and replace", (E.PENDING_CANCEL, E.CANCEL_REFUSED, E.PENDING_REPLACE,
                                       E.REPLACE_REFUSED, E.REPLACED)),
    ("The venue: pauses and surprises", (E.SUSPENDED, E.DONE_FOR_DAY, E.UNRECOGNISED,
                                         E.FOUND_LIVE)),
    ("The venue: what it changes by itself", (E.RESTATED, E.BUSTED, E.CORRECTED)),
    ("The venue: ends", (E.FILLED, E.CANCELED, E.EXPIRED, E.REJECTED)),
)  # fmt: skip


def lifecycle() -> str:
    """Return the diagram, the meanings and every cell of the state table as Markdown."""
    return "\n\n".join((_diagram(), _meanings(), _reasons(), *_cells()))


def _diagram() -> str:
    lines = ["## Diagram", "", "```mermaid", "flowchart LR", f"  {S.CREATED}"]
    lines.append('  subgraph live["the venue may hold it"]')
    for box, (title, members) in reversed(BOXES.items()):
        lines.append(f'    subgraph {box}["{title}"]')
        lines += [f"      {status}" for status in members]
        lines.append("    end")
    lines.append("  end")
    lines += [f"  {status}([{status}])" for status in S if status.is_terminal]
    lines += [
        f'  {source} -- "{", ".join(events)}" --> {target}'
        for (source, target), events in _arrows().items()
    ]
    return "\n".join([*lines, "```"])


def _arrows() -> dict[tuple[str, str], list[str]]:
    """Return (source, target) -> events for every move that is no anomaly, boxes drawn together."""
    arrows: dict[tuple[str, str], list[str]] = {}
    boxes = [("live", LIVE), *((box, members) for box, (_, members) in BOXES.items())]
    for event in E:
        moves = {
            status: TABLE[status, event].status
            for status in S
            if TABLE[status, event].changed and not TABLE[status, event].anomaly
        }
        for box, members in boxes:
            targets = {moves.get(status) for status in members}
            target = next(iter(targets))
            if len(targets) == 1 and target is not None and target not in members:
                arrows.setdefault((box, target), []).append(event)
                moves = {source: to for source, to in moves.items() if source not in members}
        for source, target in moves.items():
            arrows.setdefault((source, target), []).append(event)
    return arrows


def _meanings() -> str:
    acts = {event: EVENT_MEANINGS[event] for event in E if event in OUR_ACTS}
    words = {event: EVENT_MEANINGS[event] for event in E if event not in OUR_ACTS}
    return "\n\n".join(
        (
            _list("Statuses", "status", STATUS_MEANINGS),
            _list("Events: our acts", "event", acts),
            _list("Events: the venue's words", "event", words),
        )
    )


def _reasons() -> str:
    lines = ["## Why an order does not move", "", "| cell | why |", "|---|---|"]
    lines += [f"| {_reason(why)} | {WHY_MEANINGS[why]} |" for why in Why]
    return "\n".join(lines)


def _cells() -> Iterable[str]:
    for title, events in SECTIONS:
        lines = [f"## {title}", "", _row("status", (f"`{event}`" for event in events))]
        lines.append("|---" * (len(events) + 1) + "|")
        lines += [
            _row(f"`{status}`", (_cell(TABLE[status, event]) for event in events)) for status in S
        ]
        yield "\n".join(lines)


def _cell(step: Step) -> str:
    text = f"→ **{step.status}**" if step.why is None else _reason(step.why)
    return f"⚠ {text}" if step.anomaly else text


def _reason(why: Why) -> str:
    kind = "refused" if why.value.startswith("x") else "ignored"
    return f"{kind} ({why.name.lower().replace('_', ' ')})"


def _list(title: str, head: str, meanings: Mapping[K, str]) -> str:
    lines = [f"## {title}", "", f"| {head} | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{word}` | {text} |" for word, text in meanings.items())])


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
