"""A simulated broker for tests: on a free port, with a clock and a market that obey.

```python
with start_simulator() as simulator:            # scripted market, Monday 2019-03-04 10:00 New York
    simulator.quote("AAPL", "100.00", "100.02")
    client = simulator.trading_client()
    ...
    simulator.step(60)
    assert simulator.account()["cash"] == "…"
```

`start_simulator` runs in a thread of this process; `start_simulator_process` in a process of its
own, which `kill` ends by SIGKILL and `restart` brings back on the same port with the same state.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvloop
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from services.broker_simulator.main import build
from services.broker_simulator.server import SimulatorServer, bind
from services.broker_simulator.settings import SimulatorSettings

KEY, SECRET = "test-key", "test-secret"
START = "2019-03-04T15:00:00Z"  # Monday, 10:00 in New York
SYMBOLS = ("AAPL", "KO", "MSFT")
_ROOT = Path(__file__).resolve().parents[2]
_DEFAULTS: Mapping[str, Any] = {
    "broker_key": KEY,
    "broker_secret": SECRET,
    "simulator_market": "scripted",
    "simulator_symbols": SYMBOLS,
    "simulator_start": START,
    "simulator_factor": 0,
    "simulator_hours": "all",
    "simulator_state": None,
    "simulator_tick_s": 0.005,
}


class Simulator:
    """A running simulator, seen from outside."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.stream_url = f"ws://127.0.0.1:{port}/stream"
        self.data_url = self.url
        self.data_stream_url = f"ws://127.0.0.1:{port}/v2/iex"
        self.key, self.secret = KEY, SECRET
        self._http = httpx.Client(
            base_url=self.url,
            timeout=30,
            trust_env=False,
            headers={"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET},
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that point a service here."""
        return {
            "TRADEWIND_BROKER_URL": self.url,
            "TRADEWIND_BROKER_STREAM_URL": self.stream_url,
            "TRADEWIND_DATA_URL": self.data_url,
            "TRADEWIND_DATA_STREAM_URL": self.data_stream_url,
            "TRADEWIND_CLOCK_URL": self.url,
            "TRADEWIND_BROKER_KEY": self.key,
            "TRADEWIND_BROKER_SECRET": self.secret,
        }

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET that must succeed."""
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Return the raw answer to a request, signed with the key."""
        return self._http.request(method, path, **kwargs)

    def control(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of a POST to `/sim/…` that must succeed."""
        answer = self._http.post(f"/sim/{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def quote(
        self,
        symbol: str,
        bid: str,
        ask: str,
        bid_size: int = 100_000,
        ask_size: int = 100_000,
    ) -> None:
        """Let a quote happen now."""
        quote = {"symbol": symbol, "bid": bid, "ask": ask}
        self.control("market", {"quotes": [{**quote, "bid_size": bid_size, "ask_size": ask_size}]})

    def trade(self, symbol: str, price: str, size: int = 100, ts: str | None = None) -> None:
        """Let a print happen now, or let one of the past arrive late."""
        body: dict[str, Any] = {"symbol": symbol, "price": price, "size": size}
        if ts is not None:
            body["ts"] = ts
        self.control("market", {"trades": [body]})

    def step(self, seconds: float) -> Any:
        """Let `seconds` of market time pass; returns the clock."""
        return self.control("clock", {"step_s": seconds})

    def step_to(self, to: str) -> Any:
        """Let time pass until an RFC 3339 time, `next_open` or `next_close`; returns the clock."""
        return self.control("clock", {"to": to})

    def clock(self) -> Any:
        """Return the simulator's clock."""
        return self.get("/sim/clock")

    def fault(self, kind: str, **how: Any) -> Any:
        """Switch one fault on, e.g. `fault("lost_answer", method="POST", count=1)`."""
        return self.control("faults", {"faults": [{"kind": kind, **how}]})

    def behave(self, **behaviour: Any) -> Any:
        """Set how the exchange misbehaves, e.g. `behave(cancel_delay_s=5)`."""
        return self.control("faults", {"behaviour": behaviour})

    def disconnect(self, *streams: str) -> Any:
        """Cut every connection of the streams `trading`, `data`."""
        return self.control("faults", {"disconnect": list(streams)})

    def refuse(self, seconds: float) -> Any:
        """Close the port for `seconds`."""
        return self.control("faults", {"refuse_s": seconds})

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._http.delete("/sim/faults").raise_for_status()

    def ledger(self, key: str | None = None) -> Any:
        """Return the truth about one account: the default one, or that of `key`."""
        accounts = self.get("/sim/ledger")["accounts"]
        return next(a for a in accounts if a["key"] == (key or self.key))

    def account(self) -> Any:
        """Return the account as Alpaca shows it."""
        return self.get("/v2/account")

    def submit(self, symbol: str, side: str, qty: str, **fields: Any) -> Any:
        """Submit an order (market, day unless told otherwise) that must be accepted."""
        body = {"symbol": symbol, "side": side, "qty": qty, "type": "market"}
        answer = self._http.post("/v2/orders", json={**body, "time_in_force": "day", **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, order_id: str) -> Any:
        """Return an order as it stands."""
        return self.get(f"/v2/orders/{order_id}")

    def trading_client(self) -> TradingClient:
        """Return alpaca-py's trading client, pointed here."""
        return TradingClient(KEY, SECRET, paper=True, url_override=self.url)

    def history_client(self) -> StockHistoricalDataClient:
        """Return alpaca-py's historical data client, pointed here."""
        return StockHistoricalDataClient(KEY, SECRET, url_override=self.url)

    def trading_stream(self, **options: Any) -> TradingStream:
        """Return alpaca-py's trading stream, pointed here."""
        return TradingStream(KEY, SECRET, url_override=self.stream_url, **options)

    def data_stream(self, **options: Any) -> StockDataStream:
        """Return alpaca-py's market data stream, pointed here."""
        return StockDataStream(KEY, SECRET, url_override=self.data_stream_url, **options)

    def close_client(self) -> None:
        """Close this helper's own connections."""
        self._http.close()


class SimulatorProcess(Simulator):
    """A simulator in a process of its own, which can be killed and brought back."""

    def __init__(self, port: int, state: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(port)
        self._environment = {
            **os.environ,
            **{f"TRADEWIND_{name}".upper(): _text(value) for name, value in settings.items()},
            "TRADEWIND_PORT": str(port),
            "TRADEWIND_SIMULATOR_STATE": str(state),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.broker_simulator.main"],
            cwd=_ROOT,
            env=self._environment,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"simulator ended with {self._process.returncode}")
            try:
                if httpx.get(f"{self.url}/ready", timeout=2, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError("simulator did not answer within 60 s")

    def kill(self) -> None:
        """End the process by SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def ended_within(self, seconds: float) -> int:
        """Return the exit code of the process, which must end by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def restart(self) -> None:
        """Kill the process and start it again on the same state."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the process in good order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def start_simulator(**settings: Any) -> Iterator[Simulator]:
    """Run a simulator in a thread of this process; settings by their field names."""
    listener = bind("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    app = build(SimulatorSettings(**{**_DEFAULTS, **settings}))
    server = SimulatorServer(app, listener, 1)
    app.state.simulator.server = server
    thread = threading.Thread(target=_serve, args=(server, listener), name="simulator", daemon=True)
    thread.start()
    simulator = Simulator(port)
    try:
        _await_start(server, thread)
        yield simulator
    finally:
        simulator.close_client()
        server.should_exit = True
        thread.join(15)


@contextmanager
def start_simulator_process(state: Path, **settings: Any) -> Iterator[SimulatorProcess]:
    """Run a simulator in a process of its own, its books in the file `state`."""
    chosen = {**_DEFAULTS, **settings}
    chosen.pop("simulator_state")
    simulator = SimulatorProcess(free_port(), state, chosen)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.close_client()
        simulator.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(server: SimulatorServer, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))


def _await_start(server: SimulatorServer, thread: threading.Thread) -> None:
    deadline = time.monotonic() + 30
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the simulator did not start")
        time.sleep(0.01)


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value)


__all__ = [
    "KEY",
    "SECRET",
    "START",
    "SYMBOLS",
    "Simulator",
    "SimulatorProcess",
    "free_port",
    "start_simulator",
    "start_simulator_process",
]
