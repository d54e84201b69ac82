"""What callers were told is held against the orders that came of it."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.chaos.callers import Tale
from tests.chaos.verdict import told_otherwise

ID = uuid.UUID(int=7)
BODY = {"symbol": "KO", "side": "buy", "quantity": "1"}


def booked(connection: psycopg.Connection, status: str, symbol: str = "KO") -> None:
    connection.execute(
        "INSERT INTO orders (id, client_order_id, broker, account_id, symbol, side, order_type, "
        "order_class, quantity, time_in_force, status, correlation_id, idempotency_key) VALUES "
        "(%s, 'tw-7-1', 'sim', 'main', %s, 'buy', 'market', 'simple', 1, 'day', %s, %s, 'key')",
        (ID, symbol, status, ID),
    )


def told(*answers: tuple[int, str]) -> Tale:
    return Tale("key", BODY, [(code, {"id": str(ID), "status": word}) for code, word in answers])


@pytest.mark.parametrize(
    ("ended", "tale"),
    [
        ("filled", told((201, "filled"))),
        ("filled", told((503, ""), (504, ""), (201, "working"))),
        ("filled", told((201, "canceled"))),
        ("canceled", told((201, "working"))),
        ("denied", told((201, "denied"), (201, "denied"))),
        ("denied", told((201, "created"))),
        ("filled", told()),
    ],
)
def test_an_order_that_went_on_from_what_was_told_is_fine(
    database_url: str, ended: str, tale: Tale
) -> None:
    with psycopg.connect(database_url) as connection:
        booked(connection, ended)
        assert told_otherwise(connection, [tale]) == []


@pytest.mark.parametrize(
    ("ended", "tale", "words"),
    [
        ("filled", told((201, "denied")), "was told denied, it ended filled"),
        ("denied", told((201, "working")), "was told working, it ended denied"),
        ("canceled", told((201, "filled")), "was told filled, it ended canceled"),
        ("rejected", told((201, "expired")), "was told expired, it ended rejected"),
        ("filled", told((409, "")), "was answered [409]"),
        (
            "filled",
            Tale("key", BODY, [(201, {"id": "another", "status": "filled"})]),
            "was told order another",
        ),
    ],
)
def test_an_answer_that_was_not_kept_is_found(
    database_url: str, ended: str, tale: Tale, words: str
) -> None:
    with psycopg.connect(database_url) as connection:
        booked(connection, ended)
        (found,) = told_otherwise(connection, [tale])
    assert words in found


def test_a_key_without_an_order_and_one_with_another_wish_are_found(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        (lost,) = told_otherwise(connection, [told((503, ""))])
        booked(connection, "filled", symbol="PEP")
        (other,) = told_otherwise(connection, [told((201, "filled"))])
    assert "became 0 orders" in lost
    assert "got buy PEP" in other
