"""What every test of the command needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_stand_in import StandIn, standing_in


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with standing_in() as stand_in:
        monkeypatch.setenv("TRADEWIND_URL", stand_in.url)
        monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "var"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.delenv("TRADEWIND_API_KEY", raising=False)
        monkeypatch.delenv("TRADEWIND_API_KEY_FILE", raising=False)
        monkeypatch.setenv("COLUMNS", "200")
        yield stand_in
