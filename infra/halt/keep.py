"""Keeping trade halted: the row, or a mark for the next start."""

from __future__ import annotations

import psycopg

from infra.halt import switch
from infra.halt.place import Place


def keep_halted(place: Place, reason: str, *, flatten: bool) -> tuple[bool, str]:
    """Set the kill switch, or leave a mark; return whether what comes back will not trade, and
    in words how it stands."""
    given = switch.order(reason, place.account_id, flatten=flatten)
    why = "its address is not known"
    if place.database_url is not None:
        try:
            generation = switch.set_row(place.database_url, given)
        except psycopg.Error as error:
            why = str(error).strip().splitlines()[0]
        else:
            return True, f"the kill switch is set: halted, generation {generation}"
    told = []
    try:
        if place.mark is not None:
            path = switch.leave_mark(place.mark, given, shared=True)
            told.append(
                f"a risk manager of Compose sets it from the mark {path}, now or as it starts"
            )
        if place.home is not None:
            path = switch.leave_mark(switch.mark_file(place.home), given)
            told.append(f"the next `make run` sets it before it starts a service, from {path}")
    except OSError as error:
        return False, f"THE KILL SWITCH IS NOT SET: {why}; no mark could be left: {error}"
    if not told:
        return False, f"THE KILL SWITCH IS NOT SET, the database cannot be reached: {why}"
    return True, (
        f"the database cannot be reached ({why}): THE KILL SWITCH IS NOT SET; " + "; ".join(told)
    )
