"""Ask an advisory service about every package of requirements.lock, or say that nobody answered.

`python -m infra.supply.advisories` runs pip-audit over the whole lock, whatever machine it runs on:
the pins of other platforms and Python versions are asked about too, because the images have
another Python than the one that runs this. It ends with

0  every package was asked about, and none has a known hole
1  holes were found; they are printed
3  NOT CHECKED: the service could not be reached, or its answer cannot be believed

A service that answers "nothing known" to everything would make a hopeless lock look clean. So each
run also asks about a package whose holes have been public for years, and believes nobody who has
not heard of them. TRADEWIND_ADVISORY_URL names another service that speaks OSV's query API.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLEAN, HOLES, NOT_CHECKED = 0, 1, 3
TIMEOUT_S = 15  # of one request
RUN_TIMEOUT_S = 900  # of all of them
# In every advisory database since 2019 (CVE-2019-10906, escape from the sandbox).
CANARY = ("jinja2", "2.10")
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)")
NO_HASH = "sha256:" + "0" * 64  # the canary is asked about, never installed


@dataclass(frozen=True, order=True)
class Hole:
    """A published hole in a package of the lock."""

    package: str
    version: str
    advisory: str
    fixed_in: str
    summary: str


class NotCheckedError(Exception):
    """No answer, or none that can be believed."""


def pins(lock: str) -> set[tuple[str, str]]:
    """Return name and version of every package of a lock, whatever its environment marker."""
    found = (PIN.match(line) for line in lock.splitlines())
    return {(match.group(1).lower(), match.group(2)) for match in found if match is not None}


def question(lock: str) -> str:
    """Return the lock without its markers: pip-audit leaves out what would not install here."""
    lines = (re.sub(r" ;[^\\]*", " ", line) for line in lock.splitlines() if not _comment(line))
    return "\n".join(lines) + "\n"


def holes(packages: Iterable[Mapping[str, object]], asked: set[tuple[str, str]]) -> list[Hole]:
    """Return the holes that pip-audit reports.

    Raises NotCheckedError where it leaves out a package or does not know the canary's.
    """
    answered: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for package in packages:
        if "version" in package:
            key = (str(package["name"]).lower(), str(package["version"]))
            answered[key] = list(_items(package, "vulns"))
    missing = sorted(asked - answered.keys())
    if missing:
        names = ", ".join("==".join(pin) for pin in missing[:5])
        raise NotCheckedError(f"{len(missing)} packages were left out, among them {names}")
    if not answered.get(CANARY):
        raise NotCheckedError(
            f"it knows of no hole in {'=='.join(CANARY)}, which has some: not to be believed"
        )
    return sorted(
        Hole(
            *pin,
            advisory=str(hole["id"]),
            fixed_in=", ".join(map(str, _list(hole, "fix_versions"))) or "no release",
            summary=str(hole.get("description", ""))[:100],
        )
        for pin, found in answered.items()
        if pin in asked
        for hole in found
    )


def ask(lock: str, url: str) -> list[Mapping[str, object]]:
    """Return what pip-audit reports on each package of a lock, and on the canary.

    Raises NotCheckedError where there is no report. pip-audit takes a name once a run, and a lock
    for several Pythons may pin it twice; so there may be more runs than one.
    """
    canary = f"{CANARY[0]}=={CANARY[1]} --hash={NO_HASH}\n"
    packages: list[Mapping[str, object]] = []
    for part in _once_each(question(lock) + canary):
        packages += _items(_report(part, url), "dependencies")
    return packages


def _report(lock: str, url: str) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory(prefix="tradewind-advisories-") as folder:
        asked, report = Path(folder) / "asked.lock", Path(folder) / "report.json"
        asked.write_text(lock, encoding="utf-8")
        command = [
            sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--require-hashes",
            "--disable-pip", "--format", "json", "--output", str(report), "--progress-spinner",
            "off", "--timeout", str(TIMEOUT_S), "--cache-dir", str(Path(folder) / "cache"),
            "--requirement", str(asked), *(["--osv-url", url] if url else []),
        ]  # fmt: skip
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise NotCheckedError(f"no end after {RUN_TIMEOUT_S} s") from error
        try:
            answer = json.loads(report.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            said = ended.stderr.strip().splitlines() or ["pip-audit said nothing"]
            raise NotCheckedError(said[-1]) from error
    if not isinstance(answer, dict):
        raise NotCheckedError("pip-audit's report is not the one we know")
    return answer


def audit(lock: str, url: str = "") -> int:
    """Ask about a lock, print the outcome, return the exit code."""
    asked = pins(lock)
    try:
        if not asked:
            raise NotCheckedError("the lock names no package")
        found = holes(ask(lock, url), asked)
    except NotCheckedError as error:
        print(f"audit-deps: NOT CHECKED, nothing is known about {len(asked)} packages: {error}")
        print("audit-deps: the advisory service has to be reached (TRADEWIND_ADVISORY_URL)")
        return NOT_CHECKED
    for hole in found:
        print(f"{hole.package} {hole.version}: {hole.advisory}, fixed in {hole.fixed_in}")
        print(f"    {hole.summary}")
    if found:
        print(f"audit-deps: {len(found)} known holes in {len(asked)} packages")
        return HOLES
    print(f"audit-deps: no known hole in {len(asked)} packages")
    return CLEAN


def _once_each(lock: str) -> list[str]:
    """Split a lock so that no part pins a name twice, as two Python versions may."""
    parts: list[dict[str, list[str]]] = []
    current: list[str] = []
    for line in lock.splitlines():
        match = PIN.match(line)
        if match is not None:
            name = match.group(1).lower()
            part = next((part for part in parts if name not in part), None)
            if part is None:
                part = {}
                parts.append(part)
            current = part.setdefault(name, [])
        current.append(line)
    return ["\n".join(line for block in part.values() for line in block) + "\n" for part in parts]


def _comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _items(value: Mapping[str, object], name: str) -> Iterator[Mapping[str, object]]:
    for item in _list(value, name):
        if isinstance(item, dict):
            yield item


def _list(value: Mapping[str, object], name: str) -> list[object]:
    found = value.get(name, [])
    return found if isinstance(found, list) else []


def main() -> None:
    """Audit requirements.lock, or the lock named on the command line."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "requirements.lock"
    sys.exit(audit(path.read_text(encoding="utf-8"), os.environ.get("TRADEWIND_ADVISORY_URL", "")))


if __name__ == "__main__":
    main()
