"""One session: a system, a plan of faults, callers, and the verdict."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from libs.common.kernel.errors import TradewindError
from tests.chaos import plan
from tests.chaos.blows import blow_of
from tests.chaos.callers import Callers
from tests.chaos.clocks import make_clocks
from tests.chaos.links import Links
from tests.chaos.plan import Fault
from tests.chaos.stage import MissedError, Stage
from tests.chaos.verdict import ENDED, exceptions_logged, faults_found
from tests.support.full_disk import mounted_disk
from tests.support.system import System, running_system
from tests.support.tie_out import truth

Say = Callable[[str], None]

FIRST_TRADES = 10
FIRST_TRADES_S_MAX = 180.0
RECOVERY_S_MAX = 240.0
STABLE_S = 1.5
SLOW_S = 10.0
TRADING_S_MAX = 45.0
SETTLE_S_MAX = 180.0
AGREE_S_MAX = 120.0


@dataclass
class Struck:
    """A fault that happened: what it hit, when it was taken back, how long all took to be well.

    `recovered_s` is counted where it was the last of its round to end (to a second).
    """

    fault: Fault
    effect: str = ""
    hit: bool = False
    ended_at: float = 0.0
    recovered_s: float | None = None


@dataclass
class Outcome:
    """What a session came to."""

    seed: int
    struck: list[Struck] = field(default_factory=list)
    rounds: int = 0
    recovered_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exceptions: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    executions: int = 0
    wishes: int = 0
    cancels: int = 0
    restarts: dict[str, int] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        """Return how many faults struck."""
        return sum(1 for struck in self.struck if struck.hit)


def run(
    home: Path,
    seed: int,
    rounds: Callable[[int, frozenset[str]], Iterable[tuple[Fault, ...]]],
    *,
    minutes: float,
    callers: int,
    say: Say,
) -> Outcome:
    """Run a session of at most `minutes` and return its outcome; it is wrong or it is not."""
    outcome = Outcome(seed)
    with staged(home, minutes, say) as (stage, without):
        system = stage.system
        system.until(
            lambda: len(truth(system)["executions"]) >= FIRST_TRADES,
            FIRST_TRADES_S_MAX,
            "trading to begin",
        )
        people = Callers(system, seed, callers)
        people.start()
        deadline = time.monotonic() + minutes * 60
        try:
            for faults in rounds(seed, without):
                if time.monotonic() > deadline:
                    break
                outcome.rounds += 1
                _round(stage, faults, outcome, say)
        finally:
            people.finish()
        _close(stage, people, outcome, say)
    return outcome


@contextmanager
def staged(home: Path, minutes: float, say: Say) -> Iterator[tuple[Stage, frozenset[str]]]:
    """Start a system whose links, disk and clocks can be struck; say what cannot be."""
    books, missing = home / "books", set()
    clocks = make_clocks(home)
    if clocks is None:
        missing.add("clock_jump")
        say("NO CLOCK JUMPS: there is no C compiler to build movable clocks with")
    environment = {} if clocks is None else clocks.environment
    running: list[System] = []

    def port(server: str) -> int | None:
        ports = running[0].state().get("ports", {}) if running else {}
        return int(ports[server]) if server in ports else None

    with (
        mounted_disk(books, 1024 + round(30 * minutes)) as disk,
        Links(plan.LINKS, port).running() as links,
    ):
        if isinstance(disk, str):
            missing.add("disk_full")
            say(f"NO FULL DISK: a small one cannot be mounted: {disk}")
        found = None if isinstance(disk, str) else disk
        try:
            with running_system(
                home, register=running.append, TRADEWIND_VIA=links.via, **environment
            ) as system:
                yield Stage(system, links, found, clocks), frozenset(missing)
        finally:
            if found is not None:
                found.free()
                # The memory disk goes with the session; what it holds may be evidence.
                shutil.copytree(books, home / "books-kept", dirs_exist_ok=True, symlinks=True)


def _round(stage: Stage, faults: tuple[Fault, ...], outcome: Outcome, say: Say) -> None:
    """Let the faults strike, wait until all is well and trading goes on."""
    before = _executions(stage)
    struck = [Struck(fault) for fault in faults]
    outcome.struck += struck
    threads = [threading.Thread(target=_strike, args=(stage, one, say)) for one in struck]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    well_at, reasons, last = _recover(stage)
    last_end = max(one.ended_at for one in struck)
    if well_at is None:
        outcome.wrong.append(f"round {outcome.rounds}: not ready again: {reasons}")
        say(f"round {outcome.rounds}: NOT READY AGAIN: {reasons}")
        return
    traded = _trading(stage, before)
    took = max(0.0, well_at - last_end)
    outcome.recovered_s.append(took)
    for one in struck:
        if one.hit and one.ended_at >= last_end - 1.0:
            one.recovered_s = took
    slow = f" ({last})" if took >= SLOW_S else ""
    say(
        f"round {outcome.rounds}: all ready {took:.1f} s after{slow}; "
        + (f"{traded} executions so far" if traded else f"no trade in {TRADING_S_MAX:g} s")
    )
    _keep_active(stage, outcome, say)


def _strike(stage: Stage, struck: Struck, say: Say) -> None:
    fault = struck.fault
    time.sleep(fault.at_s)
    try:
        with blow_of(fault)(stage, fault) as effect:
            struck.hit, struck.effect = True, effect
            say(f"  {fault}: {effect}")
            time.sleep(fault.lasts_s)
            struck.ended_at = time.monotonic()
        if fault.lasts_s:
            struck.ended_at = time.monotonic()
        return
    except MissedError as error:
        say(f"  {fault}: missed, {error}")
        struck.effect = f"missed: {error}"
    except Exception as error:  # noqa: BLE001 - the edge of a thread: the verdict reports it
        struck.effect = f"broke: {error!r}"
        say(f"  {fault}: BROKE: {error!r}")
    struck.ended_at = time.monotonic()


def _recover(stage: Stage) -> tuple[float | None, dict[str, str], str]:
    """Return when everything was ready, for good, and otherwise why not; and who came last."""
    deadline = time.monotonic() + RECOVERY_S_MAX
    since: float | None = None
    reasons: dict[str, str] = {}
    last = ""
    while time.monotonic() < deadline:
        asked_at = time.monotonic()
        reasons = stage.not_ready()
        if reasons:
            since = None
            last = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())[:300]
        else:
            since = since or asked_at
            if time.monotonic() - since >= STABLE_S:
                return since, {}, last
        time.sleep(0.25)
    return None, reasons, last


def _executions(stage: Stage) -> int:
    try:
        return len(truth(stage.system)["executions"])
    except (httpx.HTTPError, KeyError):
        return 0


def _trading(stage: Stage, before: int) -> int:
    """Return the number of executions once it has grown, 0 if it does not."""
    deadline = time.monotonic() + TRADING_S_MAX
    while time.monotonic() < deadline:
        now = _executions(stage)
        if now > before:
            return now
        time.sleep(0.3)
    return 0


def _keep_active(stage: Stage, outcome: Outcome, say: Say) -> None:
    """Trading that was halted by a rule is noted and resumed, so that the session goes on."""
    with suppress(httpx.HTTPError, KeyError):
        state = stage.system.get("/api/v1/risk/state")
        if state["state"] != "active":
            note = f"round {outcome.rounds}: trading is {state['state']}: {state.get('reason')}"
            outcome.notes.append(note)
            say(note)
            stage.system.post("/api/v1/risk/resume", {"reason": "chaos goes on"})


def _close(stage: Stage, people: Callers, outcome: Outcome, say: Say) -> None:
    """Halt, let everything come to an end, judge."""
    system = stage.system
    say("faults are over; settling")
    with suppress(httpx.HTTPError, KeyError):
        system.request("DELETE", "/sim/faults", "broker_simulator")
    try:
        settle(system)
    except AssertionError as error:
        outcome.wrong.append(str(error).splitlines()[0])
    wrong: list[str] = []
    deadline = time.monotonic() + AGREE_S_MAX
    while True:
        try:
            wrong = faults_found(system, people.tales)
        except (httpx.HTTPError, psycopg.Error, TradewindError, KeyError) as error:
            wrong = [f"the books could not be read: {error!r}"]
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(2)
    outcome.wrong += wrong
    outcome.wrong += [f"not ready at the end: {k}: {v}" for k, v in stage.not_ready().items()]
    outcome.wrong += [
        f"a blow broke: {s.fault}: {s.effect}" for s in outcome.struck if s.effect[:5] == "broke"
    ]
    found = truth(system)
    outcome.orders, outcome.executions = len(found["orders"]), len(found["executions"])
    outcome.wishes = len(people.tales)
    outcome.cancels = sum(len(tale.cancels) for tale in people.tales)
    children = system.state().get("children", {})
    outcome.restarts = {name: facts["restarts"] for name, facts in children.items()}
    outcome.exceptions = dict(exceptions_logged(system))


def settle(system: System) -> None:
    """Halt, cancel everything, protective orders too, and wait until no order is open."""
    system.post("/api/v1/risk/halt", {"reason": "the faults are over"})

    def at_rest() -> bool:
        ours = [o for o in system.all("/api/v1/orders", status="open") if o["status"] not in ENDED]
        if ours:
            system.request("DELETE", "/api/v1/orders", timeout=15)
        return not ours and all(order["status"] in ENDED for order in truth(system)["orders"])

    system.until(at_rest, SETTLE_S_MAX, "all orders to end")
