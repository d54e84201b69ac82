"""What passes between the service and the process of a run: a file in, lines of JSON out."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from libs.common.backtest.request import Request
from services.backtester.pulse_file import PULSE

JOB: Final = "job.json"
LOG: Final = "log.txt"
STUCK: Final = "stuck.txt"
BARS: Final = "bars.csv"
SESSION: Final = "session.pickle"
PRIVATE: Final = frozenset({JOB, PULSE, STUCK, BARS, SESSION})
"""Files of a folder that are no artefacts."""


class Job(Struct, frozen=True, kw_only=True):
    """A request with where its bars lie: `bars` exported from the database, `session` what was
    recorded, `data` the folder below which files may be named. `locate`: step through it slowly,
    to find where it hangs."""

    request: Request
    strategy_dirs: tuple[str, ...]
    bars: str = ""
    session: str = ""
    data: str = ""
    locate: bool = False


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the process: how far it is, what came of it, or what was wrong."""

    stage: str = ""
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    error: str = ""
