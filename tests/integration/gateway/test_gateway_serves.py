"""Real Caddy and real Nginx in front of stub services: both must behave the same."""

from __future__ import annotations

import httpx
import pytest

from infra.routes import BODY_BYTES_MAX, ROUTES, Route
from tests.support.gateways import DEAD_AREA, Gateway, assert_problem


@pytest.fixture
def gateway(served: Gateway) -> httpx.Client:
    return served.client


def test_health_is_the_gateways_own(gateway: httpx.Client) -> None:
    response = gateway.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "service": "gateway"}
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.area != DEAD_AREA], ids=lambda route: route.area
)
def test_each_area_reaches_its_service(gateway: httpx.Client, route: Route) -> None:
    for path in (route.path, f"{route.path}/", f"{route.path}/a/b?x=1&y=a%20b"):
        seen = gateway.get(path).json()
        assert seen["service"] == route.service
        assert seen["path"] == path


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1/", "/api/v1/marketplace", "/api/v2/market", "/metrics", "/ready",
     "/docs", "/sim/clock", "/v2/orders"],
)  # fmt: skip
def test_unknown_path_is_a_404_problem(gateway: httpx.Client, path: str) -> None:
    response = gateway.get(path)
    assert_problem(response, 404)
    assert response.json()["instance"] == path


def test_path_cannot_break_the_problems_json(gateway: httpx.Client) -> None:
    response = gateway.get('/x%22y"z?q=%22"')
    assert_problem(response, 404)
    assert '"' not in response.json()["instance"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_methods_and_bodies_pass(gateway: httpx.Client, method: str) -> None:
    seen = gateway.request(method, "/api/v1/orders", content=b"x" * 1000).json()
    assert (seen["method"], seen["length"]) == (method, 1000)


def test_largest_body_passes(gateway: httpx.Client) -> None:
    seen = gateway.post("/api/v1/orders", content=b"x" * BODY_BYTES_MAX).json()
    assert seen["length"] == BODY_BYTES_MAX


def test_larger_body_is_a_413_problem(gateway: httpx.Client) -> None:
    assert_problem(gateway.post("/api/v1/orders", content=b"x" * (BODY_BYTES_MAX + 1)), 413)


def test_larger_chunked_body_is_a_413_problem(gateway: httpx.Client) -> None:
    chunks = (b"x" * 65_536 for _ in range(32))
    assert_problem(gateway.post("/api/v1/orders", content=chunks), 413)


def test_absent_service_is_a_502_problem(gateway: httpx.Client) -> None:
    assert_problem(gateway.get(f"/api/v1/{DEAD_AREA}/events"), 502)


@pytest.mark.parametrize("status", [201, 204, 400, 404, 409, 413, 422, 429, 500, 502, 503, 504])
def test_a_services_own_answer_is_left_alone(gateway: httpx.Client, status: int) -> None:
    response = gateway.get(f"/api/v1/risk/x?status={status}")
    assert response.status_code == status
    if status != 204:
        assert response.json()["service"] == "risk_manager"


def test_headers_are_passed(gateway: httpx.Client) -> None:
    response = gateway.post(
        "/api/v1/orders",
        json={},
        headers={"Idempotency-Key": "k-1", "X-Correlation-ID": "c-1", "X-Forwarded-For": "9.9.9.9"},
    )
    seen = response.json()["headers"]
    assert seen["idempotency-key"] == "k-1"
    assert seen["x-correlation-id"] == "c-1"
    assert response.headers["x-correlation-id"] == "c-1"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["host"] == f"127.0.0.1:{gateway.base_url.port}"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("given", ["", 'a"b', "a b", "x" * 129])
def test_unfit_correlation_id_is_replaced(gateway: httpx.Client, given: str) -> None:
    response = gateway.get("/api/v1/risk/state", headers={"X-Correlation-ID": given})
    made = response.json()["headers"]["x-correlation-id"]
    assert made not in ("", given)


def test_error_carries_the_callers_correlation_id(gateway: httpx.Client) -> None:
    response = gateway.get("/nowhere", headers={"X-Correlation-ID": "c-2"})
    assert_problem(response, 404)
    assert response.json()["correlation_id"] == "c-2"
