"""Free ports stay free while the part that uses them is down."""

from __future__ import annotations

import pytest

from infra.embedded.ports import GIVEN_RANGE, free_ports, is_free


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(12)
    assert len(set(ports)) == 12
    assert all(is_free(port) for port in ports)


def test_no_connection_going_out_can_take_a_port_that_a_part_comes_back_to() -> None:
    if not GIVEN_RANGE.exists():
        pytest.skip("this system does not say which ports it gives to connections")
    first, last = map(int, GIVEN_RANGE.read_text().split())
    if first < 16_000:
        pytest.skip("this system gives nearly every port to connections")
    assert not [port for port in free_ports(50) if first <= port <= last]
