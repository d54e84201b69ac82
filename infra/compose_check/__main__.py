"""`make compose-check`: build the Compose stack, see it trade and be observed, take it down.

Needs a Docker engine (DOCKER_HOST) with Compose. Runs as a project of its own on free ports,
beside whatever else runs, and removes its containers and volumes at the end. `--keep` leaves the
stack up; `--no-build` takes the images that are there; `--quick` ends before anything is broken.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from infra.compose_check.conditions import (
    boards_away,
    differences,
    not_trading,
    targets_down,
    unhealthy,
    unrouted,
)
from infra.compose_check.hardening import loose, reachable, unhardened, wide_open
from infra.compose_check.outages import break_and_mend
from infra.compose_check.panels import empty_panels, expressions
from infra.compose_check.people import People
from infra.compose_check.stack import CheckError, Stack, until
from infra.routes import ROUTES

UP_TIMEOUT_S = 3000.0
HEALTHY_TIMEOUT_S = 300.0
TRADES_TIMEOUT_S = 240.0
TARGETS_TIMEOUT_S = 60.0
QUERIES_TIMEOUT_S = 240.0


def check(stack: Stack, *, build: bool, quick: bool) -> None:
    """Do all checks; raises CheckError at the first that fails."""
    started = time.monotonic()
    stack.compose("up", "--build" if build else "--no-build", "--detach", timeout_s=UP_TIMEOUT_S)
    print(f"ok   started ({time.monotonic() - started:.0f} s)", flush=True)
    until("all containers healthy", HEALTHY_TIMEOUT_S, partial(unhealthy, stack))
    until("only the gateway is published, on the loopback", 5, partial(wide_open, stack))
    until("containers have no more rights than they are to", 5, partial(loose, stack))
    until("nobody reaches whom they need not", 30, partial(reachable, stack))
    until("HTTPS only, and nothing beside the routes", 10, partial(unhardened, stack))
    for route in ROUTES:
        until(f"{route.path} is routed", 30, partial(unrouted, stack, route.path))
    until("it trades", TRADES_TIMEOUT_S, partial(not_trading, stack))
    until("Prometheus scrapes every service", TARGETS_TIMEOUT_S, partial(targets_down, stack))
    waiting = list(expressions())
    until("every panel has data", QUERIES_TIMEOUT_S, partial(empty_panels, stack, waiting))
    until("Grafana and Gotify answer under their paths", 60, partial(boards_away, stack))
    people = People(stack)
    people.arrive()
    until("their key works, the order is there", 30, people.forgotten)
    until("that is on record, and from where it came", 60, people.unrecorded)
    until("no difference with the broker", 60, partial(differences, stack))
    if not quick:
        break_and_mend(stack, people)


def main() -> int:
    """Run the check; return the exit code."""
    wishes = sys.argv[1:]
    stack = Stack()
    try:
        check(stack, build="--no-build" not in wishes, quick="--quick" in wishes)
    except CheckError as error:
        print(f"FAIL {error}", flush=True)
        try:
            print(stack.compose("ps", "--all"))
            print(stack.compose("logs", "--no-color", "--tail", "15")[-20_000:])
        except CheckError as further:
            print(further)
        return 1
    finally:
        if "--keep" not in wishes:
            stack.compose("down", "--volumes", "--remove-orphans", timeout_s=180)
    print("the stack is fine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
