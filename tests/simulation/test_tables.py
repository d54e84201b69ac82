"""What the invariants rely on where they spare a look: every write of a row is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.tables import Table


def test_each_write_is_counted() -> None:
    table: Table[str, int] = Table()
    table["a"] = 1
    table["a"] = 1
    assert table.writes == 2
    del table["a"]
    assert (table.writes, table) == (3, {})


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.clear(),
        lambda table: table.pop("a"),
        lambda table: table.popitem(),
        lambda table: table.setdefault("b", 2),
        lambda table: table.update(b=2),
        lambda table: table.__ior__({"b": 2}),
    ],
)
def test_there_is_no_other_way_to_write(write: Callable[[Any], object]) -> None:
    table: Table[str, int] = Table()
    table["a"] = 1
    with pytest.raises(TypeError, match="one by one"):
        write(table)
    assert (table.writes, table) == (1, {"a": 1})
