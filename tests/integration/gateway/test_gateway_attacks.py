"""Paths, frames and pieces as no honest client sends them: nothing unasked reaches a service."""

from __future__ import annotations

import secrets
import time

import pytest

from infra.routes import PORTS
from tests.support.gateways import Gateway

pytestmark = pytest.mark.slow

PATHS = (
    b"/api/v1/orders/../../../metrics",
    b"/api/v1/orders/%2e%2e/%2e%2e/%2e%2e/metrics",
    b"/api/v1/orders/%2E./%2E./%2E./metrics",
    b"/api/v1/orders/..%2f..%2f..%2fmetrics",
    b"/api/v1/orders/..%5c..%5cmetrics",
    b"/api/v1/orders/..\\..\\metrics",
    b"/api/v1/orders/./x",
    b"/api/v1/orders/.",
    b"/api/v1/orders/..",
    b"//metrics",
    b"//api/v1/orders",
    b"/api/v1//orders",
    b"/api/v1/orders//x",
    b"/metrics/../api/v1/orders",
    b"/api/v1/orders%2f..%2f..%2fmetrics",
    b"/api/v1/orders/%00",
    b"/api/v1/orders/x%00.json",
    b"/api/v1/orders/\x00",
    b"/api/v1/orders/\x7f\x01",
    b"/api/v1/orders#x",
    b"http://evil.example/api/v1/orders",
    b"https://127.0.0.1/api/v1/orders",
    b"https://localhost/api/v1/orders",
    b"*",
    b"api/v1/orders",
    b"/api/v1/orders/%zz",
)
CLOSED = (
    b"/metrics", b"/ready", b"/docs", b"/docs/oauth2-redirect", b"/openapi.json", b"/sim/clock",
    b"/sim/faults", b"/v2/orders", b"/v2/account", b"/stream", b"/api/v1", b"/api/v1/",
    b"/API/v1/orders",     b"/api/v1/Orders", b"/api/v1/ordersx", b"/.env", b"/.git/config",
    b"/nginx_status", b"/config/", b"/prometheus/",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_path_that_could_be_read_two_ways_reaches_no_service(served: Gateway, path: bytes) -> None:
    before = len(served.stubs.seen)
    answer = served.ask(path)
    assert answer.status in (400, 404, 421), answer.raw[:300]
    assert len(served.stubs.seen) == before


@pytest.mark.parametrize("path", CLOSED, ids=repr)
def test_what_is_no_route_reaches_no_service(served: Gateway, path: bytes) -> None:
    before = len(served.stubs.seen)
    answer = served.ask(path)
    assert answer.status in (400, 404), answer.raw[:300]
    assert len(served.stubs.seen) == before


@pytest.mark.parametrize("area", ["market/instruments/BTC/USD", "orders/a%20b", "orders/a;b=1,2",
                                  "market/bars?symbol=BTC%2FUSD&x=//..%2e"])  # fmt: skip
def test_plain_paths_and_any_query_pass_as_they_are(served: Gateway, area: str) -> None:
    path = f"/api/v1/{area}".encode()
    assert served.ask(path).body["path"] == path.decode()


SMUGGLED = b"GET /api/v1/risk/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*headers: bytes, body: bytes, version: bytes = b"HTTP/1.1", end: bytes = b"\r\n") -> bytes:
    lines = [b"POST /api/v1/orders/frame " + version, b"Host: localhost", *headers]
    return end.join(lines) + end * 2 + body


CHUNKED = b"0\r\n\r\n" + SMUGGLED
FRAMES = {
    "cl-te": post(
        b"Content-Length: %d" % len(CHUNKED), b"Transfer-Encoding: chunked", body=CHUNKED
    ),
    "te-cl": post(
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 56", body=SMUGGLED),
    "length list": post(b"Content-Length: 0, 56", body=SMUGGLED),
    "signed length": post(b"Content-Length: +0", body=SMUGGLED),
    "negative length": post(b"Content-Length: -1", body=SMUGGLED),
    "hex length": post(b"Content-Length: 0x0", body=SMUGGLED),
    "huge length": post(b"Content-Length: 99999999999999999999", body=SMUGGLED),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "te list": post(b"Transfer-Encoding: identity, chunked", body=CHUNKED),
    "two te": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKED),
    "te tab": post(b"Transfer-Encoding:\tchunked\x0b", body=CHUNKED),
    "te space": post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=CHUNKED),
    "te folded": post(b"X: y", b" Transfer-Encoding: chunked", body=b"" + SMUGGLED),
    "te in HTTP/1.0": post(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive",
        version=b"HTTP/1.0", body=CHUNKED,
    ),
    "chunk size": post(b"Transfer-Encoding: chunked", body=b"zz\r\n\r\n" + SMUGGLED),
    "chunk overflow": post(
        b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\nx\r\n0\r\n\r\n" + SMUGGLED
    ),
    "bare cr": b"POST /api/v1/orders/frame HTTP/1.1\rHost: localhost\r\r" + SMUGGLED,
    "no host": b"POST /api/v1/orders/frame HTTP/1.1\r\n\r\n" + SMUGGLED,
    "HTTP/0.9": b"GET /api/v1/orders/frame\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nul in header": post(b"X: a\x00b", b"Content-Length: 0", body=SMUGGLED),
}  # fmt: skip
"""Requests whose end gateway and service could see at different places."""
IN_PLAIN_SIGHT = {"cl-te", "te folded"}
"""Caddy reads these as the specification says, to their end, and then a second request that stands
behind them in plain sight, as any client may send one."""


