"""Every request to the broker against every answer that nobody can read: a clear unknown outcome
within its time, the next request works, and what came is put aside."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import resource
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId
from services.trade_executor.adapters.alpaca import AlpacaBroker
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_wire import AlpacaLimits
from services.trade_executor.ports import BrokerRefusedError, OutcomeUnknownError
from tests.support.executor_orders import spec
from tests.support.simulator import Simulator, start_simulator

LIMITS = AlpacaLimits(
    threads=4, timeout_s=2.0, calls_per_minute=120_000, failures_max=10_000, circuit_reset_s=0.1,
    answer_s_max=1.0,
)  # fmt: skip
AGO = dt.datetime(2019, 3, 1, tzinfo=dt.UTC)

# How each call is made, and the requests it makes.
CALLS: dict[str, tuple[str, str]] = {
    "submit": ("POST", "/v2/orders"),
    "find": ("GET", "/v2/orders:by_client_order_id"),
    "order": ("GET", "/v2/orders/*"),
    "open_orders": ("GET", "/v2/orders"),
    "orders_since": ("GET", "/v2/orders"),
    "cancel": ("DELETE", "/v2/orders/*"),
    "positions": ("GET", "/v2/positions"),
    "cash": ("GET", "/v2/account"),
    "executions_since": ("GET", "/v2/account/activities/FILL"),
    "cash_activities_since": ("GET", "/v2/account/activities"),
}
ASKED_BY = {"submit": "client_order_id", "find": "client_order_id", "order": "id"}
FORMS: list[dict[str, Any]] = [
    {"form": "truncated"}, {"form": "html"}, {"form": "html", "status": 502},
    {"form": "html", "status": 404}, {"form": "html", "status": 403}, {"form": "empty"},
    {"form": "list"}, {"form": "object"}, {"form": "number"}, {"form": "string"},
    {"form": "null"}, {"form": "deep"}, {"form": "rubbish"}, {"form": "short"},
    {"form": "huge", "size": 20_000_000}, {"form": "trickle", "seconds": 0.05},
    {"form": "empty", "status": 500}, {"form": "list", "status": 422},
]  # fmt: skip


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="100000000") as running:
        running.quote("AAPL", "100.00", "100.02", 10_000_000, 10_000_000)
        running.control("activities", {"type": "FEE", "net_amount": "-1.25"})
        yield running


class Bench:
    """One adapter, what it put aside, and an order that rests at the broker."""

    def __init__(self, simulator: Simulator) -> None:
        self.aside: list[tuple[str, str, int | None, bytes]] = []
        stream = AlpacaStream(
            simulator.stream_url, simulator.key, simulator.secret,
            ping_s=5, reconnect_s_max=1, timeout_s=2, report=lambda _: None,
        )  # fmt: skip
        self.broker = AlpacaBroker(
            simulator.url, simulator.key, simulator.secret,
            limits=LIMITS, stream=stream, unreadable=lambda *what: self.aside.append(what),
        )  # fmt: skip
        self.resting = ClientOrderId("")
        self.resting_there = BrokerOrderId("")

    async def rest(self) -> None:
        """Place an order that waits for its price."""
        self.resting = ClientOrderId(f"tw-{uuid.uuid4()}-1")
        async with self.broker.slot():
            there = await self.broker.submit(self.resting, spec(quantity="1", limit="50"))
        self.resting_there = there.broker_order_id

    def call(self, name: str) -> Awaitable[Any]:
        """Make one call of the port."""
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "submit": lambda: self.broker.submit(
                ClientOrderId(f"tw-{uuid.uuid4()}-1"), spec(quantity="1")
            ),
            "find": lambda: self.broker.find(self.resting),
            "order": lambda: self.broker.order(self.resting_there),
            "open_orders": self.broker.open_orders,
            "orders_since": lambda: self.broker.orders_since(AGO),
            "cancel": lambda: self.broker.cancel(self.resting_there),
            "positions": self.broker.positions,
            "cash": self.broker.cash,
            "executions_since": lambda: self.broker.executions_since(AGO),
            "cash_activities_since": lambda: self.broker.cash_activities_since(AGO),
        }
        return calls[name]()


@pytest.fixture
async def bench(simulator: Simulator) -> AsyncIterator[Bench]:
    simulator.clear_faults()
    made = Bench(simulator)
    await made.rest()
    yield made
    await made.broker.close()


def readable(call: str, how: dict[str, Any]) -> bool:
    """Tell whether the form leaves this answer as good as it was."""
    form, status = how["form"], how.get("status", 200)
    if status >= 400:
        return False
    if form in {"list", "object", "number", "string", "null"} and call == "cancel":
        return True  # 204 carries nothing; a word more changes nothing
    return form == "empty" and call == "cancel"


@pytest.mark.parametrize("call", list(CALLS))
async def test_every_garbled_answer_is_an_unknown_outcome(
    simulator: Simulator, bench: Bench, call: str
) -> None:
    method, path = CALLS[call]
    for how in FORMS:
        simulator.fault("garbled_answer", method=method, path=path, count=1, **how)
        begun = time.monotonic()
        if readable(call, how):
            await bench.call(call)
        elif call.endswith("_since") and "activities" in path and how["form"] == "list":
            await asyncio.wait_for(_either(bench.call(call)), 10)
        else:
            with pytest.raises(OutcomeUnknownError):
                await asyncio.wait_for(bench.call(call), 10)
        assert time.monotonic() - begun < 10, how
        simulator.clear_faults()
        if call == "cancel":
            await bench.rest()
        await bench.call(call)
        if call == "cancel":
            await bench.rest()
    put_aside = {(name, status) for name, _, status, _ in bench.aside}
    assert len(bench.aside) >= 8
    assert {name for name, _ in put_aside} <= {call, "account", "activities"}
    assert all(len(body) < 9_000_000 for *_, body in bench.aside)


async def _either(work: Awaitable[Any]) -> None:
    with contextlib.suppress(OutcomeUnknownError):
        await work


async def test_a_huge_answer_costs_neither_memory_nor_the_next_request(
    simulator: Simulator, bench: Bench
) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form="huge", size=200_000_000, count=1)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OutcomeUnknownError, match="more than 8388608 bytes"):
        await bench.broker.cash()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < 120_000  # the simulator runs in this process, too
    assert await bench.broker.cash() > 0
    assert len(bench.aside[-1][3]) < 9_000_000


@pytest.mark.parametrize("form", ["trickle", "huge"])
async def test_an_endless_answer_frees_its_thread(
    simulator: Simulator, bench: Bench, form: str
) -> None:
    threads = threading.active_count()
    how = {"seconds": 0.05} if form == "trickle" else {"size": 500_000_000}
    simulator.fault("garbled_answer", path="/v2/account", form=form, **how)
    asked = [asyncio.create_task(bench.broker.cash()) for _ in range(6)]
    done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
    assert all(isinstance(one, UnavailableError) for one in done), done
    simulator.clear_faults()
    assert await asyncio.wait_for(bench.broker.cash(), 5) > 0
    assert threading.active_count() <= threads + 4


async def test_a_refusal_needs_the_brokers_own_words(simulator: Simulator, bench: Bench) -> None:
    with pytest.raises(BrokerRefusedError, match=r"insufficient buying power"):
        await bench.broker.submit(ClientOrderId("tw-big-1"), spec(quantity="99999999"))
    simulator.fault("garbled_answer", method="POST", form="html", status=403, count=1)
    with pytest.raises(OutcomeUnknownError, match="403 without a readable message"):
        await bench.call("submit")
    assert await bench.broker.find(ClientOrderId("tw-never-1")) is None
    path = "/v2/orders:by_client_order_id"
    simulator.fault("garbled_answer", path=path, form="html", status=404, count=1)
    with pytest.raises(OutcomeUnknownError):
        await bench.broker.find(ClientOrderId("tw-never-1"))


async def test_an_answer_about_another_order_is_not_believed(
    simulator: Simulator, bench: Bench
) -> None:
    for call, field in (
        ("submit", "client_order_id"),
        ("find", "client_order_id"),
        ("order", "id"),
    ):
        simulator.fault("wrong_field", field=field, value=str(uuid.uuid4()), count=1)
        with pytest.raises(OutcomeUnknownError, match=f"order.{field}: expected"):
            await bench.call(call)


async def test_one_bad_row_does_not_hide_the_others(simulator: Simulator, bench: Bench) -> None:
    for _ in range(3):
        await bench.call("submit")
    all_of_them = len(await bench.broker.executions_since(AGO))
    simulator.fault("wrong_field", object="activity", field="price", value=[], count=1)
    assert len(await bench.broker.executions_since(AGO)) == all_of_them - 1
    assert bench.aside[-1][:2] == ("activities", "activity.price: expected a number, got a list")
    foreign = simulator.submit("AAPL", "buy", "1", type="limit", limit_price="49.00")
    mine = len(await bench.broker.open_orders())
    simulator.fault("wrong_field", event="new", field="side", value="up")
    with pytest.raises(OutcomeUnknownError, match=r"order\.side"):
        await bench.broker.open_orders()  # ours among them: a list without them would lie
    simulator.clear_faults()
    assert len(await bench.broker.open_orders()) == mine
    simulator.request("DELETE", f"/v2/orders/{foreign['id']}")


async def test_an_unreadable_order_of_somebody_else_is_passed_over(
    simulator: Simulator, bench: Bench
) -> None:
    await bench.broker.cancel(bench.resting_there)
    for one in await bench.broker.open_orders():
        await bench.broker.cancel(one.broker_order_id)
    simulator.submit("AAPL", "buy", "1", type="limit", limit_price="49.00")
    simulator.fault("wrong_field", field="side", value="up", count=1)
    assert await bench.broker.open_orders() == []
    assert len(await bench.broker.open_orders()) == 1
    for one in await bench.broker.open_orders():
        await bench.broker.cancel(one.broker_order_id)


async def test_an_unreadable_position_makes_the_list_unreadable(
    simulator: Simulator, bench: Bench
) -> None:
    await bench.call("submit")
    simulator.fault("missing_field", object="position", count=1)
    with pytest.raises(OutcomeUnknownError, match=r"position\.avg_entry_price"):
        await bench.broker.positions()
    assert len(await bench.broker.positions()) == 1
