"""Nothing lost, doubled or mispriced: one check of everything that must hold after any fault.

The broker's truth (`/sim/ledger`) and the approvals that were given on one side, every table of
the executor on the other, to the last digit.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row

from libs.common.contracts.messages import ApprovedOrder
from tests.support.tie_out import LOOSE_ENDS, against_broker

ENDED = frozenset({"denied", "filled", "canceled", "expired", "rejected", "replaced"})
IN_FLIGHT = frozenset({"created", "submitting", "outcome_unknown"})
_SUMS = "balance that is not the sum of its transfers"

Row = dict[str, Any]
Approvals = Mapping[uuid.UUID, ApprovedOrder]


@dataclass(frozen=True)
class Expected:
    """What a fault may leave behind, by the test's own word; nothing, as a rule.

    `discrepancies`: kinds that stand open. `anomalies`: flags of orders. `strangers`: whether
    orders made at the broker by others are in the books. `twice`: orders that reached the broker
    with two attempts, because the venue took one in after it was proven absent.
    """

    discrepancies: Collection[str] = ()
    anomalies: Collection[str] = ()
    strangers: bool = False
    twice: Collection[uuid.UUID] = field(default_factory=frozenset)


def wrongs(
    database_url: str, truth: Row, approvals: Approvals, expected: Expected | None = None
) -> list[str]:
    """Return everything that is wrong, none if all is as it must be."""
    expected = expected or Expected()
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        # One snapshot: an order taken in between two of these reads would have events alone.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = connection.execute("SELECT * FROM orders").fetchall()
        trades = connection.execute("SELECT * FROM trades").fetchall()
        events = connection.execute("SELECT * FROM order_events ORDER BY order_id, seq").fetchall()
        found = [
            *_approved(rows, approvals, expected),
            *_same_orders(rows, truth, expected),
            *_prices(rows, trades, truth),
            *_histories(rows, events),
            *_holds(connection, rows),
            *_announced(connection),
            *_left_open(connection, rows, expected),
        ]
    with psycopg.connect(database_url) as connection:
        twice = {f"order tw-{one} was sent 2 times" for one in expected.twice}
        found += [line for line in against_broker(connection, truth) if line not in twice]
        found += [f"{_SUMS}: {row}" for row in connection.execute(LOOSE_ENDS[_SUMS]).fetchall()]
    return found


def _approved(rows: list[Row], approvals: Approvals, expected: Expected) -> list[str]:
    """No order without approval, no approval without its one order."""
    by_id = {row["id"]: row for row in rows}
    found = [f"approval {one} became no order" for one in approvals if one not in by_id]
    for row in rows:
        if row["external"]:
            if not expected.strangers:
                found.append(f"order {row['id']} is called a stranger's")
            continue
        given = approvals.get(row["id"])
        if given is None:
            # Exits, and replacements made at the broker, belong to an order that was judged.
            if row["parent_id"] is None and row["replaces_id"] is None and row["broker_order_id"]:
                found.append(f"order {row['id']} was sent without an approval")
            continue
        if row["status"] != "denied" and row["risk_assessment_id"] != (
            given.assessment.assessment_id
        ):
            found.append(f"order {row['id']} does not name its judgement")
        for name in ("symbol", "side"):
            if row[name] != str(getattr(given.spec, name)):
                found.append(f"order {row['id']}: {name} {row[name]} was not what was approved")
    return found


def _same_orders(rows: list[Row], truth: Row, expected: Expected) -> list[str]:
    """Every order has the broker's end, or is open at the broker too."""
    theirs = {one["id"]: one for one in truth["orders"]}
    found = []
    for row in rows:
        name = f"order {row['client_order_id']}"
        if row["status"] in IN_FLIGHT:
            found.append(f"{name} is still {row['status']}")
        there = theirs.get(row["broker_order_id"])
        if there is None:
            never_there = row["status"] in {"denied", "canceled", "rejected"}
            if not never_there or row["broker_order_id"] or row["filled_value"]:
                found.append(f"{name} is {row['status']} and not at the broker")
            continue
        ended = row["status"] in ENDED or there["status"] in ENDED
        if ended and row["status"] != there["status"]:
            found.append(f"{name} is {row['status']}, at the broker {there['status']}")
        for ours, word in (("quantity", "qty"), ("limit_price", "limit_price")):
            both = row[ours] is not None and there[word] is not None and not ended
            if both and row[ours] != Decimal(there[word]):
                found.append(f"{name}: {ours} {row[ours]}, at the broker {there[word]}")
        if row["anomaly"] and row["anomaly"] not in expected.anomalies:
            found.append(f"{name} is flagged {row['anomaly']}")
    return found


