"""Where a list of signals was left, as an opaque word."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import uuid

from libs.common.kernel.errors import InvalidInputError
from services.strategy_engine.ports import Place


def write_cursor(place: Place) -> str:
    """Return the word for `place`."""
    text = f"{place.created_at.isoformat()}|{place.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(word: str) -> Place:
    """Return the place behind a word from `write_cursor`. Raises InvalidInputError."""
    try:
        created_at, _, row_id = base64.urlsafe_b64decode(word.encode()).decode().partition("|")
        place = Place(dt.datetime.fromisoformat(created_at), uuid.UUID(row_id))
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError(f"after: {word!r} is not a cursor of this list") from error
    if place.created_at.tzinfo is None:
        raise InvalidInputError(f"after: {word!r} is not a cursor of this list")
    return place
