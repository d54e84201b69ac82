"""A PostgreSQL cluster of our own, from the binaries of a Python package."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.embedded.child import Child
from infra.embedded.errors import EmbeddedError
from infra.embedded.ports import LOOPBACK
from infra.embedded.postgres_install import SystemUser, binaries, can_run, system_user

SUPERUSER = "postgres"
SHARED_ROOT = Path("/var/lib/tradewind")
INITDB_TIMEOUT_S = 120
CONNECT_TIMEOUT_S = 2

CONFIG = """\
# Written by the embedded runtime at every start; changes are lost.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '128MB'
max_wal_size = '1GB'
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_checkpoints = off
"""

HBA = """\
# Written by the embedded runtime at every start; changes are lost.
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster lives and with which binaries it runs."""

    data: Path
    binaries: Path
    port: int
    password: str
    user: SystemUser | None

    def url(self, database: str = "postgres") -> str:
        """Return the superuser's URL of `database`; it carries the password."""
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def child(self, cwd: Path) -> Child:
        """Return the server process; SIGINT is PostgreSQL's fast shutdown."""
        return Child(
            name="postgres",
            command=(str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd=cwd,
            ready=self.not_ready,
            stop_signal=signal.SIGINT,
            stop_timeout_s=30.0,
            user=None if self.user is None else self.user.uid,
            group=None if self.user is None else self.user.gid,
        )

    async def not_ready(self) -> str | None:
        """Return None when the server takes our password and answers, else why it does not."""
        try:
            connection = await psycopg.AsyncConnection.connect(
                self.url(), connect_timeout=CONNECT_TIMEOUT_S
            )
            async with connection:
                await connection.execute("select 1")
        except psycopg.Error as error:
            return str(error).strip()
        return None


def prepare(directory: Path, port: int, password: str, shared_root: Path = SHARED_ROOT) -> Cluster:
    """Return a cluster under `directory`, initialised on first use. Blocks; takes seconds then.

    An existing cluster runs with the binaries of the version that made it. Where we are root and
    PostgreSQL's account cannot get to `directory`, the cluster lies under `shared_root` and
    `directory` is a link.
    """
    user = system_user() if os.geteuid() == 0 else None
    base = _reachable_base(directory, user, shared_root)
    data = base / "data"
    cluster = Cluster(data, binaries(_version_of(data), base, user), port, password, user)
    if not (data / "PG_VERSION").exists():
        _initialise(cluster)
    _write_configuration(cluster)
    return cluster


def _reachable_base(directory: Path, user: SystemUser | None, shared_root: Path) -> Path:
    """Return `directory`, or where its link leads if PostgreSQL's account can't get there.

    Root's home is closed to others on most systems, and opening it is not ours to do.
    """
    if directory.is_symlink():
        return directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    if user is None or _can_enter(directory, user):
        return directory
    if any(directory.iterdir()):
        raise EmbeddedError(
            f"the account {user.name}, which runs PostgreSQL for root, cannot reach {directory}",
            "move the state to a directory that others may pass through (TRADEWIND_HOME=/path)",
        )
    shared_root.mkdir(parents=True, exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(dir=shared_root, prefix=f"{directory.parent.name}-"))
    elsewhere.chmod(0o755)
    directory.rmdir()
    directory.symlink_to(elsewhere, target_is_directory=True)
    return elsewhere


def _can_enter(directory: Path, user: SystemUser) -> bool:
    return can_run(user, ["/bin/sh", "-c", 'cd "$1" && test -x .', "sh", str(directory)])


def _version_of(data: Path) -> int | None:
    path = data / "PG_VERSION"
    try:
        return int(path.read_text().strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EmbeddedError(
            f"{path} cannot be read as a version of PostgreSQL: {error}",
            "these books are damaged: restore them, or start others with TRADEWIND_HOME=/path",
        ) from error


def _initialise(cluster: Cluster) -> None:
    """Make the cluster beside its place and move it there, so that a half-made one never counts."""
    user = cluster.user
    with tempfile.TemporaryDirectory(dir=cluster.data.parent, prefix=".initdb-") as scratch:
        made = Path(scratch) / "data"
        password_file = Path(scratch) / "password"
        password_file.write_text(cluster.password + "\n")
        password_file.chmod(0o600)
        if user is not None:
            for path in (Path(scratch), password_file):
                os.chown(path, user.uid, user.gid)
        command = [
            str(cluster.binaries / "initdb"),
            f"--pgdata={made}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        ]
        try:
            done = subprocess.run(
                command,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                cwd="/",
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else [],
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EmbeddedError(f"initdb of {cluster.data} did not run: {error}") from error
        if done.returncode != 0:
            raise EmbeddedError(
                f"initdb of {cluster.data} failed: {(done.stderr or done.stdout).strip()}",
                "free some disk space or choose another place with TRADEWIND_HOME=/path",
            )
        made.rename(cluster.data)


def _write_configuration(cluster: Cluster) -> None:
    for name, text in (("postgresql.auto.conf", CONFIG), ("pg_hba.conf", HBA)):
        path = cluster.data / name
        path.write_text(text)
        path.chmod(0o600)
        if cluster.user is not None:
            os.chown(path, cluster.user.uid, cluster.user.gid)
