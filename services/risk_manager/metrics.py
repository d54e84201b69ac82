"""The risk manager's figures."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

JUDGEMENTS = Counter("risk_judgements_total", "Judgements by outcome", ["verdict", "code"])
LATENCY = Histogram(
    "risk_judgement_seconds",
    "One judgement, in process",
    buckets=(2e-5, 5e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2),
)
BATCH = Histogram("risk_batch_seconds", "One batch of judgements, stored")
SHADOWED = Counter("risk_shadow_signals_total", "Signals of strategies that only record")
REPEATED = Counter("risk_repeats_total", "Messages that arrived again, without effect", ["kind"])
MISSED = Counter("risk_trades_found_total", "Executions found in the books before they were told")
RELEASED = Counter("risk_reservations_expired_total", "Approvals that never became orders")
RESERVATIONS = Gauge("risk_reservations", "Approvals not yet seen as orders")
OPEN_ORDERS = Gauge("risk_open_orders", "Orders and reservations in the book")
EQUITY = Gauge("risk_equity", "Equity at the last prices")
HELD = Gauge("risk_held", "Set aside by open orders and reservations")
GROSS = Gauge("risk_gross_exposure", "Sum of the largest positions")
NET = Gauge("risk_net_exposure", "Long less short")
LOSS = Gauge("risk_loss_today", "Lost since the session's start; negative for a gain")
DRAWDOWN = Gauge("risk_drawdown", "Fall from the highest equity, as a share of it")
GENERATION = Gauge("risk_generation", "Generation of the kill switch")
STATE = Gauge("risk_trading_state", "0 active, 1 reducing, 2 halted")
