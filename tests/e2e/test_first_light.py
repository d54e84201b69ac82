"""The whole system from one command: signal to fill to books, through the gateway."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from tests.support.leaks import leaks_anywhere, secrets_of
from tests.support.system import TRUST, System, http
from tests.support.tie_out import differences, truth
from tests.support.tutorial import strategy_code

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(420)]

PAID_IN = Decimal(1_000_000)
STORY = {"bar", "signal", "judgement", "approval", "order_event", "trade", "ledger"}
STORY_BY_HAND = STORY - {"bar", "signal", "approval"}


@pytest.fixture(scope="module")
def system(trading_system: System) -> Iterator[System]:
    """The system of the module before, which has stopped and continued once; stops it at last."""
    system = trading_system
    system.until(
        lambda: len(system.all("/api/v1/orders/trades")) >= 20, 120, "the first twenty trades"
    )
    yield system
    assert system.stop() == 0


def test_every_service_is_ready_behind_the_gateway(system: System) -> None:
    system.until(
        lambda: all(
            row["state"] == "ok" for row in system.get("/api/v1/monitoring/health")["services"]
        ),
        30,
        "all services to be ok",
    )


def test_at_least_ten_symbols_and_two_strategies_trade(system: System) -> None:
    system.until(
        lambda: len({t["symbol"] for t in system.all("/api/v1/orders/trades")}) >= 10,
        120,
        "ten traded symbols",
    )
    strategies = {trade["strategy_id"] for trade in system.all("/api/v1/orders/trades")}
    assert {"sma_cross", "rsi_reversion"} <= strategies


def test_a_trade_is_traced_from_its_signal_to_its_ledger_lines(system: System) -> None:
    trade = system.get("/api/v1/orders/trades", limit=1)["items"][0]
    order = system.get(f"/api/v1/orders/{trade['order_id']}")

    def whole() -> bool:
        steps = system.get(f"/api/v1/audit/trace/{order['correlation_id']}")["steps"]
        return {step["step"]["kind"] for step in steps} >= STORY

    system.until(whole, 30, f"a trace with {STORY}")


def test_the_audit_chain_is_whole(system: System) -> None:
    assert system.get("/api/v1/audit/verify")["valid"] is True


def test_orders_go_on_while_the_record_is_refused_or_its_service_is_away(system: System) -> None:
    with owner(system) as database:
        database.execute("REVOKE INSERT ON audit_log FROM audit")
        try:
            orders = [filled(system)]
            # The gap can be seen ...
            system.until(
                lambda: "permission denied" in str(reasons_of_audit(system)), 30, "the reason"
            )
            system.until(lambda: backlog_of_audit(system) > 0, 30, "a backlog")
            # ... and after the service was killed, and is not let in again.
            database.execute("ALTER ROLE audit NOLOGIN")
            assert system.kill("audit")
            orders.append(filled(system))
            system.until(
                lambda: "not permitted to log in" in str(reasons_of_audit(system)), 60, "the reason"
            )
        finally:
            database.execute("ALTER ROLE audit LOGIN")
            database.execute("GRANT INSERT ON audit_log TO audit")
        gap = database.execute("""
            SELECT array_agg(id) FROM (
                SELECT id FROM outbox WHERE channel <> 'audit.calls'
                UNION ALL
                SELECT (jsonb_array_elements(convert_from(message, 'UTF8')::jsonb
                        #> '{payload,calls}') ->> 'id')::uuid
                FROM outbox WHERE channel = 'audit.calls'
            ) AS sent
        """).fetchone()
        unrecorded = """
            SELECT count(*) FROM unnest(%s::uuid[]) AS sent (id)
            WHERE NOT EXISTS (SELECT FROM audit_log WHERE message_id = sent.id)
        """
        system.until(lambda: not reasons_of_audit(system), 60, "audit to be ready")
        system.until(
            lambda: database.execute(unrecorded, gap).fetchone() == (0,), 60, "all to be recorded"
        )
    for order in orders:
        told = system.get(f"/api/v1/audit/trace/{order['correlation_id']}")
        assert {step["step"]["kind"] for step in told["steps"]} >= STORY - {
            "bar",
            "signal",
            "approval",
        }
        assert told["unrecorded"] == 0
    assert system.get("/api/v1/audit/verify")["valid"] is True


def filled(system: System) -> dict[str, Any]:
    """Place an order by hand; return it when it is filled. One that is denied, for a price that is
    too old on a busy machine, is placed again."""
    body = {"symbol": "WMT", "side": "buy", "quantity": "1"}
    order: dict[str, Any] = {"status": "denied"}

    def done() -> bool:
        nonlocal order
        if order["status"] in {"denied", "rejected"}:
            order = system.post("/api/v1/orders", body, **key()).json()
        order = system.get(f"/api/v1/orders/{order['id']}")
        return order["status"] == "filled"

    system.until(done, 60, "an order to be filled")
    return order


@contextmanager
def owner(system: System) -> Iterator[psycopg.Connection]:
    """Open a connection of the owner's, each statement of which commits."""
    state = system.state()
    password = Credentials(Home(system.home, state["books"])).secret("postgres")
    url = f"postgresql://postgres:{password}@127.0.0.1:{state['ports']['postgres']}/tradewind"
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def reasons_of_audit(system: System) -> dict[str, str]:
    """Return why audit is not ready; empty when it is."""
    answer = system.request("GET", "/ready", "audit")
    return {} if answer.status_code == 200 else answer.json()["reasons"]


def backlog_of_audit(system: System) -> float:
    """Return how many messages audit knows of and has not recorded."""
    text = system.request("GET", "/metrics", "audit").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("audit_backlog_messages{")
    )


def test_a_manual_order_is_judged_and_filled(system: System) -> None:
    body = {"symbol": "WMT", "side": "buy", "quantity": "3", "order_type": "market"}
    once = key()
    first = system.post("/api/v1/orders", body, **once)
    assert first.status_code in {200, 201, 202}, first.text
    again = system.post("/api/v1/orders", body, **once)
    assert again.json()["id"] == first.json()["id"]
    path = f"/api/v1/orders/{first.json()['id']}"
    system.until(
        lambda: system.get(path)["status"] in {"filled", "denied", "rejected"}, 60, "its end"
    )
    assert system.get(path)["status"] == "filled", system.get(path)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"symbol": "WMT", "side": "buy", "quantity": "-1"}, "quantity"),
        ({"symbol": "WMT", "side": "buy", "quantity": "NaN"}, "quantity"),
        ({"symbol": "WMT", "side": "hold", "quantity": "1"}, "side"),
        ({"symbol": "WMT", "side": "buy", "quantity": "1", "colour": "red"}, "colour"),
        ({"side": "buy", "quantity": "1"}, "symbol"),
    ],
)
def test_a_bad_order_is_refused_naming_the_field(
    system: System, body: dict[str, str], field: str
) -> None:
    answer = system.post("/api/v1/orders", body, **key())
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert field in answer.text


