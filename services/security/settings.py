"""Settings of `security`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import NoDecode

from libs.common.runtime.settings import ServiceSettings


def _half_of_the_cores() -> int:
    # Four at most unless said: each takes `password_memory_kib`, and containers have limits.
    return max(1, min(4, (os.cpu_count() or 2) // 2))


class SecuritySettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; times in wall seconds."""

    port: int = Field(default=8009, ge=0, le=65535)

    first_password: SecretStr = SecretStr("")
    """The first administrator's password; empty: a random one."""
    first_password_out: Annotated[Path | None, NoDecode] = None
    """The file that a random first password is written to; unset: it is printed, once."""

    # argon2id: about 100 ms on a 2.5 GHz Cascade Lake; see docs/benchmarks.md.
    password_time_cost: int = Field(default=2, ge=1, le=64)
    password_memory_kib: int = Field(default=65_536, ge=8, le=4_194_304)
    password_lanes: int = Field(default=1, ge=1, le=16)
    password_threads: int = Field(default_factory=_half_of_the_cores, ge=1, le=64)
    """How many passwords are hashed at once, each with `password_memory_kib`."""
    password_waiting_max: int = Field(default=32, ge=1, le=10_000)
    """How many more may wait for that before others are told to come again."""
    password_length_min: int = Field(default=12, ge=8, le=128)

    logins_per_minute_user: int = Field(default=10, ge=1)
    logins_per_minute_address: int = Field(default=30, ge=1)
    login_failures_max: int = Field(default=5, ge=1, le=100)
    lock_out_s: float = Field(default=900.0, gt=0)
    refusal_s: float = Field(default=0.25, ge=0)
    """When a refused login is answered, counted from its beginning; doubles with each failure."""
    refusal_s_max: float = Field(default=4.0, ge=0)

    access_token_s: int = Field(default=900, ge=5, le=900)
    refresh_token_s: int = Field(default=43_200, ge=10)
    """How long a session may lie unused."""
    session_s_max: int = Field(default=604_800, ge=10)
    refresh_grace_s: float = Field(default=10.0, ge=0, le=60)
    """How long the answer to a refresh may be asked for again."""
    sessions_per_user_max: int = Field(default=50, ge=1)
    signing_key_s: int = Field(default=2_592_000, ge=60)
    """The age at which the signing key is replaced."""
    signing_publish_s: float = Field(default=5.0, ge=0, le=60)
    """How long a new key is published before it signs: services read the keys every 2 s."""
    signing_check_s: float = Field(default=5.0, gt=0)
    totp_issuer: str = Field(default="Tradewind", pattern=r"^[A-Za-z0-9 _.-]{1,64}$")

    key_days_max: int = Field(default=365, ge=1, le=3650)
    """The longest life of an API key."""
    keys_per_user_max: int = Field(default=50, ge=1, le=10_000)
    key_rate_per_minute: int = Field(default=600, ge=1)
    """How often an API key may be used, unless it says another rate."""
    key_rate_per_minute_max: int = Field(default=60_000, ge=1)
