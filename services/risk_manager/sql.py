"""The risk manager's statements; run by its store only."""

from __future__ import annotations

from typing import Final

from libs.common.domain.vocabulary import TERMINAL_STATUSES
from libs.common.runtime.database import FENCE
from libs.common.runtime.outbox import INSERT_MESSAGES

_TERMINAL: Final = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL_STATUSES))

EARNED: Final = """
    SELECT coalesce(sum(amount), 0) AS earned FROM account_activities
    WHERE account_id = :account AND code = ANY(CAST(:codes AS text[]))
"""

CASH: Final = """
    SELECT credits_posted - debits_posted AS cash FROM ledger_accounts
    WHERE owner = :account AND ledger = 'USD' AND code = 'cash'
    """
POSITIONS: Final = "SELECT symbol, quantity FROM portfolio_positions WHERE account_id = :account"
STRATEGY_POSITIONS: Final = """
    SELECT strategy_id, symbol, quantity FROM strategy_positions
    WHERE account_id = :account AND strategy_id IS NOT NULL
    """
# Executions, their reversals, and changes of a position, each with an id of its own.
EXECUTIONS: Final = """
    SELECT * FROM (
        (SELECT id, booked_at FROM trades WHERE account_id = :account
         ORDER BY booked_at DESC, id DESC LIMIT :kept)
        UNION ALL
        SELECT id, booked_at FROM trade_reversals
        WHERE account_id = :account AND trade_id IS NOT NULL
        UNION ALL
        SELECT id, booked_at FROM position_changes WHERE account_id = :account
    ) booked ORDER BY booked_at DESC, id DESC LIMIT :kept
    """
# A reversal is the execution the other way round, with its fee given back. Of an execution that
# the opening balance held, the change of the position tells what moved.
TRADES_SINCE: Final = """
    SELECT id, order_id, symbol, side, quantity, executed_price, commission + fees AS cost,
           strategy_id, booked_at, false AS reverses
    FROM trades WHERE account_id = :account AND booked_at >= :since
    UNION ALL
    SELECT v.id, t.order_id, t.symbol, CASE t.side WHEN 'buy' THEN 'sell' ELSE 'buy' END,
           t.quantity, t.executed_price, -(t.commission + t.fees), t.strategy_id, v.booked_at,
           true
    FROM trade_reversals v JOIN trades t ON t.id = v.trade_id
    WHERE v.account_id = :account AND v.booked_at >= :since
    UNION ALL
    SELECT v.id, v.order_id, c.symbol, CASE WHEN c.quantity > 0 THEN 'buy' ELSE 'sell' END,
           abs(c.quantity), 0, -c.amount, NULL, v.booked_at, true
    FROM trade_reversals v JOIN position_changes c ON c.id = v.id
    WHERE v.account_id = :account AND v.booked_at >= :since
    ORDER BY booked_at, id
    """
CHANGES_SINCE: Final = """
    SELECT id, symbol, quantity, amount, shares, booked_at FROM position_changes
    WHERE account_id = :account AND booked_at >= :since
      AND NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.id = position_changes.id)
    ORDER BY seq
    """

_ORDER: Final = """
    SELECT o.id, o.symbol, o.side, o.quantity, o.filled_quantity, o.status, o.order_type,
           o.limit_price, o.strategy_id, o.replaces_id, a.hold, a.quantity AS assessed_quantity,
           (o.parent_id IS NOT NULL AND o.order_class <> 'simple') AS leg
    FROM orders o LEFT JOIN risk_assessments a ON a.order_id = o.id AND a.verdict = 'approved'
    WHERE o.account_id = :account
"""
OPEN_ORDERS: Final = f"""{_ORDER} AND o.status NOT IN ({_TERMINAL})
    AND NOT (o.parent_id IS NOT NULL AND o.order_class <> 'simple') ORDER BY o.created_at, o.id"""
# What its executions do not tell was traded before our books began, be it taken back since.
ONE_ORDER: Final = f"""
    SELECT one.*, one.filled_quantity
        - (SELECT coalesce(sum(t.quantity), 0) FROM trades t WHERE t.order_id = one.id
           AND NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id))
        + (SELECT coalesce(sum(abs(c.quantity)), 0)
           FROM trade_reversals v JOIN position_changes c ON c.id = v.id
           WHERE v.order_id = one.id) AS before_us
    FROM ({_ORDER} AND o.id = :order_id) one
    """  # nosec B608 # our own constants

