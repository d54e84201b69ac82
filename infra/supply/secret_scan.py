"""Look for secrets in what git tracks, or in everything that it ever tracked.

`python -m infra.supply.secret_scan` runs detect-secrets with all of its detectors over the working
tree. What it finds must stand in `known_findings.json` (a detect-secrets baseline) together with
the reason why it is no secret; a finding that is gone must leave that file. Exit 1 otherwise.

--history           also every line that any commit ever added
--accept "REASON"   write the findings of now into the baseline, the new ones with this reason

Nothing is sent anywhere: detect-secrets would ask AWS, Slack, … whether a key works; that is off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detect_secrets.__version__ import VERSION
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.core.scan import scan_file
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
from detect_secrets.plugins.keyword import (
    QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
    REGEX_BY_FILETYPE,
    KeywordDetector,
)
from detect_secrets.settings import get_plugins, transient_settings
from detect_secrets.util.filetype import determine_file_type

ROOT = Path(__file__).resolve().parents[2]
BASELINE = "infra/supply/known_findings.json"
# Tests make servers and accounts up that live for seconds. There a word like "password" beside a
# quoted text says nothing; the shapes of real keys and tokens are looked for there as everywhere.
MADE_UP_IN = "tests/"
MADE_UP = frozenset({"Secret Keyword", "Basic Auth Credentials"})
# The lock's hashes are not secret, and the baseline holds hashes of its own.
LEFT_OUT = frozenset({"requirements.lock", BASELINE})
# Files whose lines detect-secrets reads one by one; others it first parses.
PLAIN = frozenset({".py", ".md", ".sql", ".sh", ".txt"})
_FILTERS = (
    "allowlist.is_line_allowlisted",
    "heuristic.is_indirect_reference",
    "heuristic.is_likely_id_string",
    "heuristic.is_not_alphanumeric_string",
    "heuristic.is_potential_uuid",
    "heuristic.is_prefixed_with_dollar_sign",
    "heuristic.is_sequential_string",
    "heuristic.is_templated_secret",
)


@dataclass(frozen=True, order=True)
class Finding:
    """Something that looks like a secret; `hashed` is the SHA-1 that a baseline keeps."""

    path: str
    kind: str
    hashed: str


@dataclass(frozen=True)
class Known:
    """Why a finding is no secret, and whether only the history has it."""

    reason: str
    past: bool


def tracked(root: Path) -> list[str]:
    """Return the paths that git tracks and that are there."""
    listing = _git(root, "ls-files", "-z")
    return [path for path in listing.split("\0") if path and (root / path).is_file()]


def findings(root: Path, paths: Iterable[str]) -> dict[Finding, int]:
    """Return what looks like a secret in files below `root`, each with its line."""
    found = {}
    with transient_settings(_settings()):
        for path in paths:
            if path in LEFT_OUT or not _suspicious(root / path):
                continue
            for secret in scan_file(str(root / path)):
                if not (path.startswith(MADE_UP_IN) and secret.type in MADE_UP):
                    found[Finding(path, secret.type, secret.secret_hash)] = secret.line_number
    return found


def history(root: Path, target: Path) -> list[str]:
    """Write each path's lines of all commits under `target`; return the paths."""
    lines: dict[str, dict[str, None]] = {}
    log = _git(root, "log", "--all", "-p", "--unified=0", "--format=", "--no-color", "--no-renames")
    path = ""
    for line in log.split("\n"):
        if line.startswith("+++ "):
            path = line[6:].rstrip("\t") if line.startswith("+++ b/") else ""
        elif line.startswith("+") and path:
            lines.setdefault(path, {})[line[1:]] = None
    for path, added in lines.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text("\n".join(added) + "\n", encoding="utf-8")
    return sorted(lines)


def known(baseline: Path) -> dict[Finding, Known]:
    """Return the findings of a baseline with their reasons; raises ValueError for one without."""
    if not baseline.exists():
        return {}
    found = {}
    for path, entries in json.loads(baseline.read_text(encoding="utf-8"))["results"].items():
        for entry in entries:
            reason = str(entry.get("reason", "")).strip()
            if not reason:
                raise ValueError(f"{path}: {entry['type']} has no reason in {baseline.name}")
            finding = Finding(path, entry["type"], entry["hashed_secret"])
            found[finding] = Known(reason, bool(entry.get("past", False)))
    return found


def past_findings(root: Path) -> set[Finding]:
    """Return what looks like a secret in any line that any commit added."""
    with tempfile.TemporaryDirectory(prefix="tradewind-history-") as folder:
        return set(findings(Path(folder), history(root, Path(folder))))


