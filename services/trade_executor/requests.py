"""What a caller asked for, in one form: so that a key used again can be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from libs.common.kernel.errors import ConflictError
from libs.common.kernel.money import plain

Request = Mapping[str, Any]


def request_of(act: str, fields: BaseModel, **more: Any) -> dict[str, Any]:
    """Return the request as it is stored: what was left out is left out, a default counts as
    given, decimals are plain (`10` and `10.00` are the same wish)."""
    given = _plainly({"act": act, **more, **fields.model_dump(exclude_none=True)})
    assert isinstance(given, dict)
    return given


def differences(before: Request, now: Request) -> list[str]:
    """Return the names of the fields in which two requests differ, `take_profit.limit_price`
    for one inside another."""
    names: list[str] = []
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names += [f"{name}.{inner}" for inner in differences(one, other)]
        elif one != other:
            names.append(name)
    return names


def require_same(key: str, before: Request | None, now: Request, what: object) -> None:
    """Raise ConflictError naming the difference if `key` stood for another request before.

    Orders older than the record of requests have none; they are taken for the same.
    """
    if before is None:
        return
    changed = differences(before, now)
    if changed:
        raise ConflictError(
            f"Idempotency-Key {key!r} was used for another request, {what}: "
            f"different in {', '.join(changed)}"
        )


def _plainly(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plainly(inner) for name, inner in value.items()}
    if isinstance(value, Decimal):
        return plain(value)
    return value if isinstance(value, bool | int) else str(value)
