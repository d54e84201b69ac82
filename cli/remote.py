"""Runs in the queue of the running system's backtester, seen to their end from here."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from cli.client import Gateway
from cli.errors import CommandError

RUNS: Final = "/api/v1/backtests"
POLL_S: Final = 0.5
_OVER: Final = frozenset({"done", "failed", "cancelled", "interrupted"})


def run_remotely(kind: str, **request: Any) -> dict[str, Any]:
    """Submit a run, show how far it is, return it once it is done; `folder` says where its files
    are. Ctrl-C leaves it in the queue. Raises CommandError for one that does not end well."""
    from rich.console import Console

    told = Console(stderr=True)
    body = {"kind": kind, **msgspec.to_builtins(request)}
    with Gateway() as gateway:
        run = gateway.post(RUNS, body)
        place = f"{RUNS}/{run['id']}"
        told.print(f"run {run['id']}", highlight=False)
        try:
            with told.status("queued") as status:
                while run["status"] not in _OVER:
                    time.sleep(POLL_S)
                    run = gateway.get(place)
                    status.update(_stage(run))
        except KeyboardInterrupt:
            raise CommandError(
                f"it goes on as {run['id']}; cancel it: POST {place}/cancel"
            ) from None
    if run["status"] != "done":
        raise CommandError(f"run {run['id']} {run['status']}: {run['error'] or 'no reason given'}")
    return {**run, "folder": f"{place}/artefacts"}


def _stage(run: dict[str, Any]) -> str:
    progress = run["progress"]
    if not progress:
        return str(run["status"])
    return f"{progress['stage']} {progress['done']:,} of {progress['total']:,}"
