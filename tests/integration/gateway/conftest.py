"""Both servers, once, for all cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateways import Gateway, Stubs, running_gateway, stub_services


@pytest.fixture(scope="session")
def stubs() -> Iterator[Stubs]:
    with stub_services() as services:
        yield services


@pytest.fixture(scope="session", params=["caddy", "nginx"])
def served(
    request: pytest.FixtureRequest, stubs: Stubs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp(request.param)
    with running_gateway(request.param, folder, stubs) as gateway:
        yield gateway
