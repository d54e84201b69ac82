"""Settings of `portfolio`."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import ServiceSettings


class PortfolioSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; times in wall seconds."""

    port: int = Field(default=9105, ge=0, le=65535)
    portfolio_update_s: float = Field(default=1.0, gt=0, le=60)
    """The account is valued this often, and published then if the book has changed."""
    portfolio_publish_s: float = Field(default=5.0, gt=0, le=300)
    """Where only prices have changed, it is published at most this often: every update is kept
    in the audit log for ever."""
    portfolio_mark_age_s: float = Field(default=30.0, gt=0)
    """In regular hours a mark that reached us longer ago is stale."""
    portfolio_reload_s: float = Field(default=30.0, gt=0)
    """The book is read again this often even when no execution was heard of."""
    portfolio_snapshot_s: float = Field(default=60.0, gt=0)
    """How often the day's snapshot is brought up to date before the close."""
    portfolio_equity_s: float = Field(default=10.0, gt=0)
    """How often a point is added to the equity series."""
