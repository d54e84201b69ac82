"""What can keep the system from running, said so that a person can act on it."""

from __future__ import annotations

from libs.common.kernel.errors import TradewindError


class EmbeddedError(TradewindError):
    """The run cannot go on; the message names what and where, `remedy` what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class PortTakenError(EmbeddedError):
    """A port that a part of the system needs belongs to somebody else."""


class AlreadyRunningError(EmbeddedError):
    """Another supervisor holds this home."""


class StartError(EmbeddedError):
    """A part did not become ready; the message carries the end of its log."""
