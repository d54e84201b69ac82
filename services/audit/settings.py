"""Settings of `audit`."""

from __future__ import annotations

from pydantic import Field

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
