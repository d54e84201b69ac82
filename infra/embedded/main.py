"""`python -m infra.embedded`: run the whole system here until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from typing import Any

from rich.console import Console
from rich.markup import escape

from infra.embedded import plan, settings, state, view
from infra.embedded.credentials import Credentials
from infra.embedded.errors import AlreadyRunningError, EmbeddedError
from infra.embedded.home import Home
from infra.embedded.operator import operator_of
from infra.embedded.runner import Journal, Runner, log_files
from infra.embedded.settings import EmbeddedSettings
from infra.embedded.state import RunState
from libs.common.runtime.clocks import SystemClock

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATE_TIMEOUT_S = 5.0
COLOURS = {"info": "green", "warning": "yellow", "error": "red"}


def main() -> int:
    """Run the system, or show the one that runs; return the exit code."""
    console = Console(highlight=False)
    try:
        chosen = settings.load()
        home = Home(chosen.home, chosen.books)
        home.prepare(chosen.free_mb_min)
        try:
            with state.only_one(home.lock_file):
                return asyncio.run(_run(chosen, home, console))
        except AlreadyRunningError:
            return asyncio.run(_attach(home, console))
    except EmbeddedError as error:
        print_error(console, error)
        return 1


def print_error(console: Console, error: EmbeddedError) -> None:
    """Say what is wrong and what to do."""
    console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
    if error.remedy:
        console.print(escape(error.remedy), soft_wrap=True)


async def _run(chosen: EmbeddedSettings, home: Home, console: Console) -> int:
    quiet = asyncio.Event()

    def tell(level: str, text: str) -> None:
        if not quiet.is_set():
            console.print(f"[{COLOURS[level]}]●[/] {escape(text)}", soft_wrap=True)

    journal = Journal(log_files(home, chosen.log_mb_max, chosen.log_parts), SystemClock(), tell)
    for name in await asyncio.to_thread(state.end_leftovers, home):
        journal("warning", f"ended {name}, left over from a run that was killed")
    credentials = Credentials(home)
    made = plan.make(chosen, home, credentials)
    runner = Runner(made, credentials.secret("postgres"), credentials.secret("redis"), journal)
    stopping = _stop_event()
    code = 0
    was_told = home.admin_password.exists()
    try:
        console.print(f"[bold]Tradewind[/bold] starts; books: {home.books}; state: {home.root}")
        await _unless(stopping, runner.start())
        if not stopping.is_set():
            running = state.read(home)
            assert running is not None
            print_addresses(console, running)
            if not was_told:
                print_first_password(console, home)
            quiet.set()
            await _unless(
                stopping,
                view.show(
                    running,
                    journal.logs,
                    console,
                    "Ctrl-C stops the system",
                    operator_of(home),
                ),
            )
    except EmbeddedError as error:
        quiet.clear()
        print_error(console, error)
        code = 1
    finally:
        quiet.clear()
        console.print("stopping …")
        await runner.stop()
    console.print("stopped; the next run continues these books" if code == 0 else "stopped")
    return code


async def _attach(home: Home, console: Console) -> int:
    """Show the system that runs already; leaving the view leaves it running."""
    running = await _await_state(home)
    if running is None:
        raise EmbeddedError(
            f"another process holds {home.lock_file} but does not say what it runs",
            "wait a moment and try again; `tradewind doctor` looks closer",
        )
    console.print(f"Tradewind already runs (pid {running.pid}, books: {running.books})")
    if running.books != home.books:
        console.print(f"[yellow]stop it first to run the books {escape(home.books)}[/yellow]")
        return 1
    print_addresses(console, running)
    stopping = _stop_event()
    logs = log_files(home, 1, 1)
    looking = view.show(running, logs, console, "Ctrl-C closes the view", operator_of(home))
    await _unless(stopping, looking)
    console.print("the view is closed; the system goes on (stop it with `tradewind down`)")
    return 0


async def _await_state(home: Home) -> RunState | None:
    deadline = time.monotonic() + STATE_TIMEOUT_S
    while time.monotonic() < deadline:
        found = state.read(home)
        if found is not None:
            return found
        await asyncio.sleep(0.1)
    return None


def print_addresses(console: Console, running: RunState) -> None:
    """Say where everything answers."""
    console.print(f"  gateway           {running.gateway}/api/v1/…")
    for name, port in running.ports.items():
        if name in ("postgres", "redis"):
            console.print(f"  {name:<17} 127.0.0.1:{port}")
        elif name == "gateway_http":
            console.print(f"  {'leads to it':<17} http://127.0.0.1:{port}")
        elif name != "gateway":
            console.print(f"  {name:<17} http://127.0.0.1:{port}/docs")


def print_first_password(console: Console, home: Home) -> None:
    """Tell the password of the first administrator, if these books have just got one.

    It is shown on a terminal only: other output is kept by somebody.
    """
    path = home.admin_password
    if not path.exists():
        return
    if console.is_terminal:
        password = path.read_text().strip()
        console.print(
            f"first start: log in as [bold]admin[/bold], password [bold]{escape(password)}[/bold] "
            "(to be changed; shown this once)",
            soft_wrap=True,
        )
    console.print(f"  the password of admin lies in {path} until it is changed", soft_wrap=True)


def _stop_event() -> asyncio.Event:
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, event.set)
    return event


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` until it ends or a stop is asked for; its error is raised."""
    task = asyncio.create_task(work)
    waiter = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    if task.done() and not task.cancelled():
        task.result()
