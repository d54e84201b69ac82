"""Stops, starts and losses of containers, and what must be there afterwards."""

from __future__ import annotations

from functools import partial
from typing import Final

from infra.compose_check.conditions import (
    differences,
    newest_trade,
    no_trade_since,
    unhealthy,
)
from infra.compose_check.people import People
from infra.compose_check.stack import Stack, until
from infra.routes import PORTS

UP_TIMEOUT_S: Final = 600.0
HEALTHY_TIMEOUT_S: Final = 300.0
TRADE_TIMEOUT_S: Final = 240.0
VERIFY_TIMEOUT_S: Final = 600.0
LOST: Final = ("postgres", "redis", "gateway", "prometheus", "grafana", "gotify")
"""Killed from outside, which the engine takes for a wish; `up` starts them again."""
VERIFY: Final = ("exec", "-T", "audit", "python", "-m", "services.audit.verify")


def break_and_mend(stack: Stack, people: People) -> None:
    """Do to the stack what happens to stacks; raises CheckError when it does not recover."""
    for name in PORTS:
        _crash(stack, name)
        _whole_again(stack, people, f"{name} crashed")
    for name in LOST:
        stack.compose("kill", name)
        _up(stack)
        _whole_again(stack, people, f"{name} was killed")
    _up(stack)
    _whole_again(stack, people, "`up` over the running stack")
    _up(stack, "--force-recreate")
    _whole_again(stack, people, "every container was made anew")
    stack.compose("stop", timeout_s=UP_TIMEOUT_S)
    _up(stack)
    _whole_again(stack, people, "stop and start")
    stack.compose("down", timeout_s=UP_TIMEOUT_S)
    _up(stack)
    _whole_again(stack, people, "down and up, with the volumes kept")
    stack.compose(*VERIFY, timeout_s=VERIFY_TIMEOUT_S)  # fails unless the chain is whole
    print("ok   the record verifies", flush=True)


def _crash(stack: Stack, name: str) -> None:
    """Kill a service from inside: the engine must start it again by itself."""
    before = _started_at(stack, name)
    stack.compose("exec", "--detach", name, "sh", "-c", "kill -9 -1")
    until(f"{name} is started again", 60, partial(_same_life, stack, name, before))


def _started_at(stack: Stack, name: str) -> str:
    return str(stack.inspected()[name]["State"]["StartedAt"])


def _same_life(stack: Stack, name: str, before: str) -> str:
    return f"{name} has not died" if _started_at(stack, name) == before else ""


def _up(stack: Stack, *options: str) -> None:
    stack.compose("up", "--no-build", "--detach", *options, timeout_s=UP_TIMEOUT_S)


def _whole_again(stack: Stack, people: People, what: str) -> None:
    """Wait until all are healthy, nothing is forgotten, and it trades on with equal books."""
    until(f"healthy after: {what}", HEALTHY_TIMEOUT_S, partial(unhealthy, stack))
    until("     nothing is forgotten", 60, people.forgotten)
    until("     requests are on record, and from where", 60, people.unrecorded)
    last = newest_trade(stack)
    until("     it trades on", TRADE_TIMEOUT_S, partial(no_trade_since, stack, last))
    until("     no difference with the broker", 60, partial(differences, stack))
