"""docs/security.md names proofs that exist: a mitigation whose test is gone is a claim."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`tradewind ([a-z-]+(?: [a-z-]+)?)", PAGE)))


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:tests|services|libs|infra)/[\w./-]+)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_threat_of_stride_has_a_proof() -> None:
    table = PAGE.split("### STRIDE")[1].split("###")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert [row for row in rows if not re.search(r"`[\w./ -]+`|\]\(", row.split("|")[3])] == []
    for kind in ("Spoofing", "Tampering", "Repudiation", "disclosure", "Denial", "Elevation"):
        assert kind in table


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", PAGE))))
def test_every_target_that_the_page_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_every_command_that_the_page_names_exists() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LIST], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    known = set(said)
    missing = [words for words in COMMANDS if words not in known and words.split()[0] not in known]
    assert missing == []
    groups = {words.split()[0] for words in known if " " in words}
    unknown = [
        words
        for words in COMMANDS
        if " " in words and words.split()[0] in groups and words not in known
    ]
    assert unknown == []


LIST = """
import typer
from cli.main import app
root = typer.main.get_command(app)
for name, command in root.commands.items():
    print(name)
    for inner in getattr(command, "commands", {}):
        print(name, inner)
"""
