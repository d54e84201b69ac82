"""The backtester on real servers: runs, limits, queue, cancelling, restarts, files."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pyarrow.parquet
import pytest
from fastapi import FastAPI

from libs.common.contracts.messages import Notification
from services.backtester.main import build
from services.backtester.settings import BacktesterSettings
from tests.support import unruly
from tests.support.engine_desk import as_role
from tests.support.recorded import record
from tests.support.runtimes import eventually, ready, serving
from tests.support.told import messages

BASE = "/api/v1/backtests"
BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
PATIENCE_S = 240.0
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def make(database_url: str, redis_url: str, tmp_path: Path) -> Any:
    (tmp_path / "strategies").mkdir()
    shutil.copy(unruly.__file__, tmp_path / "strategies")
    (tmp_path / "strategies" / "dies.py").write_text(
        "import os\nos.abort()\nclass Dies(Strategy): ...\n"
    )

    def service(**changes: Any) -> FastAPI:
        return build(
            BacktesterSettings.model_validate(
                {
                    "database_url": database_url,
                    "redis_url": redis_url,
                    "heartbeat_s": 0.5,
                    "strategy_dirs": (BUILT_IN, tmp_path / "strategies"),
                    "backtests_folder": tmp_path / "runs",
                    "backtests_data": tmp_path,
                    "backtests_parallel": 1,
                    "backtests_memory_mb": 1024,
                    **changes,
                }
            )
        )

    return service


@asynccontextmanager
async def up(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        await ready(client)
        yield client


def wish(class_name: str = "sma_cross", **params: Any) -> dict[str, Any]:
    choice = {"class_name": class_name, "symbols": ["AAPL", "KO"], "params": params}
    return {"spec": {"strategies": [choice], "start": "2018-01-01"}, "report": False}


async def submit(client: httpx.AsyncClient, body: Any, **headers: str) -> dict[str, Any]:
    answer = await client.post(BASE, content=msgspec.json.encode(body), headers=headers)
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"{BASE}/{run['id']}"
    return run


async def ended(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    async def over() -> bool:
        seen.update((await client.get(f"{BASE}/{run_id}")).json())
        return seen["status"] not in ("queued", "running")

    await eventually(over, within_s=PATIENCE_S, what=f"the end of {run_id}")
    return seen


async def status_of(client: httpx.AsyncClient, run_id: str) -> str:
    return str((await client.get(f"{BASE}/{run_id}")).json()["status"])


async def test_a_backtest_is_run_told_of_and_kept(make: Any) -> None:
    async with up(make()) as client:
        run = await submit(client, wish(fast=20), **{"Idempotency-Key": "once"})
        again = await submit(client, wish(fast=20), **{"Idempotency-Key": "once"})
        assert again["id"] == run["id"]
        other = await client.post(
            BASE, content=msgspec.json.encode(wish(fast=21)), headers={"Idempotency-Key": "once"}
        )
        assert other.status_code == 409
        stages = []
        async with client.stream("GET", f"{BASE}/{run['id']}/events", timeout=PATIENCE_S) as told:
            assert told.headers["content-type"].startswith("text/event-stream")
            async for line in told.aiter_lines():
                if line.startswith("event: "):
                    stages.append(line.removeprefix("event: "))
        assert stages[-1] == "end"
        done = await ended(client, run["id"])
        assert done["status"] == "done", done["error"]
        assert done["result"]["strategies"][0]["params"] == {"fast": 20, "slow": 30}
        assert done["result"]["trades"] > 10
        names = {item["name"] for item in done["artefacts"]}
        assert {"result.json", "equity.parquet", "fills.parquet", "trades.parquet"} <= names
        data = await client.get(f"{BASE}/{run['id']}/artefacts/equity.parquet")
        equity = pyarrow.parquet.read_table(io.BytesIO(data.content))["equity"]
        assert equity[-1].as_py() == done["result"]["equity_last"]
        second = await ended(client, (await submit(client, wish(fast=5)))["id"])
        shown = (await client.get(f"{BASE}/compare?ids={run['id']},{second['id']}")).json()
        assert shown["same_data"] is True
        assert shown["metrics"]["sharpe"][0] == done["result"]["metrics"]["sharpe"]
        listed = (await client.get(BASE, params={"limit": 1})).json()
        assert [item["id"] for item in listed["items"]] == [second["id"]]
        rest = (await client.get(BASE, params={"after": listed["next"]})).json()
        assert [item["id"] for item in rest["items"]] == [run["id"]]
        assert (await client.delete(f"{BASE}/{run['id']}")).status_code == 204
        assert (await client.get(f"{BASE}/{run['id']}")).status_code == 404


async def test_a_strategy_that_breaks_rules_fails_alone_and_its_place_is_named(make: Any) -> None:
    async with up(make(backtests_parallel=2)) as client:
        ids = {
            what: (await submit(client, body))["id"]
            for what, body in {
                "raise": wish("unruly", mode=2),
                "range": wish("unruly", mode=4),
                "memory": wish("unruly", mode=3),
                "good": wish(),
                "name": wish("sma_cros"),
                "load": wish("dies"),
                "param": wish(fsat=3),
                "length": {"spec": {**wish()["spec"], "start": "2022-12-27"}},
            }.items()
        }
        errors = {}
        for what, run_id in ids.items():
            run = await ended(client, run_id)
            errors[what] = run["error"]
            assert run["status"] == ("done" if what in ("good", "length") else "failed"), run
        for what in ("raise", "range", "memory"):
            assert "unruly.py:" in errors[what], errors[what]
        assert "the hundredth bar is too much" in errors["raise"]
        assert "2018-05-24" in errors["raise"]  # the hundredth session of 2018
        assert "decision out of range" in errors["range"]
        assert "2018-05-24" in errors["range"]
        assert "emory" in errors["memory"]
        assert "did you mean sma_cross" in errors["name"]
        assert "dies.py:2: ended by SIGABRT" in errors["load"]
        assert "did you mean fast?" in errors["param"]


async def test_a_strategy_that_hangs_is_ended_and_its_bar_is_named(make: Any) -> None:
    async with up(make(backtests_timeout_s=3.0, backtests_locate_s=120.0)) as client:
        run = await ended(client, (await submit(client, wish("unruly", mode=1)))["id"])
        assert run["status"] == "failed"
        assert "unruly.py:" in run["error"]
        assert "bar 99 of AAPL" in run["error"]
        assert "time limit of 3 s" in run["error"]


async def test_a_full_queue_refuses_and_a_cancelled_run_makes_room(make: Any) -> None:
    async with up(make(backtests_queue_max=1)) as client:
        first = await submit(client, wish("unruly", mode=1))

        async def at_work() -> bool:
            return await status_of(client, first["id"]) == "running"

        await eventually(at_work, within_s=PATIENCE_S, what="the first run at work")
        second = await submit(client, wish())
        refused = await client.post(BASE, content=msgspec.json.encode(wish()))
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "5"
        assert refused.json()["code"] == "queue-full"
        cancelled = await client.post(f"{BASE}/{first['id']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        assert (await client.post(f"{BASE}/{first['id']}/cancel")).status_code == 409
        assert (await ended(client, second["id"]))["status"] == "done"
        assert await status_of(client, first["id"]) == "cancelled"


async def test_searches_are_run_and_kept(make: Any) -> None:
    axes = [{"name": "fast", "values": [5, 10]}, {"name": "slow", "values": [20, 50]}]
    plan = {"axes": axes, "returns": True}
    bodies = {
        "sweep": {"plan": plan},
        "walk_forward": {"plan": {"axes": axes}, "steps": {"train": 500, "test": 250}},
        "cpcv": {"plan": plan, "folds": {"groups": 4, "horizon": 10}},
    }
    async with up(make(backtests_parallel=2)) as client:
        ids = {
            kind: (await submit(client, {**wish(), "kind": kind, "report": True, **more}))["id"]
            for kind, more in bodies.items()
        }
        runs = {kind: await ended(client, run_id) for kind, run_id in ids.items()}
        for run in runs.values():
            assert run["status"] == "done", run["error"]
        swept = runs["sweep"]["result"]
        assert swept["trials"] == 4
        assert swept["best"]["params"]["fast"] in (5, 10)
        assert 0.0 <= swept["overfitting"]["probability"] <= 1.0
        names = {item["name"] for item in runs["sweep"]["artefacts"]}
        assert {"journal.jsonl", "sweep.json", "heat_map.html"} <= names
        assert len(runs["walk_forward"]["result"]["windows"]) == 3
        crossed = runs["cpcv"]["result"]
        assert (len(crossed["splits"]), len(crossed["paths"])) == (6, 3)
        assert crossed["sharpe"]["inside_of_all"] == swept["best"]["metrics"]["sharpe"]
        listed = (await client.get(BASE, params={"kind": "cpcv"})).json()["items"]
        assert [(item["id"], item["strategies"]) for item in listed] == [
            (ids["cpcv"], ["sma_cross"])
        ]
        for body, complaint in (
            ({**wish(), "kind": "sweep"}, "kind sweep wants plan"),
            ({**wish(), "plan": plan}, "plan does not go with kind backtest"),
            ({**wish(), "kind": "cpcv", "plan": plan, "folds": {"chosen": 6}}, "less than the 6"),
            ({"kind": "parity"}, "kind parity wants recorded"),
            ({"kind": "parity", "recorded": {}}, "name a day, or start and end"),
            ({"kind": "parity", "recorded": {"day": "2024-02-31"}}, "is not a date"),
        ):
            answer = await client.post(BASE, content=msgspec.json.encode(body))
            assert answer.status_code == 422, body
            assert complaint in answer.json()["detail"]


async def test_a_recorded_session_is_replayed_and_a_difference_at_night_is_told(
    make: Any, database_url: str, redis_url: str
) -> None:
    count = record(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE signals SET target = 0.5 WHERE bar_ts = (SELECT max(bar_ts) FROM signals)"
        )
    url = as_role("backtester", database_url)
    async with up(make(database_url=url)) as client:
        body = {"kind": "parity", "recorded": {"day": "2024-01-02", "nightly": True}}
        run = await ended(client, (await submit(client, body))["id"])
        assert run["status"] == "done", run["error"]
        assert run["result"]["decisions"]["same"] == count - 1
        assert {item["name"] for item in run["artefacts"]} >= {"parity.json", "parity.html"}
        (shown,) = (await client.get(BASE, params={"kind": "parity"})).json()["items"]
        assert shown["parity"]["causes"]["decisions"] == run["result"]["decisions"]["causes"]
        await eventually(
            lambda: len(messages(redis_url, "log:notifications", Notification)) == 1,
            within_s=PATIENCE_S,
            what="the notification",
        )
        (told,) = messages(redis_url, "log:notifications", Notification)
        assert told.payload.title == "Live decisions of 2024-01-02 differ from their replay"
        empty = {"kind": "parity", "recorded": {"day": "2023-01-02"}}
        failed = await ended(client, (await submit(client, empty))["id"])
        assert "no signal is recorded" in failed["error"]


async def test_what_ran_as_the_service_ended_is_interrupted_and_can_be_resumed(make: Any) -> None:
    async with up(make()) as client:
        hanging = await submit(client, wish("unruly", mode=1))
        waiting = await submit(client, wish())

        async def at_work() -> bool:
            return await status_of(client, hanging["id"]) == "running"

        await eventually(at_work, within_s=PATIENCE_S, what="the run at work")
    async with up(make(backtests_timeout_s=5.0, backtests_locate_s=0.2)) as client:
        left = await ended(client, hanging["id"])
        assert left["status"] == "interrupted"
        assert "resume" in left["error"]
        assert (await ended(client, waiting["id"]))["status"] == "done"
        resumed = await client.post(f"{BASE}/{hanging['id']}/resume")
        assert resumed.status_code == 202
        over = await ended(client, hanging["id"])
        assert over["status"] == "failed"
        assert over["attempts"] == 2
        assert (await client.post(f"{BASE}/{waiting['id']}/resume")).status_code == 409


async def test_bad_requests_are_refused_with_the_field(make: Any, tmp_path: Path) -> None:
    async with up(make()) as client:
        for body, complaint in (
            (b"{", "truncated"),
            (b"[]", "Expected `object`"),
            (b'{"spec": {"strategies": []}}', "strategies"),
            (b'{"spec": 1, "colour": 2}', "spec"),
        ):
            answer = await client.post(BASE, content=body)
            assert answer.status_code == 422, body
            assert complaint in answer.json()["detail"]
        outside = wish()
        outside["spec"]["source"] = {"kind": "file", "path": "../../etc/passwd"}
        answer = await client.post(BASE, content=msgspec.json.encode(outside))
        assert answer.status_code == 422
        assert "lies outside the data folder" in answer.json()["detail"]
        nobody = "00000000-0000-7000-8000-000000000001"
        assert (await client.get(f"{BASE}/{nobody}")).status_code == 404
        assert (await client.get(f"{BASE}/{nobody}/events")).status_code == 404
        assert (await client.post(f"{BASE}/{nobody}/cancel")).status_code == 404
        assert (await client.get(f"{BASE}/compare?ids={nobody}")).status_code == 422


async def test_no_file_beside_a_run_s_own_can_be_had(make: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "secret.txt").write_text("secret")
    async with up(make()) as client:
        run = await ended(client, (await submit(client, wish()))["id"])
        folder = f"{BASE}/{run['id']}/artefacts"
        for name in ("../secret.txt", "..%2Fsecret.txt", "job.json", "nothing.html", ".hidden"):
            answer = await client.get(f"{folder}/{name}")
            assert answer.status_code in (404, 422), name
            assert "secret" not in answer.text or "secret.txt" in name


async def test_bars_of_the_database_can_be_tested_on(make: Any, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT ensure_month_partition('market_ohlcv', '2024-01-01'::date)")
        connection.execute(
            """
            INSERT INTO market_ohlcv (symbol, timeframe, ts, open, high, low, close, volume,
                                      provider)
            SELECT 'KO', '1m', '2024-01-02T14:30:00Z'::timestamptz + n * interval '1 minute',
                   p, p + 1, p - 1, p + 0.5, 1000, 'test'
            FROM (SELECT n, 50 + 5 * sin(n / 10.0) AS p FROM generate_series(0, 389) AS n) AS made
            """
        )
    body = wish()
    body["spec"] |= {
        "strategies": [{"class_name": "sma_cross", "symbols": ["KO"]}],
        "timeframe": "1m",
        "start": "2024-01-02T15:30:00Z",
        "source": {"kind": "store"},
    }
    async with up(make()) as client:
        run = await ended(client, (await submit(client, body))["id"])
        assert run["status"] == "done", run["error"]
        assert run["result"]["data"]["bars"] == 330
        assert run["result"]["data"]["first"] == "2024-01-02T15:30:00.000000000Z"
        assert run["result"]["trades"] >= 3
        body["spec"]["strategies"][0]["symbols"] = ["PEP"]
        missing = await ended(client, (await submit(client, body))["id"])
        assert missing["status"] == "failed"
        assert "no bars of PEP" in missing["error"]
