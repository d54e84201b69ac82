"""`tradewind new strategy` and `tradewind strategy check`: without any system."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from libs.common.strategy.loader import load_file, strategy_files
from libs.common.strategy.trial import try_out
from tests.support.gateway_stand_in import StandIn, tradewind


@pytest.fixture
def folder(gateway: StandIn, tmp_path: Path) -> Path:
    return tmp_path / "var" / "strategies"


@pytest.mark.parametrize("kind", ["single", "cross", "python"])
def test_new_strategy_works_and_so_does_its_test(folder: Path, kind: str) -> None:
    told = tradewind("new", "strategy", f"my_{kind}", "--kind", kind).output
    source, test = folder / f"my_{kind}.py", folder / f"test_my_{kind}.py"
    assert str(source) in told.replace("\n", "")
    (loaded,) = load_file(source)
    assert (loaded.definition.name, loaded.definition.kind.value) == (f"my_{kind}", kind)
    assert try_out(loaded, lambda ts: None).signals > 10
    runpy.run_path(str(test))["test_by_hand"]()
    assert strategy_files(folder) == (source,)


def test_nothing_is_overwritten(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "test_mine.py").write_text("mine")
    result = tradewind("new", "strategy", "mine")
    assert (result.exit_code, "is there already" in result.stderr) == (1, True)
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]
    (folder / "mine.py").write_text("mine")
    assert "is taken by" in tradewind("new", "strategy", "mine").stderr
    assert (folder / "mine.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MyIdea", "my_idea would do"),
        ("my-idea", "my_idea would do"),
        ("../escape", "escape would do"),
        ("2fast", "must begin with a small letter"),
        ("sma_cross", "take another, such as my_sma_cross"),
        ("rsi_2", "take that name"),
        ("class", "a word of Python's own"),
        ("test_mine", "as only tests do"),
        ("x" * 61, "not have more than 60 letters"),
        ("", "must begin with a small letter"),
    ],
)
def test_bad_names_are_told(folder: Path, name: str, reason: str) -> None:
    result = tradewind("new", "strategy", name)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not folder.exists()


def test_check_tells_file_line_and_bar(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from libs.common.strategy import PythonStrategy\n\n\nclass Bad(PythonStrategy):\n"
        "    def step(self, bar, out):\n        out.target = bar.close / (bar.open - bar.open)\n"
    )
    result = tradewind("strategy", "check", str(path))
    assert result.exit_code == 1
    said = result.stderr.replace("\n", "")
    assert f"{path}:6: bad: bar 2020-01-02 00:00:00 UTC of A: ZeroDivisionError" in said


def test_check_shows_what_a_good_file_did(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(
        "from libs.common.strategy import PythonStrategy\n\n\nclass Good(PythonStrategy):\n"
        '    """Goes with the bar."""\n\n'
        "    def step(self, bar, out):\n        out.target = float(bar.close > bar.open)\n"
        "\n\nclass Idle(PythonStrategy):\n    def step(self, bar, out):\n        pass\n"
    )
    output = tradewind("strategy", "check", str(path)).output
    assert "Goes with the bar." in output
    assert "idle never decided on" in output
