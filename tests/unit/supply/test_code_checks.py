"""bandit and hadolint are on, and whoever switches one off somewhere says why."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        ("import subprocess\nsubprocess.run('ls ' + name, shell=True)\n", "B602"),
        ("db.execute(f\"SELECT * FROM users WHERE name = '{name}'\")\n", "B608"),
        ("import requests\nrequests.get(url, verify=False)\n", "B501"),
    ],
)
def test_bandit_finds_what_is_planted(tmp_path: Path, planted: str, code: str) -> None:
    (tmp_path / "planted.py").write_text(planted)
    ended = run(BIN / "bandit", "-q", "-c", ROOT / "pyproject.toml", tmp_path / "planted.py")
    assert ended.returncode == 1
    assert code in ended.stdout


def test_each_excuse_for_bandit_names_the_rule_and_the_reason() -> None:
    listing = run("git", "-C", ROOT, "grep", "-n", "# nosec", "--", "*.py", ":!tests").stdout
    excuses = listing.splitlines()
    assert excuses
    wanted = re.compile(r"# nosec B\d{3} # \w.{5,}$")
    assert [line for line in excuses if not wanted.search(line)] == []


def test_each_rule_that_bandit_skips_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.split("[tool.bandit]")[1].split("\n[")[0]
    lines = [line for line in section.splitlines() if '"B' in line]
    assert lines
    assert [line for line in lines if not re.search(r'"B\d{3}",  # \w.{10,}', line)] == []


def test_the_dockerfiles_pass_hadolint_and_a_planted_fault_does_not(tmp_path: Path) -> None:
    dockerfiles = sorted((ROOT / "docker").glob("*.Dockerfile"))
    assert dockerfiles
    ended = run(BIN / "hadolint", *dockerfiles)
    assert ended.returncode == 0, ended.stdout
    copy = tmp_path / "planted.Dockerfile"
    shutil.copy(dockerfiles[0], copy)
    copy.write_text(copy.read_text() + "\nUSER root\nRUN sudo cd /tmp\nFROM python\n")
    ended = run(BIN / "hadolint", copy)
    assert ended.returncode == 1
    assert {"DL3002", "DL3004", "DL3006"} <= set(re.findall(r"DL\d{4}", ended.stdout))
