"""User files: loaded, refused with file and line, reloaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.kernel.errors import NotFoundError
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.loader import load_file
from libs.common.strategy.registry import load_directories

BUILT_IN = Path(__file__).parents[3] / "strategies"

GOOD = '''
from libs.common.strategy import Strategy, integer

class AlwaysLong(Strategy):
    """Long from the first bar."""

    class Params:
        size = integer(1, low=0, high=1)

    @staticmethod
    def step(state, bar, params, out):
        out.target = float(params.size)
'''


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> StrategyFileError:
    with pytest.raises(StrategyFileError) as caught:
        load_file(path)
    return caught.value


def test_good_file_gives_its_strategy(tmp_path: Path) -> None:
    (loaded,) = load_file(write(tmp_path, "always_long.py", GOOD))
    assert loaded.definition.name == "always_long"
    assert loaded.definition.summary == "Long from the first bar."
    assert len(loaded.version_hash) == 64


def test_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "broken.py", "x = 1\ny = (\n")
    error = refusal(path)
    assert error.line == 2
    assert str(path) in str(error)


def test_error_while_importing_names_its_line(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "broken.py", "x = 1\n\ny = 1 / 0\n"))
    assert (error.line, "ZeroDivisionError" in error.reason) == (3, True)


def test_missing_package_names_its_line(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "broken.py", "import no_such_package_here\n"))
    assert (error.line, "no_such_package_here" in error.reason) == (1, True)


def test_file_that_exits_does_not_take_us_along(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "broken.py", "raise SystemExit(3)\n")).line == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("out.target = bar.closed", "bar has no field 'closed'; did you mean close?"),
        ("out.target = params.sise", "params has no field 'sise'; did you mean size?"),
        ("out.tgt = 1.0", "out has no field 'tgt'"),
        ("state.zzzz = 1.0", "state has no field 'zzzz'"),
        ("out.target = open('x').read()", "AlwaysLong.step does not compile"),
        ("out.target = no_such_name", "AlwaysLong.step does not compile"),
        ("out.target = 'a' + 1", "AlwaysLong.step does not compile"),
    ],
)
def test_step_that_does_not_compile_names_its_line(tmp_path: Path, line: str, reason: str) -> None:
    text = GOOD.replace("out.target = float(params.size)", line)
    error = refusal(write(tmp_path, "broken.py", text))
    assert error.line == 12
    assert reason in error.reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("state, bar, params, out", "self, bar", "arguments must be"),
        ("    @staticmethod\n", "", "needs a `@staticmethod def step"),
        ("integer(1, low=0, high=1)", "5", "expected integer"),
        ("integer(1, low=0, high=1)", "integer(9, low=0, high=1)", "default 9 is not between"),
    ],
)
def test_broken_definition_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    error = refusal(write(tmp_path, "broken.py", GOOD.replace(old, new)))
    assert reason in error.reason
    assert error.line > 0


def test_file_without_strategy_is_refused(tmp_path: Path) -> None:
    assert "no subclass of Strategy" in refusal(write(tmp_path, "empty.py", "x = 1\n")).reason


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.py").reason
    path = tmp_path / "binary.py"
    path.write_bytes(b"\x00\xff\xfe")
    assert refusal(path).path == path


def test_broken_file_leaves_the_others_alone(tmp_path: Path) -> None:
    write(tmp_path, "a_broken.py", "y = (\n")
    write(tmp_path, "b_good.py", GOOD)
    registry = load_directories([tmp_path])
    assert list(registry.strategies) == ["always_long"]
    assert [error.path.name for error in registry.refused] == ["a_broken.py"]


def test_reload_takes_the_new_code(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", GOOD)
    first = load_directories([tmp_path])
    path.write_text(GOOD.replace("Long from", "Still long from"), encoding="utf-8")
    second = load_directories([tmp_path], first)
    old, new = first.get("always_long"), second.get("always_long")
    assert old.version_hash != new.version_hash
    assert new.definition.summary == "Still long from the first bar."


def test_reload_of_an_unchanged_file_keeps_its_strategy(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GOOD)
    first = load_directories([tmp_path])
    again = load_directories([tmp_path], first)
    assert again.get("always_long") is first.get("always_long")


def test_file_broken_at_reload_keeps_what_it_gave_before(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", GOOD)
    first = load_directories([tmp_path])
    path.write_text("oops(", encoding="utf-8")
    second = load_directories([tmp_path], first)
    assert second.get("always_long") is first.get("always_long")
    assert len(second.refused) == 1


def test_name_taken_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.py", GOOD)
    write(tmp_path, "b.py", GOOD)
    registry = load_directories([tmp_path])
    assert registry.get("always_long").path.name == "a.py"
    assert "is defined in" in registry.refused[0].reason


def test_unknown_name_suggests_near_ones() -> None:
    registry = load_directories([BUILT_IN])
    assert registry.refused == ()
    with pytest.raises(NotFoundError, match=r"did you mean sma_cross"):
        registry.get("sma_cros")


def test_file_loaded_under_another_module_name_has_its_own_compiled_cache() -> None:
    # Compiled code finds its globals by module name; a shared cache once made one of the two
    # names fail with ModuleNotFoundError in a process that knew only the other.
    code = "from {0} import {1}; {2}"
    by_import = code.format("strategies.sma_cross", "SmaCross", "SmaCross.definition.loop")
    by_loader = code.format(
        "libs.common.strategy.registry",
        "load_directories",
        "import pathlib; r = load_directories([pathlib.Path('strategies')]); assert not r.refused",
    )
    for source in (by_loader, by_import, by_loader):
        subprocess.run([sys.executable, "-c", source], cwd=BUILT_IN.parent, check=True)
