"""Looks for secrets and personal details where none may be: in logs, on record, in answers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import httpx
import psycopg

from tests.support.system import System

SHORT = 12
"""A secret below this length would be found by chance."""
TOKENS = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,}")
KEYS = re.compile(r"tw_[A-Za-z0-9]{4,}_[A-Za-z0-9_-]{20,}")
PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|argon2id\$|enc:gAAAA")
TABLES = {
    "audit_log": "details || coalesce(ip, '') || coalesce(user_agent, '') || actor || resource",
    "outbox": "convert_from(message, 'UTF8')",
    "deployments": "settings::text",
    "alerts": "title || message || context::text",
}


def secrets_of(home: Path) -> dict[str, str]:
    """Return every secret of an installation by a name that may be printed."""
    folder = home / "credentials"
    found: dict[str, str] = {}
    for name, value in json.loads((folder / "secrets.json").read_text()).items():
        found[name] = value
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "secrets.json" and path.suffix not in (".crt", ".pem"):
            lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
            for number, line in enumerate(lines):
                if len(line) >= SHORT and not line.startswith("-----"):
                    found[f"{path.name}:{number}"] = line
    return {name: value for name, value in found.items() if len(value) >= SHORT}


def leaks(text: str, secrets: dict[str, str]) -> list[str]:
    """Return which secrets stand in `text`, by name."""
    found = [name for name, value in secrets.items() if value in text]
    for name, pattern in (("a token", TOKENS), ("an API key", KEYS), ("private data", PRIVATE)):
        if (match := pattern.search(text)) is not None:
            found.append(f"{name}: …{text[max(0, match.start() - 60) : match.start() + 6]}…")
    return found


def leaks_anywhere(
    system: System,
    secrets: dict[str, str],
    answers: Sequence[httpx.Response],
    but: Collection[str] = (),
) -> list[str]:
    """Return what of `secrets` stands in a log, on record or in an answer, with the place; tables
    named in `but` may hold it."""
    return [
        f"{place}: {leak}"
        for place, text in (
            *logs_of(system),
            *records_of(system),
            *((str(answer.url.path), answer.text) for answer in answers),
        )
        for leak in leaks(text, secrets)
        if place not in but
    ]


def logs_of(system: System) -> Iterator[tuple[str, str]]:
    """Yield all logs of a run with their names."""
    yield system.output.name, system.output.read_text(errors="replace")
    for path in sorted(system.home.rglob("*.log*")):
        if path.is_file():
            yield str(path.relative_to(system.home)), path.read_text(errors="replace")


def records_of(system: System) -> Iterator[tuple[str, str]]:
    """Yield what the database holds on record, by table, as the audit service may read it."""
    password = json.loads((system.home / "credentials" / "secrets.json").read_text())[
        "database_audit"
    ]
    port = system.state()["ports"]["postgres"]
    url = f"postgresql://audit:{password}@127.0.0.1:{port}/tradewind"
    with psycopg.connect(url) as connection:
        for table, column in TABLES.items():
            rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()  # type: ignore[arg-type]
            yield table, "\n".join(str(row[0]) for row in rows)
