"""The two gateway configurations say the same, and what is committed is what is rendered."""

from __future__ import annotations

import re

import pytest

from infra.caddy_config import NOT_BY_CADDY
from infra.gateway import CADDY_FILE, NGINX_FILE, files
from infra.routes import BODY_BYTES_MAX, PORTS, ROUTES, TITLES


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_committed_file_is_the_rendered_one(path: object) -> None:
    assert files()[path].splitlines() == path.read_text().splitlines()  # type: ignore[index, attr-defined]


def nginx_routes() -> dict[str, str]:
    text = NGINX_FILE.read_text()
    found = re.findall(r"location ~ \^(\S+)\(/\|\$\) \{\s+set \$upstream (\w+):(\d+);", text)
    return {path: f"{service}:{port}" for path, service, port in found}


def caddy_routes() -> dict[str, str]:
    text = CADDY_FILE.read_text()
    paths = dict(re.findall(r"@(\w+) path_regexp \^(\S+)\(/\|\$\)\n", text))
    targets = re.findall(
        r"handle @(\w+) \{\s+request_header -Upgrade\s+"
        r"reverse_proxy 127\.0\.0\.1:\{\$TRADEWIND_(\w+)_PORT:(\d+)\}",
        text,
    )
    return {paths[name]: f"{service.lower()}:{port}" for name, service, port in targets}


def test_both_serve_the_same_routes() -> None:
    expected = {route.path: f"{route.service}:{PORTS[route.service]}" for route in ROUTES}
    assert nginx_routes() == caddy_routes() == expected


def test_both_limit_bodies_alike() -> None:
    assert f"client_max_body_size {BODY_BYTES_MAX};" in NGINX_FILE.read_text()
    assert f"max_size {BODY_BYTES_MAX}" in CADDY_FILE.read_text()


@pytest.mark.parametrize("status", TITLES)
def test_both_answer_their_own_errors_as_problems(status: int) -> None:
    assert f"location @problem_{status} {{" in NGINX_FILE.read_text()
    assert (f"handle @problem_{status} {{" in CADDY_FILE.read_text()) == (
        status not in NOT_BY_CADDY
    )


def test_the_simulator_is_not_behind_the_gateway() -> None:
    assert "broker_simulator" not in NGINX_FILE.read_text()
    assert "9109" not in CADDY_FILE.read_text()
