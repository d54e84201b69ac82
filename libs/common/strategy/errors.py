"""What can be wrong with a strategy, told so that its author can mend it."""

from __future__ import annotations

from pathlib import Path

from libs.common.kernel.errors import InvalidInputError, TradewindError


class DefinitionError(TradewindError):
    """A strategy class that breaks a rule of the interface."""


class InvalidParamsError(InvalidInputError):
    """Parameters that break the strategy's schema; `problems` names each."""

    def __init__(self, strategy: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{strategy}: " + "; ".join(problems))
        self.problems = problems


class LayoutError(TradewindError):
    """Saved bytes that do not fit the strategy's memory."""


class StepError(TradewindError):
    """A step that failed on a bar; `reason` names the bar."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class InvalidDecisionError(StepError):
    """A step that wrote a decision outside its range."""


class StepRaisedError(StepError):
    """A step that raised; it is the cause of this error."""


class StrategyFileError(TradewindError):
    """A strategy file that was refused: which, where and why. `line` is 0 where none is known."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
