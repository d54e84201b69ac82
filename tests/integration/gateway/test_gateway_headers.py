"""What every answer carries, what of a request's header reaches a service, and who may ask."""

from __future__ import annotations

import httpx
import pytest

from infra.gateway_policy import HEADERS, METHODS, PAGE_POLICY, STRICT_TRANSPORT
from tests.support.gateways import PAGE, Gateway, assert_problem

ANSWERS = ("/health", "/api/v1/risk/state", "/nowhere", "/api/v1/risk/x?status=500", "/a//b")


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_carries_the_headers_once(served: Gateway, path: str) -> None:
    headers = served.client.get(path).headers
    for name, value in {
        **HEADERS,
        "Content-Security-Policy": PAGE_POLICY,
        "Cache-Control": "no-store",
        "Strict-Transport-Security": STRICT_TRANSPORT,
    }.items():
        assert headers.get_list(name) == [value], name
    assert "x-powered-by" not in headers
    assert not [name for name in headers if name.startswith("access-control-")]
    assert headers.get("server", "nginx") == "nginx"
    assert "unsafe-inline" not in headers["content-security-policy"]


def test_localhost_is_not_told_to_be_strict_about_its_other_ports(served: Gateway) -> None:
    answer = served.client.get("/health", headers={"Host": f"localhost:{served.port}"})
    assert answer.status_code == 200
    assert "strict-transport-security" not in answer.headers


def test_a_services_own_policy_stands(served: Gateway) -> None:
    headers = served.client.get("/api/v1/backtests/1/page").headers
    assert headers.get_list("content-security-policy") == [PAGE]
    assert headers.get_list("cache-control") == ["max-age=60"]


def test_what_a_client_tells_of_its_origin_is_dropped(served: Gateway) -> None:
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "X-Original-URL": "/metrics",
        "X-Rewrite-URL": "/metrics",
        "Proxy": "http://evil.example",
    }
    seen = served.client.get("/api/v1/risk/state", headers=lies).json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == f"127.0.0.1:{served.port}"
    for name in ("x-forwarded-port", "x-forwarded-prefix", "forwarded", "x-real-ip",
                 "x-original-url", "x-rewrite-url", "proxy"):  # fmt: skip
        assert name not in seen


def test_tokens_and_keys_pass(served: Gateway) -> None:
    sent = {"Authorization": "Bearer a.b.c", "X-API-Key": "tw_1_2"}
    seen = served.client.get("/api/v1/risk/state", headers=sent).json()["headers"]
    assert (seen["authorization"], seen["x-api-key"]) == ("Bearer a.b.c", "tw_1_2")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8443", "127.0.0.1.evil.example", "10.0.0.1", "localhost.x"],
)
def test_strange_host_names_are_not_answered(served: Gateway, host: str) -> None:
    before = len(served.stubs.seen)
    assert_problem(served.client.get("/api/v1/orders", headers={"Host": host}), 421)
    assert_problem(served.client.get("/health", headers={"Host": host}), 421)
    assert len(served.stubs.seen) == before


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1:1", "[::1]", "[::1]:8443"])
def test_own_names_are_answered(served: Gateway, host: str) -> None:
    assert served.client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_origins_are_refused(served: Gateway, origin: str, method: str) -> None:
    before = len(served.stubs.seen)
    answer = served.client.request(method, "/api/v1/orders", headers={"Origin": origin})
    assert_problem(answer, 403)
    assert len(served.stubs.seen) == before


def test_own_pages_may_ask(served: Gateway) -> None:
    answer = served.client.post("/api/v1/orders", headers={"Origin": served.url})
    assert answer.status_code == 200


def test_a_preflight_is_refused(served: Gateway) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = served.client.options("/api/v1/orders", headers=asked)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == ", ".join(METHODS)


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND", "PURGE", "get"])
def test_other_methods_are_refused(served: Gateway, method: str) -> None:
    request = httpx.Request(method, f"{served.url}/api/v1/orders")
    request.method = method
    answer = served.client.send(request)
    assert answer.status_code in (400, 405)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_of_proxies_are_refused(served: Gateway, method: str) -> None:
    before = len(served.stubs.seen)
    assert served.ask(b"/api/v1/orders", method=method.encode()).status in (400, 405)
    assert len(served.stubs.seen) == before
