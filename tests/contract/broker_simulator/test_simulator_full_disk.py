"""The simulator on a disk without room: it stops with a reason, and no answered order is lost."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.support.full_disk import small_disk
from tests.support.simulator import SimulatorProcess, start_simulator_process


def orders_until_refused(simulator: SimulatorProcess) -> list[str]:
    """Order until the simulator refuses; returns the ids of what it accepted."""
    accepted = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        body = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market"}
        try:
            answer = simulator.request("POST", "/v2/orders", json={**body, "time_in_force": "day"})
        except httpx.TransportError:
            return accepted
        if answer.status_code >= 500:
            return accepted
        accepted.append(answer.json()["id"])
    raise AssertionError("the full disk was never noticed")


def test_a_full_disk_ends_it_with_a_reason_and_loses_nothing(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 2) as disk,
        start_simulator_process(disk.path / "state.sqlite") as simulator,
    ):
        simulator.quote("AAPL", "100.00", "100.02")
        before = [simulator.submit("AAPL", "buy", "1")["id"] for _ in range(5)]
        disk.fill()
        accepted = orders_until_refused(simulator)
        assert simulator.ended_within(10) == 1
        disk.free()
        simulator.start()
        known = {order["id"]: order for order in simulator.ledger()["orders"]}
        assert {*before, *accepted} <= known.keys()
        assert len(known) <= len(before) + len(accepted) + 1
