"""An executor that is asked to stop while its database is away ends by itself, and says in one line
what it could not write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.executor_process import ExecutorProcess
from tests.support.faulty_proxy import faulty_proxy
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import AS_OPERATOR


def test_stopped_with_the_database_away(database_url: str, redis_url: str, tmp_path: Path) -> None:
    port = urlsplit(database_url).port or 0
    log = tmp_path / "executor.log"
    with start_simulator() as simulator, faulty_proxy(port) as proxy:
        through = database_url.replace(f":{port}/", f":{proxy.port}/")
        executor = ExecutorProcess(
            simulator, through, redis_url, log, shutdown_timeout_s=2, reconcile_orders_s=0.3
        )
        executor.start()
        try:
            simulator.quote("AAPL", "100.00", "100.02")
            ours = f"{executor.url}/api/v1/orders"
            _rest(simulator)  # the stream speaks, and is heard
            _until(lambda: bool(httpx.get(ours, auth=AS_OPERATOR, trust_env=False).json()["items"]))
            proxy.refuse()
            _rest(simulator)
            _until(lambda: "wire_log_waits" in log.read_text())
            assert executor.stop() == 0
        finally:
            if not executor.ended:
                executor.kill()
    text = log.read_text()
    assert "Traceback" not in text, text[-3000:]
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    events = [one["event"] for one in lines]
    assert "stop_hook_failed" not in events
    assert "service_stopped" in events
    told = [one for one in lines if one["event"] == "unwritten_at_the_end"]
    assert len(told) == 1
    assert told[0]["wire_messages"] > 0


def _rest(simulator: Simulator) -> None:
    simulator.submit("AAPL", "buy", "1", type="limit", limit_price="90")


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)