def test_an_unknown_symbol_is_denied_with_its_code(system: System) -> None:
    body = {"symbol": "NOSUCH", "side": "buy", "quantity": "1"}
    answer = system.post("/api/v1/orders", body, **key()).json()
    assert answer["status"] == "denied"
    assert answer["reject_reason"].startswith("INSTRUMENT_UNKNOWN")


def test_halt_stops_new_orders_and_resume_lets_them_go(system: System) -> None:
    assert system.post("/api/v1/risk/halt", {"reason": "test"}).status_code == 200
    try:
        answer = system.post(
            "/api/v1/orders", {"symbol": "WMT", "side": "buy", "quantity": "1"}, **key()
        ).json()
        assert answer["status"] == "denied"
        time.sleep(2)
        orders = len(truth(system)["orders"])
        time.sleep(4)
        assert len(truth(system)["orders"]) == orders, "an order left after the halt"
    finally:
        assert system.post("/api/v1/risk/resume", {"reason": "test over"}).status_code == 200


def test_the_tutorials_strategy_goes_from_a_file_to_booked_fills(system: System) -> None:
    folder = system.home / "strategies"
    folder.mkdir()
    (folder / "donchian.py").write_text(strategy_code(), encoding="utf-8")
    assert "donchian.py" in system.tradewind("strategy", "reload")
    chosen = ("--symbols", "AAPL,BAC,GE,JPM,KO,PFE,WMT,XOM", "--set", "entry=3", "--set", "exit=2")
    added = system.tradewind("strategy", "add", "mine", "--class", "donchian", *chosen)
    assert "shadow" in added
    system.until(lambda: " shadow" in system.tradewind("signals", "--strategy", "mine"), 20, "one")
    assert system.tradewind("orders", "--strategy", "mine") == "no orders\n"
    system.tradewind("strategy", "mode", "mine", "live")
    system.until(lambda: own_fills(system) >= 1, 25, "an order of its own to be filled")
    assert " mine" in system.tradewind("orders", "--strategy", "mine", "--status", "filled")
    assert "in all" in system.tradewind("positions", "--strategy", "mine")
    assert "disabled" in system.tradewind("strategy", "remove", "mine")
    settle(system)
    try:
        system.until(lambda: shares_add_up(system), 15, "strategies to add up to the account")
        assert own_fills(system) == len(
            [t for t in system.all("/api/v1/orders/trades") if t["strategy_id"] == "mine"]
        )
    finally:
        system.tradewind("resume", "settled")


