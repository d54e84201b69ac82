"""How `executor_write` shows a row of `orders`, and how the tables refuse one."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import IntegrityError

from libs.common.kernel.money import plain


def standing(row: dict[str, Any]) -> dict[str, Any]:
    """Return an order as the answers carry it."""

    def text(value: Any) -> str | None:
        return None if value is None else str(value)

    return {
        "id": str(row["id"]), "status": row["status"],
        "filled_quantity": plain(row["filled_quantity"]),
        "filled_value": plain(row["filled_value"]), "event_seq": row["event_seq"],
        "hold_id": text(row["hold_id"]),
        "hold_amount": None if row["hold_amount"] is None else plain(row["hold_amount"]),
        "anomaly": row["anomaly"], "broker_order_id": row["broker_order_id"],
        "attempt": row["attempt"], "client_order_id": row["client_order_id"],
    }  # fmt: skip


def refused(why: str) -> IntegrityError:
    """Return the error of a constraint."""
    return IntegrityError("executor_write", {}, Exception(why))
