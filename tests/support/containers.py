"""The same servers as containers of the official images, where a Docker engine is there."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import redis
from testcontainers.core.container import DockerContainer

from infra.embedded.ports import LOOPBACK, free_port

PASSWORD = "test-only"  # a throw-away server on the loopback interface
START_TIMEOUT_S = 90.0


class ContainerServer:
    """A server in a container, with the manners of `servers.ServerProcess`."""

    def __init__(self, container: DockerContainer, url: str) -> None:
        self._container = container
        self.url = url
        self._created = False

    def start(self) -> None:
        """Start the container (again) and wait until the server answers."""
        if self._created:
            wrapped: Any = self._container.get_wrapped_container()
            wrapped.start()
        else:
            self._container.start()
            self._created = True
        self.wait_ready()

    def wait_ready(self) -> None:
        """Block until the server answers. PostgreSQL restarts once while it initialises."""
        deadline = time.monotonic() + START_TIMEOUT_S
        streak = 0
        while time.monotonic() < deadline:
            streak = streak + 1 if self._answers() else 0
            if streak >= 3:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.url.split(':')[0]} did not answer in {START_TIMEOUT_S} s")

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
        """Send a signal to the container's first process."""
        self._container.get_wrapped_container().kill(number.name)

    def kill(self) -> None:
        """SIGKILL the container."""
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server; `start` starts it again with its data."""
        self._container.get_wrapped_container().stop()

    def remove(self) -> None:
        """Remove the container and its data."""
        self._container.stop()


@contextmanager
def postgres_container() -> Iterator[ContainerServer]:
    """Run the `postgres:17` image."""
    port = free_port()
    container = (
        DockerContainer("postgres:17")
        .with_env("POSTGRES_PASSWORD", PASSWORD)
        .with_command("postgres -c max_connections=300")
        .with_bind_ports(5432, port)
    )
    server = ContainerServer(
        container, f"postgresql://postgres:{PASSWORD}@{LOOPBACK}:{port}/postgres"
    )
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def redis_container() -> Iterator[ContainerServer]:
    """Run the `redis:7` image without persistence."""
    port = free_port()
    container = (
        DockerContainer("redis:7")
        .with_command(f'redis-server --save "" --appendonly no --requirepass {PASSWORD}')
        .with_bind_ports(6379, port)
    )
    server = ContainerServer(container, f"redis://:{PASSWORD}@{LOOPBACK}:{port}/0")
    try:
        server.start()
        yield server
    finally:
        server.remove()
