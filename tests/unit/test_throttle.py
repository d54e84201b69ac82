"""So much of an address and of a caller, and no more; what is over is over."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Scope

from libs.common.kernel.clock import NS_PER_SECOND
from libs.common.kernel.ids import SequentialIds
from libs.common.runtime.middleware import RequestFrame
from libs.common.runtime.problems import install_problem_handlers
from libs.common.runtime.throttle import BURST_S, Pace, Throttle, TooMany


def test_a_burst_passes_and_then_one_each_step() -> None:
    pace = Pace(10.0)
    assert [pace.wait_s(1, 0) for _ in range(20)] == [0.0] * 20
    assert pace.wait_s(1, 0) == pytest.approx(0.1)
    assert pace.wait_s(1, NS_PER_SECOND // 20) == pytest.approx(0.05)
    assert pace.wait_s(1, NS_PER_SECOND // 10) == 0.0
    assert pace.wait_s(1, NS_PER_SECOND // 10) > 0.0


def test_keys_do_not_share() -> None:
    pace = Pace(1.0)
    assert [pace.wait_s(1, 0) for _ in range(3)][-1] > 0.0
    assert pace.wait_s(2, 0) == 0.0


def test_less_than_one_a_second_is_a_pace_too() -> None:
    pace = Pace(0.1)
    assert pace.wait_s(1, 0) == 0.0
    assert pace.wait_s(1, 0) == pytest.approx(10.0)
    assert pace.wait_s(1, 10 * NS_PER_SECOND) == 0.0


@given(
    st.lists(st.integers(0, NS_PER_SECOND), min_size=1, max_size=200),
    st.sampled_from([1.0, 3.0, 50.0]),
)
def test_no_span_of_time_lets_more_through_than_burst_and_rate(
    gaps: list[int], per_second: float
) -> None:
    pace = Pace(per_second)
    now, let_in = 0, []
    for gap in gaps:
        now += gap
        if pace.wait_s(7, now) == 0.0:
            let_in.append(now)
    for first in range(len(let_in)):
        span_s = (let_in[-1] - let_in[first]) / NS_PER_SECOND
        assert len(let_in) - first <= per_second * (BURST_S + span_s) + 1e-6 + 1


def test_it_remembers_so_many_and_forgets_who_was_longest_away() -> None:
    pace = Pace(1.0, keys_max=2)
    for key in (1, 1, 2, 2, 1, 3):
        pace.wait_s(key, 0)
    assert len(pace._due_ns) == 2
    assert pace.wait_s(3, 0) == 0.0
    assert pace.wait_s(2, 0) > 0.0
    assert pace.wait_s(1, 0) == 0.0, "1 was let in before 2 and 3, and is forgotten"


def test_refusals_say_of_what_and_until_when() -> None:
    throttle = Throttle(per_second=100.0, caller_per_second=0.25, at_once=2)
    assert throttle.enter(1, 9, 0) is None
    assert throttle.enter(1, 9, 0) == TooMany("caller", 4)
    assert throttle.enter(1, None, 0) is None
    assert throttle.enter(1, None, 0) == TooMany("at_once", 1)
    assert throttle.enter(2, None, 0) is None
    throttle.leave(1)
    assert throttle.enter(1, None, 0) is None


def test_it_holds_nothing_of_who_has_left() -> None:
    throttle = Throttle(per_second=100.0, caller_per_second=100.0, at_once=2)
    for _ in range(3):
        assert throttle.enter(1, None, 0) is None
        throttle.leave(1)
    assert throttle._at_once == {}


class Unrecorded:
    """Keeps no record of calls."""

    def note(self, scope: Scope, route: str, status: int, seconds: float, known_as: Any) -> None:
        """Keep none."""


async def answer(request: Request) -> PlainTextResponse:
    await request.body()
    await asyncio.sleep(0.05 if "slow" in request.query_params else 0.0)
    return PlainTextResponse("fine")


def framed(*, per_second: float = 1.0, caller_per_second: float = 1.0, at_once: int = 3) -> Any:
    app = Starlette(routes=[Route("/x", answer, methods=["GET", "POST"])])
    install_problem_handlers(app)  # type: ignore[arg-type]
    return RequestFrame(
        app,
        ids=SequentialIds(),
        calls=Unrecorded(),  # type: ignore[arg-type]
        throttle=Throttle(
            per_second=per_second, caller_per_second=caller_per_second, at_once=at_once
        ),
        body_bytes_max=1000,
        body_timeout_s=0.2,
    )


def client(app: Any, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers)


async def test_a_request_more_through_the_gateway_is_a_429_problem() -> None:
    app = framed()
    async with client(app, **{"X-Forwarded-For": "203.0.113.9"}) as http:
        assert [(await http.get("/x")).status_code for _ in range(2)] == [200, 200]
        refused = await http.get("/x")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["code"] == "too-many-requests"
    async with client(app, **{"X-Forwarded-For": "203.0.113.10"}) as http:
        assert (await http.get("/x")).status_code == 200


async def test_one_token_is_held_back_from_every_address() -> None:
    app = framed(per_second=1000.0)
    statuses = []
    for number in range(3):
        headers = {"X-Forwarded-For": f"203.0.113.{number}", "Authorization": "Bearer a.b.c"}
        async with client(app, **headers) as http:
            statuses.append((await http.get("/x")).status_code)
    assert statuses == [200, 200, 429]


async def test_too_many_at_once_are_refused_and_their_places_given_back() -> None:
    app = framed(per_second=1000.0)
    async with client(app, **{"X-Forwarded-For": "203.0.113.9"}) as http:
        answers = await asyncio.gather(*(http.get("/x?slow=1") for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 2
        assert (await http.get("/x")).status_code == 200


async def test_services_among_themselves_are_not_held_back() -> None:
    async with client(framed()) as http:
        assert {(await http.get("/x")).status_code for _ in range(20)} == {200}


async def test_a_body_that_does_not_come_is_a_408_problem() -> None:
    async def stalled() -> Any:
        yield b"abc"
        await asyncio.sleep(5)

    async with client(framed()) as http:
        refused = await http.post("/x", content=stalled())
    assert refused.status_code == 408
    assert "0.2 s" in refused.json()["detail"]
