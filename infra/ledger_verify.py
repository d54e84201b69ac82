"""Everything that the books promise, worked out anew from the transfers: `tradewind ledger verify`.

One read-only transaction with one snapshot, so it may run while trading goes on. It needs the
database's URL and nothing else, and the right to read. Each check is one query that returns the
ids of what breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg

from libs.common.kernel.errors import UnavailableError

SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Check:
    """A promise: `counted` says over how many rows it holds, `broken` which rows break it."""

    name: str
    counted: str
    broken: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found; `offending` are the first ids, each with what is wrong."""

    name: str
    rows: int
    broken: int
    offending: tuple[str, ...]


_ENDED: Final = "('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"
_TRANSFERS: Final = "SELECT count(*) FROM ledger_transfers"
_TRADES: Final = "SELECT count(*) FROM trades"
# Executions that stand.
_STANDING: Final = """(SELECT t.* FROM trades t
    WHERE NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id))"""

CHECKS: Final = (
    Check(
        "each ledger's debits equal its credits",
        "SELECT count(DISTINCT ledger) FROM ledger_accounts",
        """SELECT ledger, 'posted ' || sum(credits_posted - debits_posted)
                  || ', pending ' || sum(credits_pending - debits_pending)
           FROM ledger_accounts GROUP BY ledger
           HAVING sum(credits_posted) <> sum(debits_posted)
               OR sum(credits_pending) <> sum(debits_pending)""",
    ),
    Check(
        "an account's sums are those of its transfers",
        "SELECT count(*) FROM ledger_accounts",
        """WITH lines AS (
               SELECT l.*, coalesce(p.amount, 0) AS released
               FROM ledger_transfers l LEFT JOIN ledger_transfers p ON p.id = l.pending_id
           ), moved AS (
               SELECT side.account,
                      sum(CASE WHEN side.debit AND l.kind IN ('direct', 'post')
                               THEN l.amount ELSE 0 END) AS debits_posted,
                      sum(CASE WHEN NOT side.debit AND l.kind IN ('direct', 'post')
                               THEN l.amount ELSE 0 END) AS credits_posted,
                      sum(CASE WHEN NOT side.debit THEN 0 WHEN l.kind = 'pending'
                               THEN l.amount ELSE -l.released END) AS debits_pending,
                      sum(CASE WHEN side.debit THEN 0 WHEN l.kind = 'pending'
                               THEN l.amount ELSE -l.released END) AS credits_pending
               FROM lines l
               CROSS JOIN LATERAL (VALUES (l.debit_account, true), (l.credit_account, false))
                    AS side(account, debit)
               GROUP BY side.account
           )
           SELECT a.id::text, a.owner || ' ' || a.ledger || ' ' || a.code
           FROM ledger_accounts a LEFT JOIN moved m ON m.account = a.id
           WHERE (a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending)
              IS DISTINCT FROM (coalesce(m.debits_posted, 0), coalesce(m.credits_posted, 0),
                                coalesce(m.debits_pending, 0), coalesce(m.credits_pending, 0))""",
    ),
    Check(
        "no account is below what its flag allows",
        "SELECT count(*) FROM ledger_accounts WHERE no_overdraft",
        """SELECT id::text, owner || ' ' || ledger FROM ledger_accounts
           WHERE no_overdraft AND debits_pending + debits_posted > credits_posted""",
    ),
    Check(
        "a transfer stays in its ledger and moves an amount",
        _TRANSFERS,
        """SELECT l.id::text, l.ledger || ' ' || l.amount
           FROM ledger_transfers l
           LEFT JOIN ledger_accounts d ON d.id = l.debit_account
           LEFT JOIN ledger_accounts c ON c.id = l.credit_account
           WHERE d.ledger IS DISTINCT FROM l.ledger OR c.ledger IS DISTINCT FROM l.ledger
              OR l.amount <= 0 OR l.debit_account = l.credit_account
              OR (l.kind IN ('post', 'void')) <> (l.pending_id IS NOT NULL)""",
    ),
    Check(
        "a hold is resolved once, by no more than it held, on its own accounts",
        "SELECT count(*) FROM ledger_transfers WHERE pending_id IS NOT NULL",
        """SELECT r.id::text, 'of hold ' || r.pending_id
           FROM (SELECT x.*, count(*) OVER (PARTITION BY x.pending_id) AS times
                 FROM ledger_transfers x WHERE x.pending_id IS NOT NULL) r
           LEFT JOIN ledger_transfers p ON p.id = r.pending_id
           WHERE r.times > 1 OR p.kind IS DISTINCT FROM 'pending' OR r.amount > p.amount
              OR p.debit_account <> r.debit_account OR p.credit_account <> r.credit_account""",
    ),
    Check(
        "an open hold belongs to an open order, which names it",
        "SELECT count(*) FROM ledger_transfers WHERE kind = 'pending'",
        f"""SELECT p.id::text, 'order ' || coalesce(p.order_id::text, 'none')
           FROM ledger_transfers p LEFT JOIN orders o ON o.id = p.order_id
           WHERE p.kind = 'pending'
             AND NOT EXISTS (SELECT 1 FROM ledger_transfers r WHERE r.pending_id = p.id)
             AND (o.id IS NULL OR o.status IN {_ENDED} OR o.hold_id IS DISTINCT FROM p.id
                  OR o.hold_amount IS DISTINCT FROM p.amount)
           UNION ALL
           SELECT o.id::text, 'names a hold that is not open' FROM orders o
           WHERE o.hold_id IS NOT NULL
             AND (NOT EXISTS (SELECT 1 FROM ledger_transfers p
                              WHERE p.id = o.hold_id AND p.kind = 'pending')
                  OR EXISTS (SELECT 1 FROM ledger_transfers r WHERE r.pending_id = o.hold_id))""",  # nosec B608 # our constants
    ),
    Check(
        "positions are the balances of their instruments",
        "SELECT count(*) FROM portfolio_positions",
        """SELECT coalesce(p.symbol, a.ledger),
                  'position ' || coalesce(p.quantity, 0) || ', ledger '
                  || coalesce(a.credits_posted - a.debits_posted, 0)
           FROM portfolio_positions p
           FULL JOIN (SELECT * FROM ledger_accounts WHERE code = 'position') a
                  ON a.owner = p.account_id AND a.ledger = p.symbol
           WHERE coalesce(p.quantity, 0)
              <> coalesce(a.credits_posted - a.debits_posted, 0)""",
    ),
    Check(
        "positions and their profit are what replaying their entries gives",
        "SELECT count(*) FROM portfolio_positions",
        """SELECT p.symbol, 'told ' || p.quantity || ' at ' || p.avg_cost || ' made '
                  || p.realized_pnl || ', replayed ' || r.quantity || ' at ' || r.avg_cost
                  || ' made ' || r.realized_pnl
           FROM portfolio_positions p
           CROSS JOIN LATERAL position_replay(p, NULL, NULL, NULL) r
           WHERE (p.quantity, p.avg_cost, p.realized_pnl)
              IS DISTINCT FROM (r.quantity, r.avg_cost, r.realized_pnl)""",
    ),
    Check(
        "what entries realised sums to the position's profit",
        "SELECT count(*) FROM portfolio_positions",
        """SELECT p.symbol, 'told ' || p.realized_pnl || ', entries ' || coalesce(e.made, 0)
           FROM portfolio_positions p
           LEFT JOIN (SELECT account_id, symbol, sum(realized_pnl) AS made FROM (
                          SELECT account_id, symbol, realized_pnl FROM trades
                          UNION ALL
                          SELECT account_id, symbol, realized_pnl FROM trade_reversals
                          UNION ALL
                          SELECT account_id, symbol, realized_pnl FROM position_changes) x
                      GROUP BY account_id, symbol) e
                  ON e.account_id = p.account_id AND e.symbol = p.symbol
           WHERE p.realized_pnl <> coalesce(e.made, 0)""",
    ),
    Check(
        "an execution's lines are its quantity, its money and its fee; reversed, nothing",
        _TRADES,
        """WITH moved AS (
               SELECT l.trade_id,
                      sum(CASE WHEN a.code = 'position' AND l.credit_account = a.id THEN l.amount
                               WHEN a.code = 'position' THEN -l.amount ELSE 0 END) AS shares,
                      sum(CASE WHEN a.code = 'cash' AND l.credit_account = a.id THEN l.amount
                               WHEN a.code = 'cash' THEN -l.amount ELSE 0 END) AS cash
               FROM ledger_transfers l
               JOIN ledger_accounts a ON a.id IN (l.debit_account, l.credit_account)
                AND a.code IN ('position', 'cash')
               WHERE l.trade_id IS NOT NULL AND l.kind IN ('direct', 'post')
               GROUP BY l.trade_id
           )
           SELECT t.id::text, 'moved ' || coalesce(m.shares, 0) || ' for ' || coalesce(m.cash, 0)
           FROM trades t
           LEFT JOIN moved m ON m.trade_id = t.id
           LEFT JOIN trade_reversals v ON v.trade_id = t.id
           CROSS JOIN LATERAL (SELECT CASE WHEN v.id IS NOT NULL THEN 0
                                           WHEN t.side = 'buy' THEN 1 ELSE -1 END AS sign) s
           WHERE coalesce(m.shares, 0) <> s.sign * t.quantity
              OR coalesce(m.cash, 0) <> -s.sign * half_even(t.quantity * t.executed_price, 4)
                 - abs(s.sign) * (t.commission + t.fees)""",
    ),
    Check(
        "an order's filled quantity and value are those of its executions that stand",
        "SELECT count(*) FROM orders",
        f"""SELECT o.id::text, 'told ' || o.filled_quantity || ', executed '
                   || coalesce(t.quantity, 0)
           FROM orders o
           LEFT JOIN (SELECT order_id, sum(quantity) AS quantity,
                             sum(half_even(quantity * executed_price, 4)) AS amount
                      FROM {_STANDING} s GROUP BY order_id) t ON t.order_id = o.id
           WHERE (NOT o.external AND (o.filled_quantity <> coalesce(t.quantity, 0)
                                      OR o.filled_value <> coalesce(t.amount, 0)))
              OR (o.external AND o.filled_quantity < coalesce(t.quantity, 0))""",  # nosec B608 # our own constants
    ),
    Check(
        "no transfer names an order or an execution that is not there",
        _TRANSFERS,
        """SELECT l.id::text, 'order ' || coalesce(l.order_id::text, '-') || ', execution '
                  || coalesce(l.trade_id::text, '-')
           FROM ledger_transfers l
           WHERE (l.order_id IS NOT NULL
                  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.order_id))
              OR (l.trade_id IS NOT NULL
                  AND NOT EXISTS (SELECT 1 FROM trades t WHERE t.id = l.trade_id))""",
    ),
    Check(
        "an activity's money and shares are in the ledger",
        "SELECT count(*) FROM account_activities",
        """SELECT a.activity_id, a.kind || ' ' || a.amount || ', ledger ' || coalesce(l.cash, 0)
           FROM account_activities a
           LEFT JOIN (SELECT x.correlation_id,
                             sum(CASE WHEN x.credit_account = c.id THEN x.amount
                                      ELSE -x.amount END) AS cash
                      FROM ledger_transfers x
                      JOIN ledger_accounts c ON c.id IN (x.debit_account, x.credit_account)
                       AND c.code = 'cash'
                      GROUP BY x.correlation_id) l ON l.correlation_id = a.id
           WHERE coalesce(l.cash, 0) <> a.amount
             AND NOT EXISTS (SELECT 1 FROM ledger_transfers e WHERE e.correlation_id = e.id
                              AND e.code IN ('deposit', 'fee') AND e.amount = abs(a.amount))""",
    ),
)


def verify(url: str) -> Iterator[Result]:
    """Carry out every check on one snapshot of the books. Raises UnavailableError."""
    try:
        with psycopg.connect(url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            for check in CHECKS:
                rows = connection.execute(check.counted.encode()).fetchone()
                broken = connection.execute(check.broken.encode()).fetchall()
                shown = tuple(f"{name}: {what}" for name, what in broken[:SHOWN_MAX])
                yield Result(check.name, rows[0] if rows else 0, len(broken), shown)
    except psycopg.Error as error:
        raise UnavailableError(f"the books cannot be read: {error}") from error
