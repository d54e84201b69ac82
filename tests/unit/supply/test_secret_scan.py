"""The scan for secrets finds what is planted, where it is planted, and forgets nothing."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from infra.supply.secret_scan import BASELINE, accept, check, known


def whole(pieces: str) -> str:
    return pieces.replace(" ", "")


# Put together here, so that none of them stands in a file of this repository.
AWS = "AKIA" + whole("Z7QK3W VTJ5XM LA2B")
GITHUB = "ghp" + "_" + whole("x9Kd83 hfKdu2 7dhGka P0qlsm Vb47Rt YwQz21")
STRIPE = "sk" + "_live_" + whole("9aK3mQ 7xTz2L pW8vRc 5NbY1d")
PEM = "-----BEGIN " + "PRIVATE KEY-----"
HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
CLAIMS = base64.urlsafe_b64encode(b'{"sub":"somebody"}').decode().rstrip("=")
JWT = f"{HEADER}.{CLAIMS}.c2lnbmF0dXJlc2lnbmF0dXJl"
HEX = whole("9f8e7d 6c5b4a 392817 06f5e4 d3c2b1 a08c1d 4e5f")
BASE64 = whole("qK9vX2 mZpL7w R4tYc8 NbV1dG hJ5sF3 aEuI6o Q0xTzW kM")
WORD = "correct-horse-battery"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / BASELINE).parent.mkdir(parents=True)
    (tmp_path / "services").mkdir()
    (tmp_path / "tests").mkdir()
    git(tmp_path, "init", "-q")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def plant(root: Path, path: str, text: str) -> None:
    (root / path).write_text(text)
    git(root, "add", path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"key = '{AWS}'", "AWS Access Key"),
        (f"# {AWS}", "AWS Access Key"),
        (f"token: {GITHUB}", "GitHub Token"),
        (f"call({STRIPE})", "Stripe Access Key"),
        (f'KEY = """\n{PEM}\nabc\n"""', "Private Key"),
        (f"bearer {JWT}", "JSON Web Token"),
        (f'seed("{HEX}")', "Hex High Entropy String"),
        (f'x = "{BASE64}"', "Base64 High Entropy String"),
        (f'password = "{WORD}"', "Secret Keyword"),
        (f'url = "postgresql://me:{WORD}@db/x"', "Basic Auth Credentials"),
    ],
)
@pytest.mark.parametrize("path", ["services/a.py", "services/a.md", "services/a.yml"])
def test_a_planted_secret_is_found(repository: Path, path: str, text: str, kind: str) -> None:
    if path.endswith(".yml"):
        text = f"a: |\n  {text}" if "\n" not in text else text
    plant(repository, path, f"first line\n{text}\nlast line\n")
    found = check(repository, with_history=False)
    assert any(line.startswith(f"{path}:") and line.endswith(kind) for line in found), found


def test_made_up_passwords_may_stand_in_tests_but_no_key_may(repository: Path) -> None:
    plant(repository, "tests/a.py", f'password = "{WORD}"\nkey = "{AWS}"\n')
    assert check(repository, with_history=False) == ["tests/a.py:2: AWS Access Key"]


def test_an_explained_finding_is_quiet_until_it_changes_or_goes(repository: Path) -> None:
    plant(repository, "services/a.py", f'password = "{WORD}"\n')
    accept(repository, "an example of the manual", with_history=False)
    assert check(repository, with_history=False) == []
    plant(repository, "services/a.py", f'# moved\npassword = "{WORD}"\n')
    assert check(repository, with_history=False) == []
    plant(repository, "services/a.py", f'password = "{WORD}-2"\n')
    assert check(repository, with_history=False) == [
        "services/a.py:1: Secret Keyword",
        f"services/a.py: Secret Keyword is gone, but stands in {BASELINE}",
    ]


def test_a_new_finding_does_not_lend_its_reason_to_others(repository: Path) -> None:
    plant(repository, "services/a.py", f'password = "{WORD}"\n')
    accept(repository, "first", with_history=False)
    plant(repository, "services/b.py", f'password = "{WORD}-b"\n')
    accept(repository, "second", with_history=False)
    reasons = {
        finding.path: entry.reason for finding, entry in known(repository / BASELINE).items()
    }
    assert reasons == {"services/a.py": "first", "services/b.py": "second"}


def test_a_finding_without_a_reason_is_refused(repository: Path) -> None:
    plant(repository, "services/a.py", f'password = "{WORD}"\n')
    accept(repository, " ", with_history=False)
    with pytest.raises(ValueError, match="Secret Keyword has no reason"):
        check(repository, with_history=False)


def test_the_history_keeps_what_the_tree_has_lost(repository: Path) -> None:
    plant(repository, "services/a.py", f'key = "{AWS}"\n')
    git(repository, "commit", "-qm", "one")
    plant(repository, "services/a.py", "key = None\n")
    git(repository, "commit", "-qm", "two")
    assert check(repository, with_history=False) == []
    (line,) = check(repository, with_history=True)
    assert line.startswith("services/a.py: AWS Access Key in the history")
    accept(repository, "was never valid", with_history=True)
    assert check(repository, with_history=True) == []


def test_the_baseline_of_the_project_explains_each_entry() -> None:
    root = Path(__file__).resolve().parents[3]
    entries = known(root / BASELINE)
    assert all(len(entry.reason) > 10 for entry in entries.values())
    plugins = json.loads((root / BASELINE).read_text())["plugins_used"]
    assert {"name": "KeywordDetector"} in plugins
    assert len(plugins) >= 25
