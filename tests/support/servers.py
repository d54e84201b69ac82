"""Real PostgreSQL and a real Redis-protocol server for tests, each on a free port."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from infra.embedded import postgres
from infra.embedded.child import Child
from infra.embedded.ports import free_port
from infra.embedded.redis_server import RedisServer, find_binary

PASSWORD = "test-only"
START_TIMEOUT_S = 60.0


@dataclass
class ServerProcess:
    """A server that a test may kill, stop, continue and start again on the same port."""

    child: Child
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        child = self.child
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                child.command,
                env=dict(child.env),
                cwd=child.cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=child.user,
                group=child.group,
                extra_groups=[] if child.user is not None else None,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Block until the server answers; raises RuntimeError with its log's end otherwise."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._answers():
                return
            assert self.process is not None
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.child.name} did not start:\n{tail}")

    def _answers(self) -> bool:
        try:
            if self.url.startswith("redis"):
                with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                    return bool(client.ping())
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
                return True
        except (redis.RedisError, psycopg.Error, OSError):
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's main process."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the server and all its children, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """End the server in its own way."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.child.stop_signal)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def running_postgres(directory: Path) -> Iterator[ServerProcess]:
    """Run a PostgreSQL cluster under `directory`; `url` is the superuser's."""
    cluster = postgres.prepare(directory / "postgres", free_port(), PASSWORD, directory / "shared")
    config = cluster.data / "postgresql.conf"
    # A test database need not survive a power cut of the machine; it still survives SIGKILL.
    config.write_text(config.read_text() + "\nfsync = off\nmax_connections = 300\n")
    server = ServerProcess(cluster.child(directory), cluster.url(), directory / "postgres.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_redis(directory: Path) -> Iterator[ServerProcess]:
    """Run a Redis-protocol server that keeps nothing."""
    redis_server = RedisServer(find_binary(), directory / "redis", free_port(), PASSWORD)
    server = ServerProcess(redis_server.child(), redis_server.url, directory / "redis.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def drop_database(url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with psycopg.connect(url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute("SET statement_timeout = '2s'")
        try:
            connection.execute(drop)
        except psycopg.errors.QueryCanceled:
            # A connection of ours that was given up while it logged in stays open until it is
            # collected, and the server waits for it, a minute at most.
            gc.collect()
            connection.execute("RESET statement_timeout")
            connection.execute(drop)
