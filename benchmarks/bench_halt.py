"""The drill: from the halt to the last order on the wire, to all cancelled, to flat.

A system of its own (temporary home, free ports) trades history while callers place orders as fast
as they are answered; a proxy before the broker notes every order and cancel that passes. Halted:
from the time that the kill switch carries (taken before its commit, so the commit counts) to the
last order on the wire. Cancelled: resting orders, from the same time to the passing of the last
cancel request. Flat: `halt` with `flatten`, until the broker shows no position. Direct: `tradewind
halt --direct --flatten` as a process of its own at a broker where nothing of ours runs, its start
included. The floor: one HTTP call and one commit, the least that a halt consists of.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks.results import Measurement, percentiles
from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from libs.common.kernel.clock import parse_ns
from libs.common.runtime.settings import DEFAULT_SYMBOLS
from tests.support.simulator import start_simulator_process
from tests.support.system import ROOT, System, running_system
from tests.support.tcp_proxy import tcp_proxy

REPEATS, CALLERS, RESTING, HELD = 20, 4, 100, 10
LOAD_S, QUIET_S = 1.0, 0.5
ORDER, CANCEL = re.compile(rb"POST /v2/orders "), re.compile(rb"DELETE /v2/orders/")


class Wire:
    """What passed on the way to the broker, in wall nanoseconds."""

    def __init__(self) -> None:
        self.orders: list[int] = []
        self.cancels: list[int] = []

    def tap(self, data: bytes, ns: int) -> None:
        """Note a piece of the stream."""
        self.orders += [ns] * len(ORDER.findall(data))
        self.cancels += [ns] * len(CANCEL.findall(data))


def run() -> list[Measurement]:
    """Return the times in ms and s beside their targets."""
    wire = Wire()
    with tempfile.TemporaryDirectory(prefix="tradewind-drill-") as name:
        home = Path(name) / "home"

        def broker_port() -> int:
            state = json.loads((home / "run" / "state.json").read_text(encoding="utf-8"))
            return int(state["ports"]["broker_simulator"])

        with tcp_proxy(broker_port, wire.tap) as port:
            via = f"http://127.0.0.1:{port}"
            with running_system(home, TRADEWIND_BROKER_VIA=via) as system:
                system.until(lambda: bool(system.get("/api/v1/orders")["items"]), 120, "trade")
                _allow(system)
                found = _halted(system, wire, _floor(home, system))
                found += _cancelled(system, wire)
                found.append(_flat(system))
        return [*found, *_direct(Path(name))]


def _halted(system: System, wire: Wire, floor_ms: dict[str, float]) -> list[Measurement]:
    delays, sent = [], 0
    for _ in range(REPEATS):
        with _load(system):
            time.sleep(LOAD_S)
            before = len(wire.orders)
            assert before > sent, "no order passed under load"
            since = _switch(system, "halt")
            time.sleep(QUIET_S)
            late = [at for at in wire.orders if at > since]
            delays.append(max((at - since) / 1e6 for at in late) if late else 0.0)
            sent = len(wire.orders)
        _switch(system, "resume")
    figures = percentiles(delays)
    note = f"n={REPEATS}, {CALLERS} callers placing, max {figures['max']:.1f}"
    return [
        Measurement("halt → last order on the wire, p50", figures["p50"], "ms",
                    floor=floor_ms["p50"], floor_name="1 HTTP call and 1 commit, p50",
                    higher_is_better=False, note=note),
        Measurement("halt → last order on the wire, p99", figures["p99"], "ms",
                    floor=floor_ms["p99"], floor_name="the same, p99",
                    target_value=50.0, higher_is_better=False),
    ]  # fmt: skip


def _cancelled(system: System, wire: Wire) -> list[Measurement]:
    _until(lambda: not _open(system), "nothing open")
    deadline = time.monotonic() + 180
    while (resting := len(_open(system))) < RESTING:
        # Some are denied while the session is closed, or while the executor hears of the resume.
        assert time.monotonic() < deadline, f"only {resting} orders rest: {_last(system)}"
        for _ in range(min(10, RESTING - resting)):
            _place(system)
    before = len(wire.cancels)
    since = _switch(system, "halt")
    _until(lambda: not _open(system), "all cancelled")
    ended = time.time_ns()
    passed = [at for at in wire.cancels[before:] if at > since]
    assert len(passed) >= RESTING, f"{len(passed)} cancels passed for {RESTING} orders"
    _switch(system, "resume")
    return [
        Measurement(f"halt → {RESTING} resting orders cancel-requested",
                    (max(passed) - since) / 1e9, "s", target_value=1.0, higher_is_better=False),
        Measurement(f"halt → {RESTING} resting orders cancelled", (ended - since) / 1e9, "s",
                    higher_is_better=False, note="as the orders API shows it"),
    ]  # fmt: skip


def _flat(system: System) -> Measurement:
    system.until(lambda: len(_held(system)) > 0, 120, "a position")
    held = len(_held(system))
    since = _switch(system, "halt", flatten=True)
    _until(lambda: not _held(system), "flat", within_s=120)
    return Measurement(
        "halt with flatten → flat", (time.time_ns() - since) / 1e9, "s",
        higher_is_better=False, note=f"{held} positions",
    )  # fmt: skip


def _direct(directory: Path) -> list[Measurement]:
    with start_simulator_process(
        directory / "direct.db", simulator_symbols=DEFAULT_SYMBOLS, simulator_cash="1000000"
    ) as simulator:
        for symbol in DEFAULT_SYMBOLS[:HELD]:
            simulator.quote(symbol, "100.00", "100.02")
            simulator.submit(symbol, "buy", "10")
        for _ in range(RESTING):
            simulator.submit(DEFAULT_SYMBOLS[0], "buy", "1", type="limit", limit_price="50.00")
        keys = {name: simulator.environment()[f"TRADEWIND_BROKER_{name}"]
                for name in ("URL", "KEY", "SECRET")}  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "cli", "halt", "drill", "--direct", "--flatten", "--json"],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "TRADEWIND_HOME": str(directory / "nowhere"),
                 **{f"TRADEWIND_BROKER_{name}": value for name, value in keys.items()}},
        )  # fmt: skip
        whole = time.monotonic() - began
        # 1: the switch cannot be kept where there is no database; the broker's part is done.
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["verified"], report
        assert simulator.get("/v2/positions") == []
    what = f"{RESTING} orders, {HELD} positions"
    return [
        Measurement("halt --direct → all cancel-requested", report["requested_s"], "s",
                    target_value=1.0, higher_is_better=False, note=what),
        Measurement("halt --direct → flat", report["flat_s"], "s", higher_is_better=False),
        Measurement("halt --direct, typed to verified", whole, "s", higher_is_better=False,
                    note="the start of Python included"),
    ]  # fmt: skip


def _floor(home: Path, system: System) -> dict[str, float]:
    state = system.state()
    password = Credentials(Home(home, state["books"])).secret("postgres")
    url = f"postgresql://postgres:{password}@127.0.0.1:{state['ports']['postgres']}/tradewind"
    samples = []
    with (
        psycopg.connect(url, autocommit=True) as connection,
        httpx.Client(base_url=system.url("risk_manager"), trust_env=False) as http,
    ):
        connection.execute("CREATE TEMP TABLE floor (id int)")
        for number in range(100):
            began = time.perf_counter()
            http.get("/health")
            connection.execute("INSERT INTO floor VALUES (%s)", (number,))
            samples.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    return percentiles(samples)


@contextmanager
def _load(system: System) -> Iterator[None]:
    stop = threading.Event()

    def place() -> None:
        while not stop.is_set():
            _place(system)

    threads = [threading.Thread(target=place) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


_prices = itertools.cycle(range(100, 999))


def _place(system: System) -> None:
    """Place a limit order far below the market; no two alike, or they would be repetitions."""
    price = next(_prices)
    body = {"symbol": "XOM", "side": "buy", "quantity": "1", "order_type": "limit",
            "limit_price": f"{price / 100:.2f}"}  # fmt: skip
    system.post("/api/v1/orders", body, **{"Idempotency-Key": uuid.uuid4().hex})


def _allow(system: System) -> None:
    """Lift the limit of the order rate, which a load of its own would meet."""
    limit = {"name": "orders_per_window_account", "value": "1000000", "reason": "drill"}
    system.request("PUT", "/api/v1/risk/limits", json=limit, timeout=15).raise_for_status()


def _switch(system: System, verb: str, *, flatten: bool = False) -> int:
    """Set the kill switch; return the time that it carries."""
    body: dict[str, Any] = {"reason": "drill"}
    if flatten:
        body["flatten"] = True
    answer = system.post(f"/api/v1/risk/{verb}", body)
    answer.raise_for_status()
    return parse_ns(answer.json()["set_at"])


def _open(system: System) -> list[Any]:
    items: list[Any] = system.get("/api/v1/orders", status="open", limit=500)["items"]
    return items


def _last(system: System) -> Any:
    return system.get("/api/v1/orders", limit=1)["items"]


def _held(system: System) -> list[Any]:
    rows = system.get("/api/v1/portfolio/positions")["items"]
    return [row for row in rows if float(row["quantity"])]


def _until(check: Any, what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}"
        time.sleep(0.005)
