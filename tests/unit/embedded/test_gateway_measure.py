"""How much of the machine the embedded gateway takes."""

from __future__ import annotations

import pytest

from infra.embedded.gateway import measure


@pytest.mark.parametrize(("processors", "taken"), [(1, "1"), (2, "1"), (3, "1"), (8, "4")])
def test_the_gateway_leaves_half_of_the_processors_to_the_services(
    processors: int, taken: str
) -> None:
    assert measure(processors)["GOMAXPROCS"] == taken


def test_a_heap_that_may_grow_has_a_bound() -> None:
    assert (measure(2)["GOGC"], measure(2)["GOMEMLIMIT"]) == ("400", "256MiB")
