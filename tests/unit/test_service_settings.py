"""Addresses and keys that cannot work are refused where they are read, without showing them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.settings import ServiceSettings
from services.broker_simulator.main import build as build_simulator
from services.broker_simulator.settings import SimulatorSettings
from services.trade_executor.main import build
from services.trade_executor.settings import ExecutorSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "foo"),
        ("database_url", ""),
        ("database_url", "mysql://u:hidden@h/db"),
        ("database_url", "postgresql://u:hidden@h:notaport/db"),
        ("redis_url", "foo"),
        ("redis_url", "http://:hidden@h/0"),
        ("redis_url", "redis://"),
        ("clock_url", "nonsense"),
        ("clock_url", "http://h:99999"),
    ],
)
def test_an_odd_address_is_refused_by_name_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match="must be an address like") as caught:
        ServiceSettings.model_validate({name: value})
    assert name in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql://u:p@127.0.0.1:5432/db"),
        ("database_url", "postgresql://u@/db?host=/run/postgresql"),
        ("redis_url", "rediss://:p@[::1]:6379/0"),
        ("redis_url", "unix:///run/redis.sock"),
        ("clock_url", ""),
        ("clock_url", "http://broker_simulator:9109"),
    ],
)
def test_usual_addresses_are_taken(name: str, value: str) -> None:
    ServiceSettings.model_validate({name: value})


@pytest.mark.parametrize("given", [{}, {"broker_key": "", "broker_secret": "s"}])
def test_an_executor_without_a_key_is_refused_by_name(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="TRADEWIND_BROKER_KEY"):
        build(ExecutorSettings.model_validate(given))


def test_an_odd_stream_address_is_refused() -> None:
    keys = {"broker_key": "k", "broker_secret": "s"}
    with pytest.raises(ValidationError, match="broker_stream_url"):
        ExecutorSettings.model_validate({**keys, "broker_stream_url": "http://h/stream"})


@pytest.mark.parametrize("name", ["broker_key", "broker_secret"])
@pytest.mark.parametrize("value", [None, ""])
def test_the_simulator_has_no_keys_of_its_own(name: str, value: str | None) -> None:
    pair = {"broker_key": "k", "broker_secret": "s", name: value}
    given = {field: text for field, text in pair.items() if text is not None}
    with pytest.raises(ValidationError) as caught:
        SimulatorSettings.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize("account", ["second", "second:", ":secret", "a:b:c:d"])
def test_further_accounts_of_the_simulator_have_both(account: str) -> None:
    settings = SimulatorSettings.model_validate(
        {"broker_key": "k", "broker_secret": "s", "simulator_accounts": (account,),
         "simulator_market": "scripted", "simulator_symbols": ("AAPL",),
         "simulator_start": "2019-03-04T15:00:00Z"}
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="TRADEWIND_SIMULATOR_ACCOUNTS"):
        build_simulator(settings)
