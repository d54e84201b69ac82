"""What a person chooses for a run, from the environment (`make run FEED=replay FILE=…`)."""

from __future__ import annotations

import hashlib
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from infra.embedded.errors import EmbeddedError
from infra.routes import PORTS, ROOT

ALPACA_KEY_NAMES = ("APCA_API_KEY_ID", "ALPACA_API_KEY", "ALPACA_KEY")
ALPACA_SECRET_NAMES = ("APCA_API_SECRET_KEY", "ALPACA_SECRET_KEY", "ALPACA_SECRET")
SHORT_NAMES = frozenset({"FEED", "FILE", "BROKER", "FACTOR", "SYMBOLS"})
SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,31}")
DETOUR = re.compile(r"([a-z_]+)>([a-z_]+)=([1-9][0-9]{0,4})")
SERVERS = frozenset({"postgres", "redis", "broker_simulator", "risk_manager"})


class Feed(StrEnum):
    """What the simulated market plays."""

    HISTORY = "history"
    REPLAY = "replay"
    SYNTHETIC = "synthetic"


class Broker(StrEnum):
    """Who executes."""

    SIMULATOR = "simulator"
    ALPACA = "alpaca"


class BrokerKeys(StrEnum):
    """Where the broker's keys are: in the environment, or where only the services look for them
    (stored by `tradewind secret set`, or in Vault)."""

    GIVEN = "given"
    STORED = "stored"


class PortChoice(StrEnum):
    """`fixed`: the documented ports; `auto`: any free ones (for tests, or a second system)."""

    FIXED = "fixed"
    AUTO = "auto"