def test_calls_are_on_record_and_no_secret_is_anywhere(system: System) -> None:
    planted = f"planted-{time.time_ns()}"
    strangers = {"Authorization": f"Bearer {planted}", "X-API-Key": planted}
    answers = [
        system.request("GET", "/api/v1/orders", auth=None, headers=strangers),
        system.request("GET", f"/api/v1/orders?password={planted}"),
        system.request("POST", "/api/v1/orders", json={"symbol": "KO", "secret": planted}),
        system.request("GET", "/metrics", "audit"),
        system.request("GET", "/openapi.json", "audit"),
    ]
    assert [answer.status_code for answer in answers[:3]] == [401, 422, 422]
    denied = {"event_type": "PermissionDenied", "limit": 5}
    system.until(
        lambda: any(
            row["resource"] == "/api/v1/orders" and row["ip"].startswith("enc1:")
            for row in system.get("/api/v1/audit/events", **denied)["items"]
        ),
        20,
        "the stranger's call on record",
    )
    seen = system.get("/api/v1/audit/events/sensitive", **denied)["items"]
    assert "127.0.0.1" in {row["ip"] for row in seen}
    starts = system.get("/api/v1/audit/events", event_type="ServiceStarted", limit=50)["items"]
    assert {"audit", "trade_executor", "risk_manager"} <= {row["actor"] for row in starts}
    secrets = {**secrets_of(system.home), "planted": planted}
    assert len(secrets) > 10
    assert leaks_anywhere(system, secrets, answers) == []


def test_who_a_person_is_stands_in_no_log_and_on_record_only_sealed(system: System) -> None:
    number = time.time_ns()
    agent, person, typed = f"phone-{number}", f"Erika Beispiel {number}", f"typed-{number}"
    body = {"name": f"erika{number}", "display_name": person, "roles": ["viewer"]}
    made = system.request("POST", "/api/v1/users", json=body)
    assert made.status_code == 201, made.text
    own = {"name": body["name"], "password": made.json()["password"]}
    with httpx.Client(
        base_url=system.url("gateway"),
        headers={"User-Agent": agent},
        transport=httpx.HTTPTransport(verify=TRUST, local_address="127.0.0.77"),
    ) as phone:
        # A password typed where the name belongs.
        assert phone.post("/api/v1/auth/login", json={**own, "name": typed}).status_code == 401
        assert phone.post("/api/v1/auth/login", json={**own, "password": typed}).status_code == 401
        login = phone.post("/api/v1/auth/login", json=own)
        assert login.status_code == 200, login.text
        assert phone.get("/api/v1/orders").status_code == 401
    asked = {"event_type": "security.login", "limit": 5}
    system.until(
        lambda: (
            "127.0.0.77"
            in {row["ip"] for row in system.get("/api/v1/audit/events/sensitive", **asked)["items"]}
        ),
        20,
        "the logins on record",
    )
    details = {"address": "127.0.0.77", "agent": agent, "person": person, "typed": typed}
    assert leaks_anywhere(system, details, (), but={"outbox"}) == []
    assert leaks_anywhere(system, {"password": own["password"], "typed": typed}, ()) == []