@pytest.mark.parametrize("name", FRAMES)
def test_ambiguous_frames_smuggle_nothing(served: Gateway, name: str) -> None:
    """No service hears of a request that the gateway has not seen, judged and framed itself."""
    # Names of this case's own, of the same length: an earlier one's request may come late.
    frame, smuggled = secrets.token_hex(3)[:5], secrets.token_hex(4)
    said = FRAMES[name].replace(b"/frame", f"/{frame}".encode())
    answer = served.say(said.replace(b"/smuggled", f"/{smuggled}".encode()), timeout_s=1.0)
    seen = [one for one in list(served.stubs.seen) if frame in one or smuggled in one]
    answered = answer.count(b"HTTP/1.1 ")
    if served.kind == "caddy" and name in IN_PLAIN_SIGHT:
        assert seen == [f"POST /api/v1/orders/{frame}", f"GET /api/v1/risk/{smuggled}"]
        assert answered == 2
        return
    assert not any(smuggled in one for one in seen)
    if served.kind == "nginx":
        assert seen == []
        refusals = (b"400", b"413", b"421", b"501", b"505")
        assert not answer.startswith(b"HTTP/1.1") or answer.split(b" ")[1] in refusals
    else:
        # What Caddy hands on piece by piece may have begun before a broken piece ends it.
        assert len(seen) <= 1
    assert answered <= 1


def test_bare_line_feeds_end_a_header_and_nothing_more(served: Gateway) -> None:
    """Both servers take them, as RFC 9112 allows, and frame the request anew."""
    asked = "POST /api/v1/orders/frame"
    before = served.stubs.seen.count(asked)
    served.say(post(b"Content-Length: 0", b"Connection: close", body=b"", end=b"\n"))
    assert served.stubs.seen.count(asked) - before in (1, 0)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/3.0"])
def test_http_1_0_is_not_kept_alive_or_answered(served: Gateway, version: bytes) -> None:
    before = len(served.stubs.seen)
    text = b"GET /api/v1/orders %b\r\nHost: localhost\r\nConnection: close\r\n\r\n" % version
    status = served.say(text).split(b" ")[1]
    if version == b"HTTP/1.2" and status == b"200":
        return  # a later minor version may be answered as 1.1
    assert status in (b"505", b"400")
    assert "GET /api/v1/orders" not in served.stubs.seen[before:]


def test_a_header_that_drips_is_cut(served: Gateway) -> None:
    began = time.monotonic()
    with served.connect() as connection:
        connection.sendall(b"GET /api/v1/orders HTTP/1.1\r\nHost: localhost\r\n")
        cut = drip(connection, b"X-A: b\r\n")
    assert cut, "the gateway waits for as long as it drips"
    assert time.monotonic() - began < served.limits.header_s + 5


def test_a_header_that_stops_is_cut(served: Gateway) -> None:
    began = time.monotonic()
    answer = served.say(b"GET /api/v1/orders HTTP/1.1\r\nHost: localhost\r\n")
    assert b" 200 " not in answer
    assert time.monotonic() - began < served.limits.header_s + 5


def test_a_connection_that_says_nothing_is_cut(served: Gateway) -> None:
    began = time.monotonic()
    assert b" 200 " not in served.say(b"")
    assert time.monotonic() - began < served.limits.header_s + 5


def test_a_body_that_stops_is_cut(served: Gateway) -> None:
    began = time.monotonic()
    answer = served.say(
        b"POST /api/v1/orders/drip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
    )
    assert b" 200 " not in answer
    assert time.monotonic() - began < served.limits.body_s_total + 5


def test_a_body_that_drips_slower_than_allowed_is_cut(served: Gateway) -> None:
    with served.connect() as connection:
        connection.sendall(
            b"POST /api/v1/orders/drip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        )
        assert drip(connection, b"x", pause_s=served.limits.body_s + 0.3, times=4)


def test_a_body_that_drips_for_long_is_cut_by_the_service_behind_caddy(served: Gateway) -> None:
    if served.kind != "caddy":
        pytest.skip("Nginx hands a body on when it is whole, and knows no time for all of it")
    with served.connect() as connection:
        connection.sendall(
            b"POST /api/v1/orders/drip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        )
        assert drip(connection, b"x", times=40)


def test_a_reader_that_takes_nothing_is_cut(served: Gateway) -> None:
    served.stubs.cut.clear()
    with served.connect() as connection:
        connection.sendall(b"GET /api/v1/risk/endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert served.stubs.cut.wait(9), "the gateway goes on sending to nobody"


def drip(connection: object, piece: bytes, *, pause_s: float = 0.1, times: int = 60) -> bool:
    """Send piece after piece; tell whether the gateway ended it before the last."""
    connection.settimeout(pause_s)  # type: ignore[attr-defined]
    for _ in range(times):
        try:
            connection.sendall(piece)  # type: ignore[attr-defined]
            if not drained(connection):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def drained(connection: object) -> bytes:
    """Return what came, empty at the end; raises TimeoutError when nothing comes."""
    got: bytes = connection.recv(4096)  # type: ignore[attr-defined]
    if got.split(b" ")[1:2] in ([b"408"], [b"400"]):
        return b""
    return got


def test_every_service_is_behind_a_route_or_closed(served: Gateway) -> None:
    """The simulator's ports and every service's own pages are not to be had through the gateway."""
    for service in PORTS:
        for path in ("metrics", "docs", "ready"):
            assert served.ask(f"/{service}/{path}".encode()).status == 404
