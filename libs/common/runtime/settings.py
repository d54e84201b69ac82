"""Settings every service shares; a service's own settings class inherits from this one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from libs.common.runtime.auth.clients import is_host_name, networks_of
from libs.common.runtime.secrets.vault import VaultSource

DEFAULT_SYMBOLS = (
    "AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO",
    "LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH", "WMT", "XOM",
)  # fmt: skip

DATABASE_SCHEMES = ("postgresql", "postgresql+psycopg")
REDIS_SCHEMES = ("redis", "rediss", "unix")


class _NamedFiles(PydanticBaseSettingsSource):
    """Values from the files that `<PREFIX><FIELD>_FILE` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the field's file, None where no file is named."""
        prefix = self.config.get("env_prefix") or ""
        variable = f"{prefix}{field_name}_FILE".upper()
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\n"), field_name, False
        except OSError as error:
            raise SettingsError(f"{variable}: {path}: {error.strerror}") from error

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields that have a file."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class ServiceSettings(BaseSettings):
    """Environment variables `TRADEWIND_<FIELD>`.

    A variable `TRADEWIND_<FIELD>_FILE` names a file whose content (less the last newline) is the
    value, so that secrets can come as files. What is missing of the secrets then comes from Vault,
    where VAULT_ADDR is set.
    """

    model_config = SettingsConfigDict(
        env_prefix="TRADEWIND_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    instance: str = Field(default="0", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")

    database_url: SecretStr = SecretStr("postgresql://tradewind@127.0.0.1:5432/tradewind")
    database_pool_size: int = Field(default=8, ge=1, le=100)
    database_timeout_s: float = Field(default=5.0, gt=0)
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_timeout_s: float = Field(default=5.0, gt=0)
    # Keys of fields that are encrypted at rest, newest first; only some services are given them.
    encryption_keys: SecretStr = SecretStr("")

    # The seed of the key that this service signs with when it asks others: 64 hex digits.
    service_key: SecretStr = SecretStr("")

    # Networks and names of hosts whose X-Forwarded-For is believed: where the gateway's requests
    # come from.
    trusted_gateway: Annotated[tuple[str, ...], NoDecode] = ()
    # How often the uses of API keys are told to the security service.
    key_uses_s: float = Field(default=60.0, gt=0)
    # What loosens a safeguard needs a second person: always, never, or as soon as two active users
    # could agree to it; and how long that may take.
    four_eyes: Literal["auto", "always", "off"] = "auto"
    proposal_minutes: float = Field(default=15.0, gt=0, le=1440)

    account_id: str = Field(default="main", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    symbols: Annotated[tuple[str, ...], NoDecode] = DEFAULT_SYMBOLS
    clock_url: str = ""
    clock_poll_s: float = Field(default=1.0, gt=0)

    heartbeat_s: float = Field(default=5.0, gt=0)
    # How long a desk's holder may give no sign of life before one that stands by takes it over.
    desk_lease_s: float = Field(default=15.0, gt=1)
    # How long the event loop may stand still before the process ends itself.
    loop_blocked_s_max: float = Field(default=120.0, gt=1)
    body_bytes_max: int = Field(default=1_048_576, gt=0)
    # How often the calls of the API that have gathered are put on record, and how many may gather.
    call_records_s: float = Field(default=0.5, gt=0)
    call_records_max: int = Field(default=10_000, ge=1)
    # A body must be there in this time: less than what the gateway gives it.
    body_timeout_s: float = Field(default=20.0, gt=0)
    # Of what comes through the gateway, for each address and for each token or key.
    requests_per_second: float = Field(default=100.0, gt=0)
    caller_requests_per_second: float = Field(default=50.0, gt=0)
    requests_at_once: int = Field(default=64, ge=1)
    shutdown_timeout_s: float = Field(default=10.0, gt=0)

    claim_idle_s: float = Field(default=8.0, gt=0)
    deliveries_max: int = Field(default=5, ge=1)
    outbox_sweep_s: float = Field(default=1.0, gt=0)
    stream_days_max: int = Field(default=7, ge=1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, the environment, the files that it names, then (secrets only) Vault."""
        return init_settings, env_settings, _NamedFiles(settings_cls), VaultSource(settings_cls)

    @field_validator("*", mode="after")
    @classmethod
    def _check_address(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        if name.endswith("_url"):
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            check_address(name, text)
        return value

    @field_validator("trusted_gateway", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_gateway", mode="after")
    @classmethod
    def _check_gateways(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            text if is_host_name(text) else str(*networks_of([text], "trusted_gateway"))
            for text in value
        )

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().upper() for part in value.split(",") if part.strip())
        return value


def check_address(name: str, text: str) -> None:
    """Raise PydanticCustomError unless `text` is an address as the setting `name` wants it.

    The message never shows the address: it may hold a password. Empty is for the service to judge,
    except for the servers that every service needs.
    """
    schemes = _schemes(name)
    if not text and schemes not in (DATABASE_SCHEMES, REDIS_SCHEMES):
        return
    example = f"{schemes[0]}://host:port"
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and bool(parts.hostname or parts.path) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise PydanticCustomError(
            "address", "must be an address like {example}", {"example": example}
        )


def _schemes(name: str) -> tuple[str, ...]:
    if name == "database_url":
        return DATABASE_SCHEMES
    if name == "redis_url":
        return REDIS_SCHEMES
    return ("ws", "wss") if name.endswith("stream_url") else ("http", "https")