def test_the_record_is_anchored_and_verified_by_a_command(system: System) -> None:
    system.tradewind("audit", "anchor")
    said = system.tradewind("audit", "verify")
    assert "valid:" in said
    assert "anchors hold" in said


def test_books_equal_the_brokers_and_go_on_after_a_restart(system: System) -> None:
    settle(system)
    assert differences(system) == []
    trades = len(system.all("/api/v1/orders/trades"))
    cash = Decimal(truth(system)["cash"])
    assert system.stop() == 0
    system.start()
    system.until(lambda: http.get(f"{system.url('gateway')}/health").status_code == 200, 30, "up")
    assert len(system.all("/api/v1/orders/trades")) >= trades
    assert system.get("/api/v1/risk/state")["state"] == "halted"
    assert Decimal(truth(system)["cash"]) == cash
    assert differences(system) == []


def key() -> dict[str, str]:
    """Return a fresh Idempotency-Key header."""
    return {"Idempotency-Key": f"e2e-{time.time_ns()}"}


def own_fills(system: System) -> int:
    """Return how many executions the strategy `mine` has."""
    return len(system.all("/api/v1/orders/trades", strategy_id="mine"))


def shares_add_up(system: System) -> bool:
    """Whether what strategies hold and paid is what the account holds and paid."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    cash = Decimal(0)
    for share in system.get("/api/v1/portfolio/strategies")["items"]:
        held[share["symbol"]] += Decimal(share["quantity"])
        cash += Decimal(share["cash"])
    account = system.get("/api/v1/portfolio/account")
    positions = system.get("/api/v1/portfolio/positions")["items"]
    return {symbol: quantity for symbol, quantity in held.items() if quantity} == {
        row["symbol"]: Decimal(row["quantity"]) for row in positions
    } and Decimal(account["cash"]) == PAID_IN + cash


def settle(system: System) -> None:
    """Halt, and wait until no order is open here or at the broker."""
    system.post("/api/v1/risk/halt", {"reason": "settling"})
    ended = {"filled", "canceled", "expired", "rejected", "replaced"}
    system.until(
        lambda: (
            all(order["status"] in ended for order in truth(system)["orders"])
            and not [
                order
                for order in system.all("/api/v1/orders")
                if order["status"] not in ended | {"denied"}
            ]
        ),
        90,
        "all orders to end",
    )
    system.until(lambda: differences(system) == [], 45, "the books to agree")


def test_the_first_administrator_logs_in_with_the_password_that_was_told_once(
    system: System,
) -> None:
    kept = system.home / "credentials" / "admin_password"
    assert kept.stat().st_mode & 0o777 == 0o600
    password = kept.read_text().strip()
    auth = f"{system.url('gateway')}/api/v1/auth"
    body = {"name": "admin", "password": password}
    first = http.post(f"{auth}/login", json=body).json()

    def as_admin(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    account = f"{system.url('gateway')}/api/v1/portfolio/account"
    refused = http.get(account, headers=as_admin(first["access_token"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
    changed = http.post(
        f"{auth}/password",
        json={"current_password": password, "new_password": "neither default nor guessed"},
        headers=as_admin(first["access_token"]),
    ).json()
    assert http.get(account, headers=as_admin(changed["access_token"])).status_code == 200
    assert not kept.exists()
    assert all(password not in system.log(name) for name in ("security", "supervisor"))
