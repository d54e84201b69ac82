"""The first administrator's password is shown on a terminal only."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from infra.embedded.home import Home
from infra.embedded.main import print_first_password

WORD = "[a]random-word"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_file_is_told_only_where_the_password_lies(tmp_path: Path, terminal: bool) -> None:
    home = Home(tmp_path, "history")
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    print_first_password(console, home)
    assert out.getvalue() == ""
    home.credentials.mkdir()
    home.admin_password.write_text(f"{WORD}\n")
    print_first_password(console, home)
    assert (WORD in out.getvalue()) is terminal
    assert str(home.admin_password) in out.getvalue()


def test_each_set_of_books_has_an_administrator_of_its_own(tmp_path: Path) -> None:
    names = {Home(tmp_path, books).admin_password.name for books in ("history", "alpaca", "file-x")}
    assert names == {"admin_password", "admin_password_alpaca", "admin_password_file-x"}
