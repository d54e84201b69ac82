"""What a person may choose for a run, and what is refused with which words."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from infra.embedded.credentials import Credentials
from infra.embedded.errors import EmbeddedError, PortTakenError
from infra.embedded.home import Home
from infra.embedded.layout import START_ORDER, STOP_ORDER, choose_ports
from infra.embedded.plan import ENCRYPTION_KEYS, ENCRYPTS, Plan, make
from infra.embedded.ports import free_port
from infra.embedded.settings import Broker, EmbeddedSettings, Feed, load
from infra.routes import PORTS, ROOT
from libs.common.runtime.secrets import SecretBox

CHOICES = (
    "FEED", "FILE", "BROKER", "FACTOR", "SYMBOLS", "TRADEWIND_PORTS", "TRADEWIND_REDIS_URL",
    "TRADEWIND_FEED", "TRADEWIND_HOME", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY",
    "ALPACA_API_KEY", "ALPACA_SECRET_KEY", "TRADEWIND_VIA", "TRADEWIND_ENCRYPTION_KEYS",
    "TRADEWIND_ENCRYPTION_KEYS_FILE", "TRADEWIND_BROKER_KEYS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is chosen; the settings' input, not our code."""
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "var", "history")
    home.prepare(free_mb_min=1)
    return home


def plan_of(settings: EmbeddedSettings, home: Home) -> Plan:
    return make(settings, home, Credentials(home))


def test_defaults_are_history_on_the_simulator() -> None:
    settings = load()
    assert (settings.feed, settings.broker) == (Feed.HISTORY, Broker.SIMULATOR)
    assert settings.books == "history"


