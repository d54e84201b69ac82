"""Compiled code on disk never outlives the sources it was made from."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libs.common.quant.compile import InTreeLocator, compiled, compiled_as, package_stamp
from libs.common.quant.indicators import sma
from strategies.sma_cross import SmaCross


def test_stamp_changes_with_any_file_of_the_package(tmp_path: Path) -> None:
    def stamp() -> str:
        package_stamp.cache_clear()
        return package_stamp(tmp_path)

    (tmp_path / "inner").mkdir()
    indicator = tmp_path / "inner" / "indicator.py"
    indicator.write_text("x = 1\n")
    first = stamp()
    assert stamp() == first
    indicator.write_text("x = 2\n")
    assert stamp() != first
    indicator.write_text("x = 1\n")
    assert stamp() == first
    indicator.rename(tmp_path / "inner" / "other.py")
    assert stamp() != first
    package_stamp.cache_clear()


def test_strategies_and_indicators_are_cached_under_that_stamp() -> None:
    # Numba's own stamp covers a function's own file only: a changed indicator would live on in
    # the cached code of every strategy that inlines it.
    functions: tuple[Any, ...] = (sma, SmaCross.definition.step)
    for function in functions:
        source = function.py_func
        locator = InTreeLocator(source, source.__code__.co_filename)
        assert locator.get_source_stamp()[1] == package_stamp()
        assert function._cache._impl.locator.get_source_stamp()[1] == package_stamp()


def test_code_without_a_file_to_cache_beside_is_compiled_all_the_same() -> None:
    # As on a read-only file system: Numba finds no place for a cache.
    scope: dict[str, Any] = {"__name__": "nowhere"}
    exec(compile("def twice(x):\n    return 2.0 * x\n", "<nowhere>", "exec"), scope)
    assert compiled(scope["twice"])(1.5) == 3.0
    assert compiled_as("float64(float64)", scope["twice"])(1.5) == 3.0


def module(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def total(tmp_path: Path) -> Iterator[ModuleType]:
    """A function of a file of its own."""
    yield module(tmp_path / "cached_total.py", "def total(pair):\n    return pair[0] + pair[1]\n")
    sys.modules.pop("cached_total")


def test_an_index_that_names_a_module_that_is_gone_counts_as_absent(
    tmp_path: Path, total: ModuleType
) -> None:
    text = "from typing import NamedTuple\n\nclass Pair(NamedTuple):\n    a: float\n    b: float\n"
    gone = module(tmp_path / "cached_pair.py", text)
    assert compiled(total.total)(gone.Pair(1.0, 2.0)) == 3.0
    assert list((tmp_path / "__pycache__").glob("*.nbi"))
    again: Any = compiled(total.total)
    assert again(gone.Pair(1.0, 2.0)) == 3.0
    assert sum(again.stats.cache_hits.values()) == 1
    del sys.modules["cached_pair"]
    (tmp_path / "cached_pair.py").unlink()
    anew: Any = compiled(total.total)
    assert anew((1.0, 2.0)) == 3.0
    assert sum(anew.stats.cache_hits.values()) == 0
    after: Any = compiled(total.total)
    assert after((1.0, 2.0)) == 3.0
    assert sum(after.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("kept", [0, 20, 60])
def test_files_that_are_cut_short_count_as_absent(
    tmp_path: Path, total: ModuleType, suffix: str, kept: int
) -> None:
    assert compiled(total.total)((1.0, 2.0)) == 3.0
    (path,) = (tmp_path / "__pycache__").glob(f"*.{suffix}")
    path.write_bytes(path.read_bytes()[:kept])
    assert compiled(total.total)((1.0, 2.0)) == 3.0
    after: Any = compiled(total.total)
    assert after((1.0, 2.0)) == 3.0
    assert sum(after.stats.cache_hits.values()) == 1


def test_scipy_is_imported_by_what_needs_it_alone() -> None:
    pytest.importorskip("scipy")
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from libs.common.quant.compile import compiled\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "dot = compiled(lambda a: np.dot(a, a))\n"
        "assert dot(np.array([1.0, 2.0])) == 5.0\n"
        "assert 'dgemm' in sys.modules['scipy.linalg.cython_blas'].__pyx_capi__\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
