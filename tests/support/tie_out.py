"""Our books against the broker's truth, to the cent and to the share."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import psycopg

from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from tests.support.system import System

Rows = list[tuple[Any, ...]]


def database_url(system: System) -> str:
    """Return the superuser's URL of the system's database."""
    state = system.state()
    password = Credentials(Home(system.home, state["books"])).secret("postgres")
    return f"postgresql://postgres:{password}@127.0.0.1:{state['ports']['postgres']}/tradewind"


def truth(system: System) -> dict[str, Any]:
    """Return what the simulated broker says really happened on the account."""
    accounts = system.get("/sim/ledger", service="broker_simulator")["accounts"]
    assert len(accounts) == 1
    found: dict[str, Any] = accounts[0]
    return found


def differences(system: System) -> list[str]:
    """Return every way in which our books differ from the broker's; none is what we want.

    Compared: executions as a multiset of (id, symbol, side, quantity, price), positions, cash,
    and that each broker order is one of ours exactly once. Inside our own books: the ledger's
    debits equal its credits, positions equal the instrument balances, every order was judged.
    """
    broker = truth(system)
    with psycopg.connect(database_url(system)) as connection:
        return [*against_broker(connection, broker), *_judgements(connection)]


def against_broker(connection: psycopg.Connection, broker: dict[str, Any]) -> list[str]:
    """Return every way in which our tables differ from one account of `/sim/ledger`."""
    return [
        *_executions(connection, broker),
        *_positions(connection, broker),
        *_cash(connection, broker),
        *_orders(connection, broker),
        *_ledger(connection),
    ]


def _executions(connection: psycopg.Connection, broker: dict[str, Any]) -> list[str]:
    theirs = Counter(
        (
            x["execution_id"],
            x["symbol"],
            x["side"],
            Decimal(x["qty"]).normalize(),
            Decimal(x["price"]).normalize(),
        )
        for x in broker["executions"]
    )
    rows = connection.execute(
        "SELECT execution_id, symbol, side, quantity, executed_price FROM trades"
    ).fetchall()
    ours = Counter((i, s, d, q.normalize(), p.normalize()) for i, s, d, q, p in rows)
    return [f"execution at the broker only: {x}" for x in (theirs - ours)] + [
        f"execution in our books only, or doubled: {x}" for x in (ours - theirs)
    ]


def _positions(connection: psycopg.Connection, broker: dict[str, Any]) -> list[str]:
    theirs = {p["symbol"]: Decimal(p["qty"]) for p in broker["positions"] if Decimal(p["qty"])}
    ours = dict(
        connection.execute(
            "SELECT symbol, quantity FROM portfolio_positions WHERE quantity <> 0"
        ).fetchall()
    )
    return [
        f"position {symbol}: ours {ours.get(symbol, 0)}, broker {theirs.get(symbol, 0)}"
        for symbol in sorted(ours.keys() | theirs.keys())
        if ours.get(symbol, Decimal(0)) != theirs.get(symbol, Decimal(0))
    ]


def _cash(connection: psycopg.Connection, broker: dict[str, Any]) -> list[str]:
    row = connection.execute(
        "SELECT sum(credits_posted - debits_posted) FROM ledger_accounts "
        "WHERE ledger = 'USD' AND code = 'cash'"
    ).fetchone()
    assert row is not None
    ours, theirs = Decimal(row[0] or 0), Decimal(broker["cash"])
    return [] if ours == theirs else [f"cash: ours {ours}, broker {theirs}"]


def _orders(connection: psycopg.Connection, broker: dict[str, Any]) -> list[str]:
    """Each of the broker's orders is known to us with what it filled, and none was sent twice."""
    ours = {
        row[0]: row
        for row in connection.execute(
            "SELECT broker_order_id, client_order_id, filled_quantity FROM orders "
            "WHERE broker_order_id IS NOT NULL"
        )
    }
    found = []
    for order in broker["orders"]:
        row = ours.get(order["id"])
        if row is None:
            found.append(f"broker order {order['client_order_id']} is unknown to us")
        elif row[2] != Decimal(order["filled_qty"]):
            found.append(f"order {row[1]}: filled ours {row[2]}, broker {order['filled_qty']}")
    attempts = Counter(
        order["client_order_id"].rpartition("-")[0]
        for order in broker["orders"]
        if order["client_order_id"].startswith("tw-")
    )
    return found + [f"order {name} was sent {n} times" for name, n in attempts.items() if n > 1]