def test_names_work_with_and_without_prefix(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRADEWIND_FEED", "synthetic")
    environment.setenv("SYMBOLS", "aapl, msft,AAPL")
    environment.setenv("FACTOR", "120")
    settings = load()
    assert settings.feed is Feed.SYNTHETIC
    assert settings.symbols == ("AAPL", "MSFT")
    assert settings.factor == 120


def test_empty_values_count_as_not_given(environment: pytest.MonkeyPatch) -> None:
    for name in ("FEED", "FILE", "BROKER", "FACTOR", "SYMBOLS"):
        environment.setenv(name, "")
    assert load().feed is Feed.HISTORY


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FEED", "tape", "FEED: Input should be 'history', 'replay' or 'synthetic'"),
        ("BROKER", "robin", "BROKER: Input should be 'simulator' or 'alpaca'"),
        ("FACTOR", "-1", "FACTOR: Input should be greater than 0"),
        ("FACTOR", "nan", "FACTOR: "),
        ("FACTOR", "inf", "FACTOR: "),
        ("FACTOR", "fast", "FACTOR: Input should be a valid number"),
        ("SYMBOLS", "AAPL,$$$", "'$$$' is not a symbol"),
        ("FEED", "replay", "FEED=replay needs FILE="),
        ("FILE", "/tmp/x.csv", "FILE is only read with FEED=replay"),
        ("TRADEWIND_REDIS_URL", "localhost", "REDIS_URL: String should match pattern"),
    ],
)
def test_unfit_value_is_refused_by_name(
    environment: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(EmbeddedError) as caught:
        load()
    assert says in str(caught.value)


def test_missing_and_empty_replay_files_are_refused(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("FEED", "replay")
    environment.setenv("FILE", str(tmp_path / "none.parquet"))
    with pytest.raises(EmbeddedError, match=r"none\.parquet cannot be read: No such file"):
        load()
    (tmp_path / "empty.csv").touch()
    environment.setenv("FILE", str(tmp_path / "empty.csv"))
    with pytest.raises(EmbeddedError, match="is empty"):
        load()


def test_each_file_has_books_of_its_own(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("FEED", "replay")
    books = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "day 1.csv"
        file.write_text("x")
        environment.setenv("FILE", str(file))
        books.append(load().books)
    assert books[0] != books[1]
    assert all(name.startswith("replay-day_1-") for name in books)


def test_several_files_make_one_market(
    environment: pytest.MonkeyPatch, home: Home, tmp_path: Path
) -> None:
    files = [tmp_path / "trades.csv", tmp_path / "quotes.csv"]
    for file in files:
        file.write_text("x")
    environment.setenv("FEED", "replay")
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv("FILE", f"{files[0]}, {files[1]}")
    settings = load()
    assert settings.books.startswith("replay-trades-")
    told = plan_of(settings, home).environment("broker_simulator")
    assert told["TRADEWIND_SIMULATOR_FILE"] == f"{files[0]},{files[1]}"


def test_alpaca_without_keys_names_both(environment: pytest.MonkeyPatch, home: Home) -> None:
    environment.setenv("BROKER", "alpaca")
    environment.setenv("TRADEWIND_PORTS", "auto")
    with pytest.raises(EmbeddedError) as caught:
        plan_of(load(), home)
    assert "APCA_API_KEY_ID and APCA_API_SECRET_KEY" in str(caught.value)


@pytest.mark.parametrize("names", [("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
                                   ("ALPACA_API_KEY", "ALPACA_SECRET_KEY")])  # fmt: skip
def test_alpaca_runs_without_simulator_in_real_time(
    environment: pytest.MonkeyPatch, home: Home, names: tuple[str, str]
) -> None:
    environment.setenv("BROKER", "alpaca")
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv(names[0], "key-1")
    environment.setenv(names[1], "secret-1")
    plan = plan_of(load(), home)
    assert "broker_simulator" not in plan.services
    assert "broker_simulator" not in plan.ports
    executor = plan.environment("trade_executor")
    assert executor["TRADEWIND_BROKER_URL"] == "https://paper-api.alpaca.markets"
    assert executor["TRADEWIND_BROKER_KEY"] == "key-1"
    assert executor["TRADEWIND_CLOCK_URL"] == ""
    strategy = plan.environment("strategy_engine")
    assert not [name for name, value in strategy.items() if value in ("key-1", "secret-1")]


def test_alpaca_keys_that_are_stored_are_left_to_the_services(
    environment: pytest.MonkeyPatch, home: Home
) -> None:
    environment.setenv("BROKER", "alpaca")
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv("TRADEWIND_BROKER_KEYS", "stored")
    executor = plan_of(load(), home).environment("trade_executor")
    assert "TRADEWIND_BROKER_KEY" not in executor
    assert executor["TRADEWIND_BROKER_URL"] == "https://paper-api.alpaca.markets"


def test_service_sees_no_password_but_its_own(environment: pytest.MonkeyPatch, home: Home) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    plan = plan_of(load(), home)
    for service in plan.services:
        others = {password for name, password in plan.database_passwords.items() if name != service}
        told = "\n".join(plan.environment(service).values())
        assert not [password for password in others if password in told]


def test_keys_of_fields_reach_only_who_encrypts_and_stay_the_same(
    environment: pytest.MonkeyPatch, home: Home
) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    first, second = plan_of(load(), home), plan_of(load(), home)
    key = first.environment("audit")[ENCRYPTION_KEYS]
    assert SecretBox([key])
    for service in first.services:
        told = second.environment(service).get(ENCRYPTION_KEYS)
        assert told == (key if service in ENCRYPTS else None), service


def test_keys_of_fields_that_the_user_names_come_first(
    environment: pytest.MonkeyPatch, home: Home
) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv(f"{ENCRYPTION_KEYS}_FILE", "/run/keys")
    plan = plan_of(load(), home)
    told = plan.environment("trade_executor")
    assert (told.get(ENCRYPTION_KEYS), told[f"{ENCRYPTION_KEYS}_FILE"]) == (None, "/run/keys")
    assert f"{ENCRYPTION_KEYS}_FILE" not in plan.environment("portfolio")


def test_simulator_is_told_its_market(environment: pytest.MonkeyPatch, home: Home) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv("FACTOR", "30")
    plan = plan_of(load(), home)
    told = plan.environment("broker_simulator")
    assert told["TRADEWIND_SIMULATOR_MARKET"] == "history"
    assert told["TRADEWIND_SIMULATOR_FACTOR"] == "30.0"
    assert told["TRADEWIND_CLOCK_URL"] == plan.url("broker_simulator")


def test_engine_is_told_where_strategy_files_lie(
    environment: pytest.MonkeyPatch, home: Home
) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.delenv("TRADEWIND_STRATEGY_DIRS", raising=False)
    plan = plan_of(load(), home)
    told = plan.environment("strategy_engine")["TRADEWIND_STRATEGY_DIRS"]
    assert json.loads(told) == [str(ROOT / "strategies"), str(home.root / "strategies")]
    environment.setenv("TRADEWIND_STRATEGY_DIRS", '["/mine"]')
    assert plan.environment("strategy_engine")["TRADEWIND_STRATEGY_DIRS"] == '["/mine"]'


def test_taken_service_port_is_refused(environment: pytest.MonkeyPatch) -> None:
    for name in (*PORTS, "gateway"):
        environment.setenv(f"TRADEWIND_{name.upper()}_PORT", str(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environment.setenv("TRADEWIND_AUDIT_PORT", str(port))
        with pytest.raises(PortTakenError, match=f"port {port}, which audit needs"):
            choose_ports(load())


@pytest.mark.parametrize("text", ["0", "65536", "x", "-1", "8000.5"])
def test_unfit_port_is_refused(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("TRADEWIND_GATEWAY_PORT", text)
    with pytest.raises(EmbeddedError, match="TRADEWIND_GATEWAY_PORT"):
        choose_ports(load())


def test_every_service_is_started_and_stopped() -> None:
    started = [name for group in START_ORDER for name in group]
    assert sorted(started) == sorted(PORTS)
    assert set(STOP_ORDER) == {*PORTS, "gateway", "redis", "postgres"}


def test_stop_order_is_the_designs() -> None:
    order = STOP_ORDER.index
    assert order("gateway") < order("strategy_engine") < order("trade_executor")
    assert order("trade_executor") < order("broker_simulator") < order("redis")
    assert STOP_ORDER[-1] == "postgres"


def test_a_detour_leads_one_service_to_one_server(
    environment: pytest.MonkeyPatch, home: Home
) -> None:
    environment.setenv("TRADEWIND_PORTS", "auto")
    environment.setenv(
        "TRADEWIND_VIA",
        "trade_executor>redis=40001, portfolio>postgres=40002,"
        "trade_executor>broker_simulator=40003,trade_executor>risk_manager=40004",
    )
    plan = plan_of(load(), home)
    executor, portfolio = plan.environment("trade_executor"), plan.environment("portfolio")
    assert "@127.0.0.1:40001/0" in executor["TRADEWIND_REDIS_URL"]
    assert executor["TRADEWIND_BROKER_STREAM_URL"] == "ws://127.0.0.1:40003/stream"
    assert executor["TRADEWIND_RISK_URL"] == "http://127.0.0.1:40004"
    assert f":{plan.ports['postgres']}/" in executor["TRADEWIND_DATABASE_URL"]
    assert ":40002/" in portfolio["TRADEWIND_DATABASE_URL"]
    assert f":{plan.ports['redis']}/" in portfolio["TRADEWIND_REDIS_URL"]


@pytest.mark.parametrize(
    "via",
    ["redis=1", "trade_executor>redis", "nobody>redis=1", "audit>nothing=1", "audit>redis=70000"],
)
def test_a_detour_that_leads_nowhere_is_refused(environment: pytest.MonkeyPatch, via: str) -> None:
    environment.setenv("TRADEWIND_VIA", via)
    with pytest.raises(EmbeddedError, match="VIA"):
        load()
