"""The real PostgreSQL and Redis-protocol server start, keep or forget, and stop."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import redis.asyncio

from infra.embedded import postgres, redis_server
from infra.embedded.errors import EmbeddedError
from infra.embedded.logs import LogFiles
from infra.embedded.ports import free_port, is_free
from infra.embedded.supervisor import Supervisor
from libs.common.runtime.clocks import SystemClock


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    (tmp_path / "logs").mkdir()
    supervisor = Supervisor(
        LogFiles(tmp_path / "logs", bytes_max=1_000_000, keep=1),
        lambda level, text: None,
        SystemClock(),
    )
    yield supervisor
    await supervisor.stop_all([])


@pytest.fixture
def shared_root() -> Iterator[Path]:
    """A directory that PostgreSQL's account can reach; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def test_postgres_keeps_its_rows_over_a_restart(
    supervisor: Supervisor, tmp_path: Path, shared_root: Path
) -> None:
    directory = tmp_path / "postgres"
    cluster = postgres.prepare(directory, free_port(), "s3cret", shared_root)
    await supervisor.start(cluster.child(tmp_path))
    async with await psycopg.AsyncConnection.connect(cluster.url()) as connection:
        await connection.execute("create table t (x int)")
        await connection.execute("insert into t values (7)")
    await supervisor.stop("postgres")
    assert supervisor.records["postgres"].exit_code == 0
    assert is_free(cluster.port)

    again = postgres.prepare(directory, free_port(), "s3cret", shared_root)
    await supervisor.start(again.child(tmp_path))
    async with await psycopg.AsyncConnection.connect(again.url()) as connection:
        row = await (await connection.execute("select x from t")).fetchone()
    assert row == (7,)


async def test_postgres_asks_for_the_password_and_listens_on_loopback_only(
    supervisor: Supervisor, tmp_path: Path, shared_root: Path
) -> None:
    cluster = postgres.prepare(tmp_path / "postgres", free_port(), "s3cret", shared_root)
    await supervisor.start(cluster.child(tmp_path))
    wrong = cluster.url().replace("s3cret", "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(wrong)
    async with await psycopg.AsyncConnection.connect(cluster.url()) as connection:
        row = await (
            await connection.execute("select current_setting('listen_addresses')")
        ).fetchone()
    assert row == ("127.0.0.1",)
    assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        assert cluster.data.stat().st_uid != 0


async def test_unreachable_home_of_root_is_served_from_elsewhere(
    tmp_path: Path, shared_root: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root needs another account for PostgreSQL")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "postgres"
    cluster = postgres.prepare(directory, free_port(), "s3cret", shared_root)
    assert directory.is_symlink()
    assert cluster.data.is_relative_to(shared_root)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    again = postgres.prepare(directory, free_port(), "s3cret", shared_root)
    assert again.data == cluster.data


def test_a_damaged_cluster_is_named(shared_root: Path) -> None:
    data = shared_root / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("abc\n")
    with pytest.raises(EmbeddedError, match=r"data/PG_VERSION cannot be read"):
        postgres.prepare(shared_root / "postgres", free_port(), "s3cret", shared_root)


async def test_redis_forgets_over_a_restart_and_asks_for_the_password(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    server = redis_server.RedisServer(
        redis_server.find_binary(), tmp_path / "redis", free_port(), "s3cret"
    )
    await supervisor.start(server.child())
    client = redis.asyncio.from_url(server.url)
    await client.set("a", "1")
    await client.aclose()
    await supervisor.stop("redis")
    await supervisor.start(server.child())
    client = redis.asyncio.from_url(server.url)
    assert await client.get("a") is None
    await client.aclose()
    stranger = redis.asyncio.from_url(f"redis://127.0.0.1:{server.port}/0")
    with pytest.raises(redis.exceptions.AuthenticationError):
        await stranger.ping()
    await stranger.aclose()
    assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600


async def test_redis_that_is_not_there_gives_a_reason() -> None:
    reason = await redis_server.not_ready(f"redis://127.0.0.1:{free_port()}/0")
    assert reason is not None
    assert "127.0.0.1" in reason
