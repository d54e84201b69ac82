"""Tables of `security`: who there is, what proves it, and what a second person must agree to.

What other services need to check a token or a key is readable by all; what must not leave the
security service (password hashes, private keys, sessions) is private, see `base.PRIVATE`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from libs.common.runtime.schema.base import Id, Instant, Json, table

WRITER = ("security",)
_NO_TEXTS = text("'{}'::text[]")

users = table(
    "users",
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    # The accounts that the user may see; `*` is all of them.
    Column("accounts", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("must_change_password", Boolean, nullable=False, server_default=text("false")),
    Column("totp_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("password_changed_at", Instant, nullable=False),
    CheckConstraint("state IN ('active', 'disabled')", name="state_known"),
    CheckConstraint("name = lower(name)", name="name_lower"),
    writers=WRITER,
)

user_credentials = table(
    "user_credentials",
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("totp_secret", Text),
    Column("totp_last_step", BigInteger),
    Column("recovery_hashes", ARRAY(Text), nullable=False, server_default=_NO_TEXTS),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_failure_at", Instant),
    Column("locked_until", Instant),
    writers=WRITER,
    private=True,
)

# A session is a family of refresh tokens; its id is the claim `sid` of its access tokens.
sessions = table(
    "sessions",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("stepped_up_at", Instant),
    Column("revoked_at", Instant),
    Column("revoked_reason", Text),
    Index("ix_sessions_user_id", "user_id"),
    writers=WRITER,
    private=True,
)

refresh_tokens = table(
    "refresh_tokens",
    Column("hash", LargeBinary, primary_key=True),
    Column("session_id", Id, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("expires_at", Instant, nullable=False),
    Index("ix_refresh_tokens_session_id", "session_id"),
    writers=WRITER,
    private=True,
)

signing_keys = table(
    "signing_keys",
    Column("kid", Text, primary_key=True),
    Column("private_key", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("retired_at", Instant),
    writers=WRITER,
    private=True,
)

# Public halves: `issuer` is `tradewind`, or `service:<name>` (written by `infra.migrate`).
verification_keys = table(
    "verification_keys",
    Column("kid", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("not_after", Instant),
    CheckConstraint("octet_length(public_key) = 32", name="public_key_length"),
    Index("ix_verification_keys_issuer", "issuer"),
    writers=WRITER,
)

api_keys = table(
    "api_keys",
    Column("id", Text, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("accounts", ARRAY(Text), nullable=False),
    Column("networks", ARRAY(Text), nullable=False, server_default=_NO_TEXTS),
    Column("rate_per_minute", Integer, nullable=False),
    Column("may_step_up", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    CheckConstraint("rate_per_minute > 0", name="rate_positive"),
    Index("ix_api_keys_user_id", "user_id"),
    writers=WRITER,
)

api_key_uses = table(
    "api_key_uses",
    Column("key_id", Text, ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("last_used_at", Instant, nullable=False),
    Column("last_ip", Text),
    writers=WRITER,
    private=True,
)

# `subject` is `session:<uuid>`, `user:<uuid>` or `key:<id>`; tokens made before `revoked_at`
# are void. A row may go when the last token that it could hit has expired.
revocations = table(
    "revocations",
    Column("subject", Text, primary_key=True),
    Column("revoked_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index("ix_revocations_expires_at", "expires_at"),
    writers=WRITER,
)

stored_secrets = table(
    "stored_secrets",
    Column("name", Text, primary_key=True),
    Column("ciphertext", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    writers=WRITER,
    private=True,
    readers=("trade_executor", "data_collector"),
)

# What waits for a second person; each service acts on its own rows only.
proposals = table(
    "proposals",
    Column("id", Id, primary_key=True),
    Column("service", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposer_id", Text, nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("decision", Text),
    Column("decided_by", Text),
    Column("decider_id", Text),
    Column("decided_at", Instant),
    Column("outcome", Text),
    CheckConstraint("decision IN ('approved', 'rejected')", name="decision_known"),
    CheckConstraint("decider_id <> proposer_id OR decision = 'rejected'", name="two_people"),
    Index("ix_proposals_service_proposed_at", "service", "proposed_at"),
    writers=("risk_manager", "strategy_engine"),
)
