"""Every kind of fault: how it strikes and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.chaos import blows_processes, blows_servers
from tests.chaos.links import Weather
from tests.chaos.plan import Fault
from tests.chaos.stage import MissedError, Stage

Blow = Callable[[Stage, Fault], AbstractContextManager[str]]
"""Strikes on entry and returns what was hit; takes it back on exit. Raises MissedError."""


@contextmanager
def link(stage: Stage, fault: Fault) -> Iterator[str]:
    """Change the weather on one connection."""
    weather = Weather(fault.kind.removeprefix("link_"))
    hit = stage.links.set(fault.target, weather, fault.size)
    try:
        yield f"{hit} connections"
    finally:
        stage.links.set(fault.target, Weather.CLEAR)


@contextmanager
def clock_jump(stage: Stage, fault: Fault) -> Iterator[str]:
    """Set a service's wall clock, and set it back."""
    assert stage.clocks is not None
    try:
        port = stage.system.state()["ports"][fault.target]
    except KeyError as error:
        raise MissedError("the system is not up") from error
    stage.clocks.move(port, fault.size)
    try:
        yield f"{fault.size:+g} s"
    finally:
        stage.clocks.move(port, 0)


def blow_of(fault: Fault) -> Blow:
    """Return how the fault strikes."""
    if fault.kind.startswith("venue_"):
        return blows_servers.venue
    if fault.kind.startswith("link_"):
        return link
    if fault.kind == "clock_jump":
        return clock_jump
    return {**blows_processes.BLOWS, **blows_servers.BLOWS}[fault.kind]