RESERVATIONS: Final = """
    SELECT a.* FROM risk_assessments a
    WHERE a.account_id = :account AND a.verdict = 'approved'
      AND a.expires_at > now() - make_interval(secs => :grace)
      AND a.ts > now() - interval '1 day'
      AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = a.order_id)
    ORDER BY a.ts, a.id
    """
LAST_BARS: Final = """
    SELECT strategy_id, symbol, max(bar_ts) AS bar_ts FROM risk_assessments
    WHERE account_id = :account AND bar_ts IS NOT NULL AND strategy_id IS NOT NULL
    GROUP BY strategy_id, symbol
    """
APPROVALS: Final = """
    SELECT strategy_id, ts FROM risk_assessments
    WHERE account_id = :account AND verdict = 'approved' AND ts > now() - interval '10 minutes'
    ORDER BY ts
    """
# Judgements and what is told of them in one statement: one round trip, one commit.
RECORD: Final = f"""
    WITH recorded AS (
        INSERT INTO risk_assessments
        SELECT r.* FROM {FENCE}, jsonb_populate_recordset(
            CAST(NULL AS risk_assessments), CAST(:rows AS jsonb)) AS r
    )
    {INSERT_MESSAGES} ORDER BY m.place
    """  # nosec B608 # our own constants
JUDGED: Final = """
    SELECT * FROM risk_assessments
    WHERE signal_id = ANY(CAST(:ids AS uuid[])) OR request_id = ANY(CAST(:ids AS uuid[]))
    """
SET_SWITCH: Final = """
    INSERT INTO trading_state (account_id, state, generation, reason, set_by, set_at, flatten)
    VALUES (:account, :state, :generation, :reason, :set_by, :set_at, :flatten)
    ON CONFLICT (account_id) DO UPDATE SET state = excluded.state,
        generation = excluded.generation, reason = excluded.reason, set_by = excluded.set_by,
        set_at = excluded.set_at, flatten = excluded.flatten
    WHERE trading_state.generation = excluded.generation - 1
    """

INSTRUMENTS: Final = "SELECT * FROM instruments WHERE valid_to IS NULL OR valid_to > now()"
LAST_PRICES: Final = """
    SELECT s.symbol, p.bid, p.ask, p.ts
    FROM unnest(CAST(:symbols AS text[])) AS s(symbol)
    CROSS JOIN LATERAL (
        (SELECT bid, ask, ts FROM market_quotes
         WHERE symbol = s.symbol AND bid > 0 AND ask > 0 ORDER BY ts DESC LIMIT 1)
        UNION ALL
        (SELECT close, close, ts FROM market_ohlcv
         WHERE symbol = s.symbol AND timeframe = '1m' ORDER BY ts DESC LIMIT 1)
        UNION ALL
        (SELECT close, close, ts FROM market_ohlcv
         WHERE symbol = s.symbol AND timeframe = '1d' ORDER BY ts DESC LIMIT 1)
        LIMIT 1
    ) AS p
    """
# Standard deviation of log returns, annualised: 252 sessions a year, 390 minutes a session.
VOLATILITIES: Final = """
    SELECT s.symbol, coalesce(
        (SELECT CASE WHEN count(r) >= 20 THEN stddev_samp(r) * sqrt(252) END
         FROM (SELECT ln(close / lag(close) OVER (ORDER BY ts)) AS r
               FROM (SELECT ts, close FROM market_ohlcv
                     WHERE symbol = s.symbol AND timeframe = '1d' AND close > 0
                     ORDER BY ts DESC LIMIT 64) AS days) AS daily),
        (SELECT CASE WHEN count(r) >= 100 THEN stddev_samp(r) * sqrt(252 * 390) END
         FROM (SELECT ln(close / lag(close) OVER (ORDER BY ts)) AS r
               FROM (SELECT ts, close FROM market_ohlcv
                     WHERE symbol = s.symbol AND timeframe = '1m' AND close > 0
                     ORDER BY ts DESC LIMIT 1950) AS minutes) AS minutely)
    ) AS volatility
    FROM unnest(CAST(:symbols AS text[])) AS s(symbol)
    """