class TlsVersion(StrEnum):
    """The oldest TLS that the gateway speaks."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


def _either(name: str) -> AliasChoices:
    return AliasChoices(f"TRADEWIND_{name}", name)


class EmbeddedSettings(BaseSettings):
    """One run's choices; each may also be written with the prefix TRADEWIND_."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=False
    )

    home: Path = Field(default=ROOT / "var", validation_alias=AliasChoices("TRADEWIND_HOME"))
    feed: Feed = Field(default=Feed.HISTORY, validation_alias=_either("FEED"))
    file: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), validation_alias=_either("FILE")
    )
    broker: Broker = Field(default=Broker.SIMULATOR, validation_alias=_either("BROKER"))
    broker_keys: BrokerKeys = Field(
        default=BrokerKeys.GIVEN, validation_alias=AliasChoices("TRADEWIND_BROKER_KEYS")
    )
    factor: float | None = Field(
        default=None, gt=0, le=100_000, allow_inf_nan=False, validation_alias=_either("FACTOR")
    )
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias=_either("SYMBOLS")
    )
    ports: PortChoice = Field(
        default=PortChoice.FIXED, validation_alias=AliasChoices("TRADEWIND_PORTS")
    )
    redis_url: str = Field(
        default="",
        pattern=r"^(rediss?://.+)?$",
        validation_alias=AliasChoices("TRADEWIND_REDIS_URL"),
    )
    broker_via: str = Field(
        default="",
        pattern=r"^(https?://.+)?$",
        validation_alias=AliasChoices("TRADEWIND_BROKER_VIA"),
    )
    via: Annotated[dict[tuple[str, str], int], NoDecode] = Field(
        default={}, validation_alias=AliasChoices("TRADEWIND_VIA")
    )
    # The gateway: the owner's certificate, TLS 1.2 beside 1.3, more names to answer to.
    tls_cert: Path | None = Field(default=None, validation_alias=AliasChoices("TRADEWIND_TLS_CERT"))
    tls_key: Path | None = Field(default=None, validation_alias=AliasChoices("TRADEWIND_TLS_KEY"))
    tls_min: TlsVersion = Field(
        default=TlsVersion.TLS_1_3, validation_alias=AliasChoices("TRADEWIND_TLS_MIN")
    )
    gateway_names: str = Field(default="", validation_alias=AliasChoices("TRADEWIND_GATEWAY_NAMES"))
    free_mb_min: int = Field(
        default=512, ge=1, validation_alias=AliasChoices("TRADEWIND_DISK_FREE_MB_MIN")
    )
    log_mb_max: int = Field(default=20, ge=1, validation_alias=AliasChoices("TRADEWIND_LOG_MB_MAX"))
    log_parts: int = Field(default=3, ge=1, validation_alias=AliasChoices("TRADEWIND_LOG_PARTS"))
    # A service that runs and does not answer, asked this often, this many times in a row, hangs:
    # it is killed and started again.
    hung_probe_s: float = Field(
        default=5.0, gt=0, validation_alias=AliasChoices("TRADEWIND_HUNG_PROBE_S")
    )
    hung_misses: int = Field(
        default=10, ge=1, validation_alias=AliasChoices("TRADEWIND_HUNG_MISSES")
    )
    ready_timeout_s: float = Field(
        default=90.0, gt=0, validation_alias=AliasChoices("TRADEWIND_READY_TIMEOUT_S")
    )

    @field_validator("home", "tls_cert", "tls_key", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("file", mode="before")
    @classmethod
    def _files(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(Path(name).expanduser().absolute() for name in names)

    @field_validator("symbols", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [part.strip().upper() for part in value.split(",") if part.strip()]
        for name in names:
            if SYMBOL.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not a symbol")
        return tuple(dict.fromkeys(names))

    @field_validator("via", mode="before")
    @classmethod
    def _detours(cls, value: object) -> object:
        """Read `service>server=port, …`."""
        if not isinstance(value, str):
            return value
        found = {}
        for part in filter(None, (part.strip() for part in value.split(","))):
            match = DETOUR.fullmatch(part)
            if match is None or match[1] not in PORTS or match[2] not in SERVERS:
                raise ValueError(f"{part!r} is not <service>><postgres|redis|…>=<port>")
            if int(match[3]) > 65_535:
                raise ValueError(f"{part!r}: there is no such port")
            found[match[1], match[2]] = int(match[3])
        return found

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.feed is Feed.REPLAY and not self.file:
            raise ValueError("FEED=replay needs FILE=<Parquet or CSV files, comma-separated>")
        if self.file and self.feed is not Feed.REPLAY:
            raise ValueError("FILE is only read with FEED=replay")
        if self.broker is Broker.ALPACA and self.feed is not Feed.HISTORY:
            raise ValueError("BROKER=alpaca brings its own market; leave FEED away")
        if self.broker is Broker.ALPACA and self.factor is not None:
            raise ValueError("BROKER=alpaca runs in real time; leave FACTOR away")
        if self.broker is Broker.ALPACA and self.broker_via:
            raise ValueError("BROKER=alpaca is spoken to directly; leave TRADEWIND_BROKER_VIA away")
        servers = {server for _, server in self.via}
        if self.broker is Broker.ALPACA and "broker_simulator" in servers:
            raise ValueError("BROKER=alpaca runs no simulator to go around to with TRADEWIND_VIA")
        if self.redis_url and "redis" in servers:
            raise ValueError("TRADEWIND_VIA leads to our own Redis, not to TRADEWIND_REDIS_URL")
        return self

    @property
    def books(self) -> str:
        """Return the name of the books of this market: one set for each broker, feed and file."""
        if self.broker is Broker.ALPACA:
            return "alpaca"
        if not self.file:
            return self.feed.value
        mark = hashlib.sha256("\n".join(map(str, self.file)).encode()).hexdigest()[:6]
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", self.file[0].stem)[:40]
        return f"replay-{stem}-{mark}"


def load() -> EmbeddedSettings:
    """Read the settings; raises EmbeddedError naming every one that does not fit."""
    try:
        settings = EmbeddedSettings()
    except ValidationError as error:
        lines = [
            f"{_shown(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise EmbeddedError("; ".join(lines), "see the settings table in docs/operations.md") from (
            error
        )
    except SettingsError as error:
        raise EmbeddedError(str(error)) from error
    for path in settings.file:
        _check_file(path)
    return settings


def _shown(location: tuple[int | str, ...]) -> str:
    """Return a setting's name as people write it: FEED, not TRADEWIND_FEED."""
    name = str(location[0]) if location else "settings"
    short = name.removeprefix("TRADEWIND_")
    return short if short in SHORT_NAMES else name


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise EmbeddedError(
                    f"FILE: {path} is empty", "give a Parquet or CSV file with rows"
                )
    except OSError as error:
        raise EmbeddedError(
            f"FILE: {path} cannot be read: {error.strerror or error}",
            "give the path of a readable Parquet or CSV file",
        ) from error


def alpaca_keys() -> tuple[str, str]:
    """Return key and secret of the Alpaca account; raises EmbeddedError naming what is missing."""
    key = next((os.environ[name] for name in ALPACA_KEY_NAMES if os.environ.get(name)), "")
    secret = next((os.environ[name] for name in ALPACA_SECRET_NAMES if os.environ.get(name)), "")
    missing = [
        names[0]
        for value, names in ((key, ALPACA_KEY_NAMES), (secret, ALPACA_SECRET_NAMES))
        if not value
    ]
    if missing:
        raise EmbeddedError(
            f"BROKER=alpaca needs {' and '.join(missing)} in the environment",
            "make keys for a paper account at https://app.alpaca.markets and export them; "
            "docs/how-to/alpaca-paper.md tells how. TRADEWIND_BROKER_KEYS=stored takes those of "
            "`tradewind secret set` or Vault",
        )
    return key, secret
