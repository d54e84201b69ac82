"""Which tests run one after another, while the other workers run the rest.

A test that starts the whole system wants most of the machine while it starts, and waits most of the
time after that. So all of those make one lane: they never run beside each other, one worker takes
them first, and the other workers run everything else meanwhile: modules with a slow test first, so
that no long one begins when the others are about to end.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

MARK: Final = "serial"
SLOW: Final = "slow"
# xdist's controller knows the names of tests alone, not their marks; `in_order` holds the two
# against each other.
LANE: Final = (
    "tests/e2e/",
    "tests/unit/backtest/test_backtest_sweep.py::test_a_local_ray_cluster_gives_the_same_bits",
)


class Lanes(LoadScopeScheduling):
    """Hands out whole modules, in the order of collection; the serial tests as one unit."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = MARK if nodeid.startswith(LANE) else super()._split_scope(nodeid)
        return scope


def in_order(items: list[pytest.Item]) -> None:
    """Put the serial tests first, then the modules that hold a slow one, the rest as it stands.

    Raises UsageError where a test's mark and its lane disagree.
    """
    for item in items:
        if (item.get_closest_marker(MARK) is not None) != item.nodeid.startswith(LANE):
            raise pytest.UsageError(
                f"{item.nodeid}: marked serial and not in LANE of tests/support/lanes.py, or the"
                " other way round"
            )
    slow = {item.path for item in items if item.get_closest_marker(SLOW) is not None}
    items.sort(key=lambda item: (not item.nodeid.startswith(LANE), item.path not in slow))