def accept(root: Path, reason: str, *, with_history: bool) -> None:
    """Write the baseline anew: known findings keep their reasons, new ones get `reason`."""
    before = known(root / BASELINE)
    now = findings(root, tracked(root))
    past = {finding for finding, entry in before.items() if entry.past}
    if with_history:
        shown = {(finding.kind, finding.hashed) for finding in now}
        past = {old for old in past_findings(root) if (old.kind, old.hashed) not in shown}
    results: dict[str, list[dict[str, object]]] = {}
    for finding in sorted(now.keys() | past):
        entry = before.get(finding, Known(reason, past=False))
        results.setdefault(finding.path, []).append(
            {
                "type": finding.kind,
                "filename": finding.path,
                "hashed_secret": finding.hashed,
                "is_verified": False,
                "is_secret": False,
                **({"line_number": now[finding]} if finding in now else {"past": True}),
                "reason": entry.reason,
            }
        )
    text = json.dumps({"version": VERSION, **_settings(), "results": results}, indent=2)
    (root / BASELINE).write_text(text + "\n", encoding="utf-8")


def check(root: Path, *, with_history: bool) -> list[str]:
    """Return what is wrong, one line each: unknown findings, and known ones that are gone."""
    explained = known(root / BASELINE)
    found = findings(root, tracked(root))
    wrong = [
        f"{new.path}:{line}: {new.kind}"
        for new, line in sorted(found.items())
        if new not in explained
    ]
    wrong += [
        f"{old.path}: {old.kind} is gone, but stands in {BASELINE}"
        for old in sorted(explained.keys() - found.keys())
        if not explained[old].past
    ]
    if with_history:
        settled = {(finding.kind, finding.hashed) for finding in explained}
        wrong += [
            f"{old.path}: {old.kind} in the history (SHA-1 {old.hashed[:10]})"
            for old in sorted(past_findings(root))
            if (old.kind, old.hashed) not in settled
        ]
    return wrong


def _suspicious(path: Path) -> bool:
    """Tell whether any detector's own pattern matches anywhere in a file.

    detect-secrets asks each of its detectors about each line, half a minute for this repository;
    a pattern asks the whole text at once. None of them is tied to the start of a line, so a file
    without a match has no line with one.
    """
    if path.suffix not in PLAIN:
        return True
    text = path.read_text(encoding="utf-8", errors="replace")
    plugins: list[BasePlugin] = get_plugins()
    return any(_matches(plugin, path, text) for plugin in plugins)


def _matches(plugin: BasePlugin, path: Path, text: str) -> bool:
    if isinstance(plugin, RegexBasedDetector):
        return any(pattern.search(text) for pattern in plugin.denylist)
    if isinstance(plugin, HighEntropyStringsPlugin):
        return any(
            plugin.calculate_shannon_entropy(quoted) > plugin.entropy_limit
            for quoted in set(plugin.analyze_string(text))
        )
    if isinstance(plugin, KeywordDetector):
        patterns = REGEX_BY_FILETYPE.get(
            determine_file_type(str(path)), QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP
        )
        return any(pattern.search(text) for pattern in patterns)
    return True


def _settings() -> dict[str, Any]:
    """Return all detectors and the filters, as detect-secrets reads them from a baseline."""
    kinds: dict[str, type[Any]] = get_mapping_from_secret_type_to_class()
    names = sorted(plugin.__name__ for plugin in kinds.values())
    return {
        "plugins_used": [{"name": name} for name in names],
        "filters_used": [{"path": f"detect_secrets.filters.{name}"} for name in _FILTERS],
    }


def _git(root: Path, *arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return ended.stdout.decode("utf-8", errors="replace")


def main() -> None:
    """Scan the repository; exit 1 when anything is to be done."""
    parser = argparse.ArgumentParser(prog="secret_scan", description="look for secrets")
    parser.add_argument("--history", action="store_true", help="every commit too")
    parser.add_argument("--accept", metavar="REASON", help="why the new findings are no secrets")
    given = parser.parse_args()
    if given.accept:
        accept(ROOT, given.accept, with_history=given.history)
        return
    wrong = check(ROOT, with_history=given.history)
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(
            f"secret-scan: {len(wrong)} findings; remove the secret (and change it where it is "
            'used), or explain it: python -m infra.supply.secret_scan --accept "REASON"'
        )
    print("secret-scan: nothing that is not explained")


if __name__ == "__main__":
    main()
