"""The check at the end of a chaos session sees what it is there to see."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.tie_out import LOOSE_ENDS, loose_ends

ORDER = (
    "INSERT INTO orders (id, client_order_id, broker, account_id, symbol, side, order_type, "
    "order_class, quantity, time_in_force, status, correlation_id, external, signal_id) "
    "VALUES (%(id)s, %(id)s::text, 'sim', 'main', 'KO', 'buy', 'market', 'simple', 1, 'day', "
    "%(status)s, %(id)s, %(external)s, %(signal)s)"
)
ACCOUNT = (
    "INSERT INTO ledger_accounts (id, owner, ledger, code, debits_pending, debits_posted) "
    "VALUES (%s, %s, 'USD', 'cash', %s, %s)"
)


def order(
    connection: psycopg.Connection,
    status: str = "filled",
    external: bool = False,
    signal: uuid.UUID | None = None,
) -> None:
    values = {"id": uuid.uuid4(), "status": status, "external": external, "signal": signal}
    connection.execute(ORDER, values)


def open_order(connection: psycopg.Connection) -> None:
    order(connection, status="working")


def two_orders_of_a_signal(connection: psycopg.Connection) -> None:
    signal = uuid.uuid4()
    order(connection, signal=signal)
    order(connection, signal=signal)


def order_of_a_stranger(connection: psycopg.Connection) -> None:
    order(connection, external=True)


def hold_that_stays(connection: psycopg.Connection) -> None:
    cash, market = uuid.uuid4(), uuid.uuid4()
    connection.execute(ACCOUNT, (cash, "main", 0, 0))
    connection.execute(ACCOUNT, (market, "market", 0, 0))
    connection.execute(
        "INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount, kind, "
        "code, correlation_id) VALUES (%s, %s, %s, 'USD', 5, 'pending', 'hold', %s)",
        (uuid.uuid4(), cash, market, uuid.uuid4()),
    )


def pending_balance(connection: psycopg.Connection) -> None:
    connection.execute(ACCOUNT, (uuid.uuid4(), "main", 5, 0))


def balance_from_nowhere(connection: psycopg.Connection) -> None:
    connection.execute(ACCOUNT, (uuid.uuid4(), "main", 0, 5))


def signal_unjudged(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO strategies (id, class_name, version_hash, params, universe, timeframe, mode) "
        "VALUES ('s', 'S', 'v', '{}', '[]', '1m', 'live')"
    )
    connection.execute(
        "INSERT INTO signals (id, strategy_id, symbol, timeframe, bar_ts, ts, target, confidence, "
        "reference_price, mode, features, correlation_id, created_at) VALUES (%s, 's', 'KO', '1m', "
        "now(), now(), 1, 1, 10, 'live', '{}', %s, now() - interval '1 minute')",
        (uuid.uuid4(), uuid.uuid4()),
    )


def approval_without_order(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO risk_assessments (id, signal_id, order_id, account_id, symbol, side, verdict, "
        "quantity, checks, generation, latency_us, correlation_id) "
        "VALUES (%s, %s, %s, 'main', 'KO', 'buy', 'approved', 1, '[]', 0, 1, %s)",
        [uuid.uuid4() for _ in range(4)],
    )


def discrepancy(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO discrepancies (id, account_id, symbol, kind, ours, theirs) "
        "VALUES (%s, 'main', 'KO', 'position', '1', '2')",
        (uuid.uuid4(),),
    )


def undelivered(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO outbox (id, source, channel, stream, message, created_at) VALUES "
        "(%s, 'risk_manager', 'commands', 'log:commands', '', now() - interval '1 minute')",
        (uuid.uuid4(),),
    )


def given_up(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO alerts (id, level, source, fingerprint, title, message, state) VALUES "
        "(%s, 'error', 'audit', 'f', 'audit gave up on a message of log:signals', 'x', 'firing')",
        (uuid.uuid4(),),
    )


PLANTED = {
    "order not ended": open_order,
    "hold that nothing resolved": hold_that_stays,
    "pending balance without a hold": pending_balance,
    "balance that is not the sum of its transfers": balance_from_nowhere,
    "signal that nobody judged": signal_unjudged,
    "approval that became no order": approval_without_order,
    "signal with several orders": two_orders_of_a_signal,
    "order of a stranger": order_of_a_stranger,
    "discrepancy": discrepancy,
    "message not delivered": undelivered,
    "message given up": given_up,
}

ALSO = {"hold that nothing resolved": {"pending balance without a hold"}}


def test_every_check_has_a_plant() -> None:
    assert PLANTED.keys() == LOOSE_ENDS.keys()


@pytest.mark.parametrize("what", sorted(PLANTED))
def test_a_planted_fault_is_found_and_nothing_else(database_url: str, what: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert loose_ends(connection) == []
        PLANTED[what](connection)
        found = loose_ends(connection)
    assert {line.partition(" (")[0] for line in found} == {what} | ALSO.get(what, set())
