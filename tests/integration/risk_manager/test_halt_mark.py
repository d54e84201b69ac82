"""A mark of `halt --direct` halts a risk manager that starts, or runs, until a person resumes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from infra.halt.keep import keep_halted
from infra.halt.place import Place
from libs.common.kernel.errors import InvalidInputError
from services.risk_manager.halt_mark import read_mark
from services.risk_manager.main import build
from services.risk_manager.settings import RiskSettings
from tests.support.runtimes import eventually, ready, serving

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


def settings(database_url: str, redis_url: str, mark: Path) -> RiskSettings:
    return RiskSettings(
        database_url=database_url, redis_url=redis_url, risk_halt_mark=mark, risk_watch_s=0.1
    )


def order_halt(mark: Path, reason: str) -> None:
    """Halt as `tradewind halt --direct` does it where the database is away."""
    place = Place("http://broker", "key", "secret", None, AWAY, "main", mark)
    kept, how = keep_halted(place, reason, flatten=False)
    assert kept, how
    assert str(mark) in how


async def state(service: httpx.AsyncClient) -> tuple[str, str]:
    found = (await service.get("/api/v1/risk/state")).json()
    return found["state"], found["reason"]


async def test_a_mark_halts_until_a_person_resumes(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    mark = tmp_path / "halt" / "halted.json"
    order_halt(mark, "before the first start")
    here = settings(database_url, redis_url, mark)
    for _ in range(2):  # a start later it is halted still
        async with serving(build(here)) as service:
            await ready(service)
            assert await state(service) == ("halted", "before the first start")
    async with serving(build(here)) as service:
        await ready(service)
        await service.post("/api/v1/risk/resume", json={"reason": "explained"})
        assert await state(service) == ("active", "explained")
    async with serving(build(here)) as service:
        await ready(service)
        assert await state(service) == ("active", "explained")
        order_halt(mark, "while it runs")

        async def halted() -> bool:
            return await state(service) == ("halted", "while it runs")

        await eventually(halted, what="halted by the mark")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": "x"}', '{"set_at": 1}'])
def test_what_is_no_mark_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "halted.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="mark of a halt"):
        read_mark(path)
    assert read_mark(tmp_path / "none.json") is None
