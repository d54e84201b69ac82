"""Copies of strategy files: what was loaded, not what has become of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libs.common.strategy.loader import load_file
from services.strategy_engine.keepsake import keep

FILE = """
from libs.common.strategy import PythonStrategy


class Kept(PythonStrategy):
    def step(self, bar, out):
        out.target = 1.0
"""


@pytest.fixture(autouse=True)
def own_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_copy_stays_what_was_loaded_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "kept.py"
    path.write_text(FILE)
    (loaded,) = load_file(path)
    copy = keep(loaded)
    path.write_text(FILE.replace("1.0", "0.5"))
    assert (copy.read_text(), keep(loaded)) == (FILE, copy)
    assert load_file(copy)[0].version_hash == loaded.version_hash


def test_file_that_changed_before_it_was_kept_is_left_to_be_found_out(tmp_path: Path) -> None:
    path = tmp_path / "kept.py"
    path.write_text(FILE)
    (loaded,) = load_file(path)
    path.write_text(FILE.replace("1.0", "0.5"))
    assert keep(loaded) == path


def test_place_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "kept.py"
    path.write_text(FILE)
    (loaded,) = load_file(path)
    (tmp_path / f"tradewind-strategies-{os.getuid()}").write_text("in the way")
    assert keep(loaded) == path
