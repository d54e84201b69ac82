"""Compiled code on disk never outlives the sources it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
