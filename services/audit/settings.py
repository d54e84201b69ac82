"""Settings of `audit`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from libs.common.runtime.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`."""

    port: int = Field(default=8010, ge=0, le=65535)
    audit_batch: int = Field(default=500, ge=1, le=10_000)
    """Messages taken from each stream at once; one transaction holds what all of them gave."""
    audit_block_ms: int = Field(default=1000, ge=10, le=60_000)
    audit_gather_ms: float = Field(default=20.0, ge=0, le=1000)
    """How long messages gather after a batch that was not full. No order waits for the record, and
    the processor is wanted by what an order does wait for."""
    audit_lag_s: float = Field(default=5.0, gt=0)
    """How often the backlog is measured and the known head is looked up again."""
    audit_verify_s: float = Field(default=3600.0, gt=0)
    """How often the whole chain is verified in the background."""
    audit_key: SecretStr = SecretStr("")
    """The seed of the key that anchors are signed with, 32 bytes in URL-safe base64. Empty: no
    anchors are made."""
    audit_keys_former: Annotated[tuple[str, ...], NoDecode] = ()
    """Public keys of the time before the last change of `audit_key`, comma-separated."""
    audit_anchors: str = ""
    """The folder of the anchors. Empty: none are made."""
    audit_anchor_s: float = Field(default=3600.0, gt=0)
    """How often what is new today is anchored; each day's last word follows after midnight."""
    audit_deliver_s: float = Field(default=60.0, gt=0)
    """How often what a target of the anchors has not got yet is sent again."""
    audit_anchor_git: str = ""
    """A Git repository that every anchor is committed to; pushed where it has a remote."""
    audit_anchor_post_url: str = ""
    """Where every new anchor is sent by HTTP POST."""

    @field_validator("audit_keys_former", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value
