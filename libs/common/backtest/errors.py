"""What can be wrong with a backtest, told so that whoever asked for it can mend it."""

from __future__ import annotations

from libs.common.kernel.errors import InvalidInputError


class SpecError(InvalidInputError):
    """A request that breaks a rule; the message names the field."""


class DataError(InvalidInputError):
    """Bars that cannot be used; the message names file, line, symbol and bar."""
