"""Taking down the wire: whose message it is, how much is kept, what happens without room."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

import pytest

from libs.common.kernel.errors import UnavailableError
from services.trade_executor.wire_log import TEXT_MAX, WireLog, WireMessage, WireRow, row_of

ORDER = uuid.UUID("01890000-0000-7000-8000-000000000001")
CLIENT = f"tw-{ORDER}-2"
AT = 1_600_000_000_000_000_000


class Shelf:
    """A store in memory that can be away."""

    def __init__(self) -> None:
        self.rows: list[WireRow] = []
        self.away = False

    async def keep(self, rows: Sequence[WireRow]) -> None:
        if self.away:
            raise UnavailableError("away")
        self.rows.extend(rows)


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("message", "order_id", "broker_id"),
    [
        (WireMessage(AT, "POST", "/v2/orders", 200, body(client_order_id=CLIENT, qty=1),
                     body(id="b-1", client_order_id=CLIENT)), ORDER, "b-1"),
        (WireMessage(AT, "POST", "/v2/orders", sent=body(client_order_id=CLIENT), error="reset"),
         ORDER, None),
        (WireMessage(AT, "DELETE", "/v2/orders/b-1", 204, None, b""), None, "b-1"),
        (WireMessage(AT, "GET", "/v2/orders/b-1?nested=true", 404, None, body(code=1)),
         None, "b-1"),
        (WireMessage(AT, "GET", f"/v2/orders:by_client_order_id?client_order_id={CLIENT}", 404,
                     None, body(message="not found")), ORDER, None),
        (WireMessage(AT, received=body(stream="trade_updates", data={
            "event": "fill", "order": {"id": "b-1", "client_order_id": CLIENT}})), ORDER, "b-1"),
        (WireMessage(AT, received=body(data={"order": {"id": "b-2", "client_order_id": "mine"}})),
         None, "b-2"),
        (WireMessage(AT, received=b"<html>"), None, None),
        (WireMessage(AT, received=b"[1]"), None, None),
        (WireMessage(AT, received=body(data={"order": {"id": 7}})), None, None),
    ],
)  # fmt: skip
def test_a_message_is_its_orders(
    message: WireMessage, order_id: uuid.UUID | None, broker_id: str | None
) -> None:
    row = row_of(message)
    assert (row.order_id, row.broker_order_id) == (order_id, broker_id)


def test_bodies_are_kept_word_for_word_and_cut() -> None:
    row = row_of(WireMessage(AT, received='{"ü": 1}'.encode(), sent=b"a\x00\xff"))
    assert (row.received, row.sent) == ('{"ü": 1}', "a\\0\ufffd")
    long = row_of(WireMessage(AT, received=b"x" * 10_000_000))
    assert long.received == "x" * TEXT_MAX


async def test_what_could_not_be_written_is_written_later_in_order() -> None:
    shelf = Shelf()
    log = WireLog(shelf, messages_max=1000)
    shelf.away = True
    for status in range(700):
        log.note(WireMessage(AT, status=status))
    with pytest.raises(UnavailableError):
        await log.flush()
    assert log.waiting == 700
    shelf.away = False
    await log.flush()
    assert [row.status for row in shelf.rows] == list(range(700))
    assert log.waiting == 0


async def test_without_room_the_newest_is_given_up() -> None:
    shelf = Shelf()
    log = WireLog(shelf, messages_max=3)
    for status in range(5):
        log.note(WireMessage(AT, status=status))
    await log.flush()
    assert [row.status for row in shelf.rows] == [0, 1, 2]
