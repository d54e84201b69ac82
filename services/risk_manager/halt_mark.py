"""A halt that somebody ordered while the database could not be reached: a mark in a file.

`tradewind halt --direct` leaves it (infra/halt); here it becomes the kill switch, before the first
judgement of a start and within a second or so afterwards. It is never removed: what a person sets
later than it, a resume above all, stands over it.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.errors import InvalidInputError
from services.risk_manager.controls import ensure_switch, set_state
from services.risk_manager.handlers import Office


class HaltMark(msgspec.Struct, frozen=True):
    """Who ordered it, why and when."""

    reason: str
    set_by: str
    set_at: dt.datetime
    account_id: str
    flatten: bool = False


def read_mark(path: Path) -> HaltMark | None:
    """Return the mark, None if there is none. Raises InvalidInputError for what is no mark:
    somebody meant to halt, so nothing is judged until a person has looked."""
    try:
        mark = msgspec.json.decode(path.read_bytes(), type=HaltMark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInputError(f"{path}: cannot be read as the mark of a halt: {error}") from error
    if mark.set_at.tzinfo is None:
        raise InvalidInputError(f"{path}: set_at has no time zone")
    return mark


async def honour_mark(office: Office) -> None:
    """Halt if a mark is newer than the kill switch as it stands."""
    path = office.settings.risk_halt_mark
    mark = None if path is None else read_mark(path)
    if mark is None or mark.account_id != office.desk.account_id:
        return
    if office.desk.switch.set_at >= mark.set_at:
        return  # in memory is never newer than what is stored
    stored = await office.registry.switch()
    if stored is not None and stored.set_at >= mark.set_at:
        return
    await ensure_switch(office)
    await set_state(
        office,
        TradingState.HALTED,
        reason=mark.reason,
        actor=mark.set_by,
        code="HALT_DIRECT",
        flatten=mark.flatten,
    )
