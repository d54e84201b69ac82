"""The error tree: refusals are values, operational failures are exceptions."""

from __future__ import annotations

from dataclasses import dataclass, field


class TradewindError(Exception):
    """An operational failure of ours, raised close to its cause."""


class InvalidInputError(TradewindError, ValueError):
    """Input that breaks a stated rule; the message names what and where."""


class NotFoundError(TradewindError, LookupError):
    """The named thing does not exist."""


class ConflictError(TradewindError):
    """The request contradicts the present state."""


class UnavailableError(TradewindError):
    """A dependency did not answer in time or is not there."""


class ContractError(TradewindError):
    """A message that does not satisfy its contract."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A business "no" with a stable code and the facts behind it.

    `code` is upper snake case and part of the contract; `context` holds strings that can be
    shown and stored.
    """

    code: str
    context: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.context.items())
        return f"{self.code}({facts})"
