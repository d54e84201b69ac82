"""What the faults strike at: the running system with its links, disk and clocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from infra.routes import PORTS
from tests.chaos.clocks import Clocks
from tests.chaos.links import Links
from tests.support.full_disk import SmallDisk
from tests.support.system import System, http

T = TypeVar("T")

READY_S_MAX = 2.0
STARTS_MAX = 4


class MissedError(Exception):
    """The fault found nothing to strike."""


@dataclass
class Stage:
    """The system and everything that can be done to it; None where the machine forbids it."""

    system: System
    links: Links
    disk: SmallDisk | None
    clocks: Clocks | None
    _starting: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def started_again(self) -> Iterator[None]:
        """Let the block end the supervisor; start another after it, one at a time.

        A start may meet the other faults of its round, a full disk for one, and give up as it
        should; then it is tried again, as an operator would.
        """
        with self._starting:
            try:
                yield
            finally:
                for attempt in range(1, STARTS_MAX + 1):
                    try:
                        self.system.start()
                        break
                    except AssertionError:
                        if attempt == STARTS_MAX:
                            raise
                        time.sleep(5)

    def pid(self, name: str, within_s: float = 20.0) -> int:
        """Return the process id of a part, which may just be coming back. Raises MissedError."""
        found = patiently(lambda: self.system.pid(name), within_s)
        if found is None:
            raise MissedError(f"{name} does not run")
        return found

    def not_ready(self) -> dict[str, str]:
        """Return what is not ready and why; nothing when all is well."""
        state = self.system.state()
        reasons = {}
        for name in (*PORTS, "gateway"):
            if name not in state.get("ports", {}):
                reasons[name] = "the system is not up"
                continue
            path = "/health" if name == "gateway" else "/ready"
            url = f"{self.system.url(name)}{path}"
            try:
                answer = http.get(url, timeout=READY_S_MAX)
            except httpx.HTTPError as error:
                reasons[name] = f"{type(error).__name__} {error}".strip()
                continue
            if answer.status_code != 200:
                reasons[name] = answer.text[:300]
        return reasons


def patiently(look: Callable[[], T | None], within_s: float, pause_s: float = 0.1) -> T | None:
    """Return what `look` finds, asking again until it finds something or the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(pause_s)
