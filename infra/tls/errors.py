"""What is wrong with a certificate, and what to do about it."""

from __future__ import annotations


class TlsError(Exception):
    """A certificate or key that cannot be used; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