def _ledger(connection: psycopg.Connection) -> list[str]:
    unbalanced: Rows = connection.execute(
        "SELECT ledger, sum(debits_posted), sum(credits_posted) FROM ledger_accounts "
        "GROUP BY ledger HAVING sum(debits_posted) <> sum(credits_posted) "
        "OR sum(debits_pending) <> sum(credits_pending)"
    ).fetchall()
    apart: Rows = connection.execute(
        "SELECT p.symbol, p.quantity, coalesce(sum(a.credits_posted - a.debits_posted), 0) "
        "FROM portfolio_positions p LEFT JOIN ledger_accounts a "
        "ON a.ledger = p.symbol AND a.owner = p.account_id AND a.code = 'position' "
        "GROUP BY p.symbol, p.quantity "
        "HAVING p.quantity <> coalesce(sum(a.credits_posted - a.debits_posted), 0)"
    ).fetchall()
    return [f"ledger {row[0]}: debits {row[1]}, credits {row[2]}" for row in unbalanced] + [
        f"position {row[0]} is {row[1]}, its instrument balance {row[2]}" for row in apart
    ]


def _judgements(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT o.id FROM orders o LEFT JOIN risk_assessments r "
        "ON r.id = o.risk_assessment_id AND r.verdict = 'approved' "
        "WHERE NOT o.external AND o.parent_id IS NULL AND o.broker_order_id IS NOT NULL "
        "AND r.id IS NULL"
    ).fetchall()
    return [f"order {row[0]} was sent without an approval" for row in rows]


def loose_ends(connection: psycopg.Connection) -> list[str]:
    """Return what a system at rest, with no order open and everything delivered, must not have.

    Holds without an open order, balances that are not the sum of their transfers, signals judged
    by nobody, approvals that became no order, signals with two orders, orders of strangers,
    discrepancies, messages that were not delivered or were given up. What strategies and
    portfolio said in the last fifteen seconds may still be on its way.
    """
    found = []
    for what, query in LOOSE_ENDS.items():
        rows: Rows = connection.execute(query).fetchall()
        if rows:
            shown = ", ".join(" ".join(map(str, row)) for row in rows[:5])
            found.append(f"{what} ({len(rows)}): {shown}")
    return found


LOOSE_ENDS = {
    "order not ended": (
        "SELECT id, symbol, status FROM orders WHERE status NOT IN "
        "('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"
    ),
    "hold that nothing resolved": (
        "SELECT p.id, p.ledger, p.amount, p.order_id FROM ledger_transfers p "
        "LEFT JOIN ledger_transfers r ON r.pending_id = p.id "
        "WHERE p.kind = 'pending' AND r.id IS NULL"
    ),
    "pending balance without a hold": (
        "SELECT owner, ledger, code, debits_pending, credits_pending FROM ledger_accounts "
        "WHERE debits_pending <> 0 OR credits_pending <> 0"
    ),
    "balance that is not the sum of its transfers": (
        "SELECT a.owner, a.ledger, a.code, a.debits_posted, d.sum, a.credits_posted, c.sum "
        "FROM ledger_accounts a, LATERAL (SELECT coalesce(sum(amount), 0) FROM ledger_transfers "
        "WHERE debit_account = a.id AND kind IN ('direct', 'post')) d(sum), "
        "LATERAL (SELECT coalesce(sum(amount), 0) FROM ledger_transfers "
        "WHERE credit_account = a.id AND kind IN ('direct', 'post')) c(sum) "
        "WHERE a.debits_posted <> d.sum OR a.credits_posted <> c.sum"
    ),
    "signal that nobody judged": (
        "SELECT s.id, s.strategy_id, s.symbol, s.created_at FROM signals s "
        "LEFT JOIN risk_assessments r ON r.signal_id = s.id "
        "WHERE s.mode = 'live' AND r.id IS NULL AND s.created_at < now() - interval '15 seconds'"
    ),
    "approval that became no order": (
        "SELECT r.id, r.symbol, r.source, r.ts FROM risk_assessments r "
        "LEFT JOIN orders o ON o.id = r.order_id WHERE r.verdict = 'approved' AND o.id IS NULL"
    ),
    "signal with several orders": (
        "SELECT signal_id, count(*) FROM orders WHERE signal_id IS NOT NULL AND parent_id IS NULL "
        "AND replaces_id IS NULL GROUP BY signal_id HAVING count(*) > 1"
    ),
    "order of a stranger": "SELECT id, client_order_id, symbol FROM orders WHERE external",
    "discrepancy": (
        "SELECT symbol, kind, ours, theirs, detail FROM discrepancies WHERE resolved_at IS NULL"
    ),
    "message not delivered": (
        "SELECT source, channel, count(*) FROM outbox "
        "WHERE confirmed_at IS NULL AND created_at < now() - interval '15 seconds' "
        "GROUP BY source, channel"
    ),
    "message given up": (
        "SELECT source, title, message FROM alerts WHERE title LIKE '%gave up on a message%'"
    ),
}
