"""The registry of channels: name, kind, producer, payload, and who must act on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from libs.common.contracts import messages
from libs.common.kernel.errors import ContractError

DEAD_LETTERS: Final = "log:dead"


class Kind(Enum):
    """Broadcast may be missed, the next message heals it; log must not be missed."""

    BROADCAST = "broadcast"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic. A message goes to `topic.key` (or `topic`) and, for logs, to `stream`.

    `acting` lists the consumer groups that must have acknowledged a message before it counts
    as delivered. After that it is kept for `hours_max` at most, and no longer than the setting
    `stream_days_max` says. Of `length_max` messages that wait on the stream (0: of any number) no
    more are put there: they wait in the outbox, so that a reader that stays away fills no memory
    that others need.
    """

    topic: str
    kind: Kind
    producer: str
    payload: type[messages.Payload]
    key: str
    acting: tuple[str, ...]
    meaning: str
    hours_max: int = 24 * 365
    length_max: int = 0

    @property
    def stream(self) -> str:
        """Return the Redis Stream's name. Raises ContractError for a broadcast channel."""
        if self.kind is not Kind.LOG:
            raise ContractError(f"{self.topic} is a broadcast channel, it has no stream")
        return f"log:{self.topic}"

    @property
    def pattern(self) -> str:
        """Return the Pub/Sub pattern that matches all keys of the topic."""
        return f"{self.topic}.*" if self.key else self.topic

    def name(self, key: str = "") -> str:
        """Return the Pub/Sub channel for `key`. Raises ContractError if a key is due or odd."""
        if bool(key) != bool(self.key):
            wanted = f"a {self.key}" if self.key else "no key"
            raise ContractError(f"channel {self.topic} takes {wanted}, got {key!r}")
        return f"{self.topic}.{key}" if key else self.topic


MARKET_DATA: Final = Channel(
    "market_data", Kind.BROADCAST, "data_collector", messages.MarketData, "symbol", (),
    "Quotes, trades and closed bars of one symbol, oldest first",
)  # fmt: skip
SIGNALS: Final = Channel(
    "signals", Kind.LOG, "strategy_engine", messages.Signal, "strategy_id",
    ("risk_manager", "audit"), "A strategy's decision on one bar",
)  # fmt: skip
ORDERS_APPROVED: Final = Channel(
    "orders.approved", Kind.LOG, "risk_manager", messages.ApprovedOrder, "",
    ("trade_executor", "audit"), "A sized order with the judgement that allows it",
)  # fmt: skip
RISK_ASSESSMENTS: Final = Channel(
    "risk.assessments", Kind.LOG, "risk_manager", messages.RiskAssessment, "",
    ("audit",), "Every judgement, approved or denied, with all its checks", length_max=20_000,
)  # fmt: skip
ORDERS_EVENTS: Final = Channel(
    "orders.events", Kind.LOG, "trade_executor", messages.OrderEvent, "",
    ("risk_manager", "portfolio", "audit"), "Every change of an order's state",
)  # fmt: skip
TRADES_EXECUTED: Final = Channel(
    "trades.executed", Kind.LOG, "trade_executor", messages.Trade, "",
    ("risk_manager", "portfolio", "audit"), "One execution, booked",
)  # fmt: skip
TRADES_REVERSED: Final = Channel(
    "trades.reversed", Kind.LOG, "trade_executor", messages.TradeReversed, "",
    ("risk_manager", "portfolio", "audit"), "One execution, taken back by the venue",
)  # fmt: skip
POSITIONS_CHANGED: Final = Channel(
    "positions.changed", Kind.LOG, "trade_executor", messages.PositionChanged, "",
    ("risk_manager", "portfolio", "audit"), "Shares that moved without a trade: splits",
)  # fmt: skip
PORTFOLIO_UPDATES: Final = Channel(
    "portfolio.updates", Kind.LOG, "portfolio", messages.PortfolioUpdate, "",
    ("risk_manager", "audit"), "Account values and marked positions",
)  # fmt: skip
RISK_ALERTS: Final = Channel(
    "risk.alerts", Kind.LOG, "risk_manager", messages.RiskAlert, "",
    ("monitoring", "audit"), "Limits reached, trading state changed",
)  # fmt: skip
SYSTEM_HEALTH: Final = Channel(
    "system.health", Kind.BROADCAST, "every service", messages.Heartbeat, "", (),
    "A service's sign of life, each 5 s and on change",
)  # fmt: skip
NOTIFICATIONS: Final = Channel(
    "notifications", Kind.LOG, "any service", messages.Notification, "type",
    ("monitoring", "audit"), "What a person should hear of",
)  # fmt: skip
AUDIT_EVENTS: Final = Channel(
    "audit.events", Kind.LOG, "every service", messages.AuditEvent, "", ("audit",),
    "Who did what to what, with which outcome", length_max=20_000,
)  # fmt: skip
AUDIT_OPERATIONS: Final = Channel(
    "audit.operations", Kind.LOG, "every service", messages.AuditEvent, "", ("audit",),
    "Starts of services, changes of their settings, jobs; a call of the API by itself",
    hours_max=1, length_max=20_000,
)  # fmt: skip
AUDIT_CALLS: Final = Channel(
    "audit.calls", Kind.LOG, "every service", messages.ApiCalls, "", ("audit",),
    "Calls of the API, many in a message", hours_max=1, length_max=500,
)  # fmt: skip
COMMANDS: Final = Channel(
    "commands", Kind.LOG, "scheduler, API", messages.Command, "service",
    ("risk_manager", "trade_executor", "audit"),
    "An order to a service; that service's own group acts on it",
)  # fmt: skip
SECURITY_REVOCATIONS: Final = Channel(
    "security.revocations", Kind.BROADCAST, "security", messages.Revocation, "", (),
    "Who is admitted no more; the table `revocations` is the truth",
)  # fmt: skip
SECURITY_KEY_USES: Final = Channel(
    "security.key_uses", Kind.BROADCAST, "every service", messages.KeyUse, "", (),
    "An API key was used; told by each service at most once a minute a key",
)  # fmt: skip

CHANNELS: Final = (
    MARKET_DATA, SIGNALS, RISK_ASSESSMENTS, ORDERS_APPROVED, ORDERS_EVENTS, TRADES_EXECUTED,
    TRADES_REVERSED, POSITIONS_CHANGED, PORTFOLIO_UPDATES, RISK_ALERTS, SYSTEM_HEALTH,
    NOTIFICATIONS, AUDIT_EVENTS, AUDIT_OPERATIONS, AUDIT_CALLS, COMMANDS, SECURITY_REVOCATIONS,
    SECURITY_KEY_USES,
)  # fmt: skip
LOG_CHANNELS: Final = tuple(channel for channel in CHANNELS if channel.kind is Kind.LOG)


def channel_of(name: str) -> tuple[Channel, str]:
    """Return the channel and key that a Pub/Sub name stands for. Raises ContractError."""
    for channel in CHANNELS:
        if not channel.key and name == channel.topic:
            return channel, ""
        if channel.key and name.startswith(f"{channel.topic}.") and len(name) > len(channel.topic):
            return channel, name[len(channel.topic) + 1 :]
    raise ContractError(f"no channel is named {name!r}")
