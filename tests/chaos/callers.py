"""People who place and cancel orders all the while, and note what they were told.

Now and then one cancels everything, else what rests keeps the others from trading.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.system import System

ANSWER_S_MAX = 15.0
PATIENCE_S = 240.0
PAUSE_S = (0.3, 1.5)
REST_S = (0.1, 1.2)
CANCEL_SHARE = 0.35
CANCEL_ALL_SHARE = 0.04


@dataclass
class Tale:
    """One wish: its key and body, and each answer as (status code, what it said)."""

    key: str
    body: dict[str, Any]
    told: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    silent: int = 0
    cancels: list[int] = field(default_factory=list)

    @property
    def orders(self) -> list[dict[str, Any]]:
        """Return the orders that the answers showed."""
        return [body for code, body in self.told if code in {200, 201}]


class Callers:
    """Several callers at once, each in a thread."""

    def __init__(self, system: System, seed: int, number: int) -> None:
        self._system = system
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._live, args=(f"{seed}-{i}",), name=f"caller {i}")
            for i in range(number)
        ]
        self._run = f"{time.time_ns():x}"
        self.tales: list[Tale] = []

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def finish(self) -> None:
        """Begin nothing new; wait until each caller has had an answer or lost its patience."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + ANSWER_S_MAX)

    def _live(self, name: str) -> None:
        chance = random.Random(name)
        number = 0
        while not self._stop.is_set():
            price = self._price(chance)
            if price is not None:
                number += 1
                tale = Tale(f"chaos-{self._run}-{name}-{number}", wish(chance, *price))
                self.tales.append(tale)
                self._insist(tale, chance)
                if tale.orders and chance.random() < CANCEL_SHARE:
                    self._cancel(tale, f"/{tale.orders[-1]['id']}")
                elif chance.random() < CANCEL_ALL_SHARE:
                    self._cancel(tale, "")
            self._stop.wait(chance.uniform(*REST_S))

    def _insist(self, tale: Tale, chance: random.Random) -> None:
        """Ask with the same key until there is an answer."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = self._call("POST", "", tale.body, {"Idempotency-Key": tale.key})
            if answer is None:
                tale.silent += 1
            else:
                tale.told.append((answer.status_code, _body(answer)))
                if answer.status_code < 500 and answer.status_code != 429:
                    if chance.random() < 0.1:
                        continue  # once more, as one does whose answer got lost
                    return
            time.sleep(chance.uniform(*PAUSE_S))

    def _cancel(self, tale: Tale, path: str) -> None:
        answer = self._call("DELETE", path, None, {})
        tale.cancels.append(0 if answer is None else answer.status_code)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> httpx.Response | None:
        try:
            return self._system.request(
                method,
                f"/api/v1/orders{path}",
                json=body,
                headers=headers,
                timeout=ANSWER_S_MAX,
            )
        except (httpx.HTTPError, KeyError):
            return None

    def _price(self, chance: random.Random) -> tuple[str, float, float] | None:
        """Return a symbol with bid and ask, None while the market does not say."""
        try:
            market = self._system.get("/sim/market", service="broker_simulator")["items"]
        except (httpx.HTTPError, KeyError):
            return None
        quoted = [item for item in market if item["bid"] > 5 and item["ask"] > 0]
        if not quoted:
            return None
        item = chance.choice(quoted)
        return item["symbol"], item["bid"], item["ask"]


def wish(chance: random.Random, symbol: str, bid: float, ask: float) -> dict[str, Any]:
    """Return an order somebody might want: market, marketable or resting limit, bracket."""
    side = chance.choice(("buy", "buy", "sell"))
    sign = 1 if side == "buy" else -1
    body: dict[str, Any] = {"symbol": symbol, "side": side, "quantity": str(chance.randint(1, 20))}
    draw = chance.random()
    middle = (bid + ask) / 2
    if draw < 0.35:
        return body
    if draw < 0.88:
        away = chance.choice((0.002, -0.001, -0.005, -0.02))
        return {**body, "order_type": "limit", "limit_price": f"{middle * (1 + sign * away):.2f}"}
    return {
        **body,
        "order_class": "bracket",
        "take_profit": {"limit_price": f"{middle * (1 + sign * 0.01):.2f}"},
        "stop_loss": {"stop_price": f"{middle * (1 - sign * 0.01):.2f}"},
    }


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {"text": answer.text[:200]}
    return body if isinstance(body, dict) else {"text": str(body)[:200]}
