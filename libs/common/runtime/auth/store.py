"""What the database says about keys and revocations."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select

from libs.common.runtime.database import Database
from libs.common.runtime.schema.security import revocations, verification_keys


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public half of a signing key, and whose it is."""

    issuer: str
    public: Ed25519PublicKey
    not_after: dt.datetime | None


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """All that is needed to check tokens: keys by `kid`, revocation times by subject."""

    keys: dict[str, VerificationKey]
    revoked: dict[str, dt.datetime]


async def read_facts(database: Database) -> AccessFacts:
    """Return the present keys and revocations, of one snapshot. Raises UnavailableError."""
    async with database.read() as tx:
        keys = await tx.rows(select(verification_keys))
        revoked = await tx.rows(
            select(revocations.c.subject, revocations.c.revoked_at).where(
                revocations.c.expires_at > func.now()
            )
        )
    return AccessFacts(
        {
            row["kid"]: VerificationKey(
                row["issuer"],
                Ed25519PublicKey.from_public_bytes(row["public_key"]),
                row["not_after"],
            )
            for row in keys
        },
        {row["subject"]: row["revoked_at"] for row in revoked},
    )
