"""Object faults: fields too many, fields missing, words nobody knows, values of a wrong type."""

from __future__ import annotations

from typing import Any, Final

from services.broker_simulator.faults import Faults, Kind

# By object: the word that `event` filters, what is missing, and which word becomes unknown.
_WORD: Final = {
    "order": "status",
    "activity": "activity_type",
    "position": "symbol",
    "account": "status",
    "update": "event",
}
_MISSING: Final = {
    "order": "filled_avg_price",
    "activity": "qty",
    "position": "avg_entry_price",
    "account": "cash",
    "update": "timestamp",
}
_UNKNOWN: Final = {
    "order": ("status", "pending_quantum"),
    "activity": ("activity_type", "QUANTUM"),
    "position": ("side", "sideways"),
    "account": ("status", "QUANTUM"),
    "update": ("event", "quantum_leap"),
}


class Alterations:
    """Lets object faults strike a body on its way out."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def alter(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of an order, activity, position, account or update, perhaps changed."""
        if not self._faults.active:
            return body
        word = str(body.get(_WORD[what]))
        struck = self._faults.on_object
        if struck(Kind.UNKNOWN_FIELD, what, word):
            body = {**body, "surprise": {"nested": [1, 2, 3]}}
        if struck(Kind.UNKNOWN_STATUS, what, word):
            name, value = _UNKNOWN[what]
            body = {**body, name: value}
        missing = struck(Kind.MISSING_FIELD, what, word)
        if missing is not None:
            gone = missing.field or _MISSING[what]
            body = {name: value for name, value in body.items() if name != gone}
        wrong = struck(Kind.WRONG_FIELD, what, word)
        if wrong is not None and wrong.field is not None:
            body = {**body, wrong.field: wrong.value}
        return body