def _prices(rows: list[Row], trades: list[Row], truth: Row) -> list[str]:
    """Every execution is booked for the order that had it, for the money that it moved."""
    broker_ids = {row["id"]: row["broker_order_id"] for row in rows}
    theirs = {one["execution_id"]: one for one in truth["executions"]}
    money: Counter[uuid.UUID] = Counter()
    shares: Counter[uuid.UUID] = Counter()
    found = []
    for trade in trades:
        one = theirs.get(trade["execution_id"])
        if one is None:
            continue
        money[trade["order_id"]] += Decimal(one["money"])  # type: ignore[assignment]
        shares[trade["order_id"]] += trade["quantity"]
        if broker_ids[trade["order_id"]] != one["order_id"]:
            found.append(f"execution {trade['execution_id']} is booked for another order")
        if trade["commission"] + trade["fees"] != Decimal(one["fee"]):
            found.append(f"execution {trade['execution_id']}: fee {trade['fees']}, {one['fee']}")
    for row in rows:
        if (row["filled_quantity"], row["filled_value"]) != (shares[row["id"]], money[row["id"]]):
            found.append(
                f"order {row['client_order_id']}: filled {row['filled_quantity']} for "
                f"{row['filled_value']}, its trades {shares[row['id']]} for {money[row['id']]}"
            )
    return found


def _histories(rows: list[Row], events: list[Row]) -> list[str]:
    """Every order's history is one unbroken chain that ends where the order stands."""
    chains: dict[uuid.UUID, list[Row]] = {row["id"]: [] for row in rows}
    for event in events:
        chains[event["order_id"]].append(event)
    found = []
    for row in rows:
        chain = chains[row["id"]]
        numbers = [event["seq"] for event in chain]
        if numbers != list(range(1, len(chain) + 1)) or row["event_seq"] != len(chain):
            found.append(f"order {row['id']}: events {numbers}, counted {row['event_seq']}")
        steps = pairwise(chain)
        if any(one["to_status"] != next_["from_status"] for one, next_ in steps):
            found.append(f"order {row['id']}: its history has a gap")
        if chain and chain[-1]["to_status"] != row["status"]:
            found.append(f"order {row['id']}: {row['status']}, history {chain[-1]['to_status']}")
    return found


def _holds(connection: psycopg.Connection[Row], rows: list[Row]) -> list[str]:
    """A hold lives exactly as long as its order, and is what its order says."""
    unresolved = connection.execute(
        "SELECT p.id, p.ledger, p.amount, p.order_id FROM ledger_transfers p"
        " LEFT JOIN ledger_transfers r ON r.pending_id = p.id"
        " WHERE p.kind = 'pending' AND r.id IS NULL"
    ).fetchall()
    held = {hold["id"]: hold for hold in unresolved}
    found = []
    for row in rows:
        hold = held.pop(row["hold_id"], None)
        if row["status"] in ENDED and row["hold_id"] is not None:
            found.append(f"order {row['id']} is {row['status']} and holds {row['hold_amount']}")
        elif row["hold_id"] is not None and (hold is None or hold["amount"] != row["hold_amount"]):
            found.append(f"order {row['id']} says it holds {row['hold_amount']}, ledger: {hold}")
    found += [f"hold {hold} is nobody's" for hold in held.values()]
    twice = connection.execute(
        "SELECT pending_id FROM ledger_transfers WHERE pending_id IS NOT NULL"
        " GROUP BY pending_id HAVING count(*) > 1"
    ).fetchall()
    found += [f"hold {row['pending_id']} was resolved twice" for row in twice]
    pending = connection.execute(
        "SELECT a.owner, a.ledger, a.code, a.debits_pending, h.sum FROM ledger_accounts a, LATERAL"
        " (SELECT coalesce(sum(p.amount), 0) AS sum FROM ledger_transfers p WHERE p.kind ="
        " 'pending' AND p.debit_account = a.id AND NOT EXISTS (SELECT 1 FROM ledger_transfers r"
        " WHERE r.pending_id = p.id)) h WHERE a.debits_pending <> h.sum"
    ).fetchall()
    return found + [f"pending balance is not the sum of its holds: {row}" for row in pending]


def _announced(connection: psycopg.Connection[Row]) -> list[str]:
    """Every trade and every order's event was announced, once."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM trades) AS trades,"
        " (SELECT count(*) FROM order_events) AS events,"
        " (SELECT count(*) FROM outbox WHERE source = 'trade_executor'"
        "  AND stream = 'log:trades.executed') AS trades_told,"
        " (SELECT count(*) FROM outbox WHERE source = 'trade_executor'"
        "  AND stream = 'log:orders.events') AS events_told"
    ).fetchone()
    assert row is not None
    fine = (row["trades"], row["events"]) == (row["trades_told"], row["events_told"])
    return [] if fine else [f"announced: {row}"]


def _left_open(
    connection: psycopg.Connection[Row], rows: list[Row], expected: Expected
) -> list[str]:
    open_ones = connection.execute(
        "SELECT symbol, kind, ours, theirs, detail FROM discrepancies WHERE resolved_at IS NULL"
    ).fetchall()
    found = [f"discrepancy: {o}" for o in open_ones if o["kind"] not in expected.discrepancies]
    flagged = {row["anomaly"] for row in rows if row["anomaly"]}
    return found + [f"no order was flagged {one}" for one in set(expected.anomalies) - flagged]
