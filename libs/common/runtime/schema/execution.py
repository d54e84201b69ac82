"""Tables of `trade_executor`: orders, executions, positions, ledger."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    func,
    text,
)

from libs.common.runtime.schema.base import Id, Instant, Json, Money, Price, Quantity, table

WRITER = ("trade_executor",)

orders = table(
    "orders",
    Column("id", Id, primary_key=True),
    Column("client_order_id", Text, nullable=False, unique=True),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("broker", Text, nullable=False),
    Column("broker_order_id", Text),
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("order_class", Text, nullable=False),
    Column("parent_id", Id, ForeignKey("orders.id")),
    Column("replaces_id", Id, ForeignKey("orders.id")),
    Column("quantity", Quantity),
    Column("notional", Money),
    Column("filled_quantity", Quantity, nullable=False, server_default="0"),
    Column("filled_value", Money, nullable=False, server_default="0"),
    Column("limit_price", Price),
    Column("stop_price", Price),
    Column("trail_price", Price),
    Column("trail_percent", Price),
    Column("legs", Json),
    Column("time_in_force", Text, nullable=False),
    Column("extended_hours", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False),
    Column("anomaly", Text),
    Column("external", Boolean, nullable=False, server_default=text("false")),
    Column("protective", Boolean, nullable=False, server_default=text("false")),
    Column("reducing", Boolean, nullable=False, server_default=text("false")),
    Column("strategy_id", Text),
    Column("signal_id", Id),
    Column("request_id", Id),
    Column("idempotency_key", Text),
    # What the caller asked for under that key, in its canonical form.
    Column("request", Json),
    # Of an amendment: what it asks for in all, and holds, once it has taken its place.
    Column("succession", Json),
    Column("risk_assessment_id", Id),
    Column("algo_id", Id),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("correlation_id", Id, nullable=False),
    Column("event_seq", Integer, nullable=False, server_default="0"),
    # The pending transfer that stands behind the order now, and what it still holds.
    Column("hold_id", Id),
    Column("hold_amount", Quantity),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    Column("submitted_at", Instant),
    Column("expires_at", Instant),
    Column("reject_reason", Text),
    CheckConstraint("filled_quantity >= 0", name="filled_not_negative"),
    CheckConstraint("quantity IS NULL OR quantity > 0", name="quantity_positive"),
    UniqueConstraint("account_id", "idempotency_key"),
    UniqueConstraint("broker", "broker_order_id"),
    Index("ix_orders_created_at", "created_at", "id"),
    Index("ix_orders_correlation_id", "correlation_id"),
    Index(
        "ix_orders_open",
        "account_id",
        "symbol",
        postgresql_where=(
            "status NOT IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"
        ),
    ),
    writers=WRITER,
)

order_events = table(
    "order_events",
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("reason", Text),
    Column("payload", Json),
    Column("ts", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("order_id", "seq"),
    writers=WRITER,
    append_only=True,
)

trades = table(
    "trades",
    Column("id", Id, primary_key=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("executed_price", Price, nullable=False),
    Column("commission", Money, nullable=False),
    Column("fees", Money, nullable=False),
    Column("executed_at", Instant, nullable=False),
    Column("venue", Text),
    Column("liquidity", Text),
    Column("strategy_id", Text),
    Column("signal_id", Id),
    Column("realized_pnl", Money, nullable=False),
    Column("correlation_id", Id, nullable=False),
    Column("booked_at", Instant, nullable=False, server_default=func.now()),
    # Its place in the life of the position; a replacement takes the place of what it replaces.
    Column("entry", Integer, nullable=False),
    Column("replaces", Id, ForeignKey("trades.id"), unique=True),
    UniqueConstraint("broker", "execution_id"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("executed_price >= 0", name="price_not_negative"),
    Index("ix_trades_order_id", "order_id"),
    Index("ix_trades_booked_at", "booked_at", "id"),
    Index("ix_trades_correlation_id", "correlation_id"),
    Index("ix_trades_position", "account_id", "symbol", "entry"),
    writers=WRITER,
    append_only=True,
)

# Executions that the venue took back, by the id that it gave them. `trade_id` is null where the
# execution was never booked here: then it never will be. `realized_pnl` is what the reversal
# changes of the position's profit.
trade_reversals = table(
    "trade_reversals",
    Column("broker", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("id", Id, nullable=False, unique=True),
    Column("trade_id", Id, ForeignKey("trades.id"), unique=True),
    Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record_id", Text),
    Column("reversed_at", Instant, nullable=False),
    Column("realized_pnl", Money, nullable=False),
    Column("correlation_id", Id, nullable=False),
    Column("booked_at", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("broker", "execution_id"),
    CheckConstraint("kind IN ('bust', 'correction')", name="kind_known"),
    Index("ix_trade_reversals_order_id", "order_id"),
    Index("ix_trade_reversals_booked_at", "booked_at"),
    writers=WRITER,
    append_only=True,
)

# What the broker's account did besides trading, as it was told; its money is in the ledger.
account_activities = table(
    "account_activities",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("activity_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("symbol", Text, nullable=False, server_default=""),
    Column("amount", Money, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("executed_at", Instant, nullable=False),
    Column("booked_at", Instant, nullable=False, server_default=func.now()),
    UniqueConstraint("broker", "activity_id"),
    Index("ix_account_activities_executed_at", "account_id", "executed_at"),
    writers=WRITER,
    append_only=True,
)

# Shares that moved without a trade. A change follows the entry `after_entry` of its position;
# changes after the same entry follow each other by `seq`. `shares` are the strategies' parts.
position_changes = table(
    "position_changes",
    Column("seq", BigInteger, Identity(always=True), unique=True),
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("after_entry", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("cost", Price, nullable=False, server_default="0"),
    Column("amount", Money, nullable=False, server_default="0"),
    Column("realized_pnl", Money, nullable=False, server_default="0"),
    Column("shares", Json, nullable=False),
    Column("activity_id", Id, ForeignKey("account_activities.id")),
    Column("effective_at", Instant, nullable=False),
    Column("booked_at", Instant, nullable=False, server_default=func.now()),
    CheckConstraint("kind IN ('opening', 'split', 'cash_in_lieu', 'transfer')", name="kind_known"),
    CheckConstraint("quantity <> 0", name="moves_shares"),
    Index("ix_position_changes_position", "account_id", "symbol", "after_entry", "seq"),
    writers=WRITER,
    append_only=True,
)

portfolio_positions = table(
    "portfolio_positions",
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("avg_cost", Price, nullable=False),
    Column("realized_pnl", Money, nullable=False),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    # How many executions it has seen; the next one is entry last_entry + 1.
    Column("last_entry", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account_id", "symbol"),
    writers=WRITER,
)

# Amounts of a currency ledger are money, of an instrument ledger quantities; both fit 20,8.
ledger_accounts = table(
    "ledger_accounts",
    Column("id", Id, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("ledger", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("no_overdraft", Boolean, nullable=False, server_default=text("false")),
    Column("debits_pending", Quantity, nullable=False, server_default="0"),
    Column("debits_posted", Quantity, nullable=False, server_default="0"),
    Column("credits_pending", Quantity, nullable=False, server_default="0"),
    Column("credits_posted", Quantity, nullable=False, server_default="0"),
    UniqueConstraint("owner", "ledger", "code"),
    CheckConstraint(
        "debits_pending >= 0 AND debits_posted >= 0 "
        "AND credits_pending >= 0 AND credits_posted >= 0",
        name="not_negative",
    ),
    CheckConstraint(
        "NOT no_overdraft OR debits_pending + debits_posted <= credits_posted",
        name="no_overdraft",
    ),
    writers=WRITER,
    # The sums follow from the transfers: only the trigger on those writes them.
    columns=(("id", "owner", "ledger", "code", "no_overdraft"), ("no_overdraft",)),
)

ledger_transfers = table(
    "ledger_transfers",
    Column("seq", BigInteger, Identity(always=True), unique=True),
    Column("id", Id, primary_key=True),
    Column("debit_account", Id, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("credit_account", Id, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("ledger", Text, nullable=False),
    Column("amount", Quantity, nullable=False),
    Column("kind", Text, nullable=False),
    Column("pending_id", Id, ForeignKey("ledger_transfers.id")),
    Column("code", Text, nullable=False),
    Column("order_id", Id),
    Column("trade_id", Id),
    Column("correlation_id", Id, nullable=False),
    Column("ts", Instant, nullable=False, server_default=func.now()),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("debit_account <> credit_account", name="two_accounts"),
    CheckConstraint("kind IN ('direct', 'pending', 'post', 'void')", name="kind_known"),
    CheckConstraint("(kind IN ('post', 'void')) = (pending_id IS NOT NULL)", name="pending_named"),
    Index("ix_ledger_transfers_order_id", "order_id"),
    Index("ix_ledger_transfers_trade_id", "trade_id"),
    # A pending transfer is resolved exactly once.
    Index(
        "uq_ledger_transfers_pending_id",
        "pending_id",
        unique=True,
        postgresql_where="pending_id IS NOT NULL",
    ),
    writers=WRITER,
    append_only=True,
)

# Requests about an order with their answers, and the messages of the order stream, as they were.
# Evidence for people: nothing is decided by it.
broker_messages = table(
    "broker_messages",
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("ts", Instant, nullable=False),
    Column("method", Text),
    Column("path", Text),
    Column("status", Integer),
    Column("order_id", Id),
    Column("broker_order_id", Text),
    Column("sent", Text),
    Column("received", Text),
    Column("error", Text),
    Column("took_us", BigInteger),
    Index("ix_broker_messages_order_id", "order_id"),
    Index("ix_broker_messages_broker_order_id", "broker_order_id"),
    Index("ix_broker_messages_ts", "ts"),
    writers=WRITER,
    append_only=True,
)

# What the broker said and nobody could read: the first bytes of each, the newest rows. The writer
# forgets the oldest. Evidence for people: nothing is decided by it.
broker_quarantine = table(
    "broker_quarantine",
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("ts", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("call", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    CheckConstraint("source IN ('answer', 'stream')", name="source"),
    writers=WRITER,
)

# `watermark` is market time: executions before it are in the books or are older than them.
reconciliations = table(
    "reconciliations",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=False),
    Column("watermark", Instant, nullable=False),
    Column("findings", Json, nullable=False),
    Index("ix_reconciliations_account_id", "account_id", "finished_at"),
    writers=WRITER,
)

closings = table(
    "closings",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("request", Json, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("quantity", Quantity),
    Column("percent", Quantity),
    Column("status", Text, nullable=False),
    Column("exits", ARRAY(Id), nullable=False, server_default="{}"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("order_quantity", Quantity),
    Column("order_id", Id),
    Column("reason", Text),
    Column("correlation_id", Id, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    CheckConstraint("status IN ('open', 'closed', 'failed')", name="status_known"),
    Index("ix_closings_open", "account_id", postgresql_where="status = 'open'"),
    Index("ix_closings_created_at", "created_at", "id"),
    writers=WRITER,
)

discrepancies = table(
    "discrepancies",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False),
    Column("ours", Text, nullable=False),
    Column("theirs", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("opened_at", Instant, nullable=False, server_default=func.now()),
    Column("resolved_at", Instant),
    Column("resolution", Text),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", Text),
    Column("acknowledgement", Text),
    Column("resolved_by", Text),
    Index(
        "uq_discrepancies_open",
        "account_id",
        "symbol",
        "kind",
        unique=True,
        postgresql_where="resolved_at IS NULL",
    ),
    writers=WRITER,
)

# What was asked to be protected: an entry with a stop, or a position by request. `quantity` NULL is
# all there is; `seq` counts the exits that were placed for it, each with an id derived from it.
protections = table(
    "protections",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quantity", Quantity),
    Column("stop_price", Price, nullable=False),
    Column("take_profit_price", Price),
    Column("entry_id", Id, ForeignKey("orders.id"), unique=True),
    Column("actor", Text, nullable=False),
    Column("seq", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("ended_at", Instant),
    Column("end_reason", Text),
    # Since when its terms are meant as they are: exits that are older had others. In market time:
    # a split later than that changes what the prices mean, once.
    Column("terms_at", Instant),
    Column("priced_at", Instant),
    CheckConstraint("quantity IS NULL OR quantity > 0", name="quantity_positive"),
    CheckConstraint("stop_price > 0", name="stop_positive"),
    Index("ix_protections_open", "account_id", "symbol", postgresql_where="ended_at IS NULL"),
    writers=WRITER,
)
