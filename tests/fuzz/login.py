"""Somebody with a login, to send requests as: much of security is for users only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.support.tokens import bearer, operator_headers

AUTH: Final = "/api/v1/auth"
USERS: Final = "/api/v1/users"
_FIRST: Final = "correct horse battery, first"
_PASSWORD: Final = "correct horse battery, second"
TIMEOUT_S: Final = 30.0


class Login:
    """An administrator of the security service at `url`, made on first use."""

    def __init__(self, url: str, name: str = "fuzzer") -> None:
        self._url = url
        self._name = name
        self._id = ""

    def headers(self) -> Mapping[str, str]:
        """Return the headers of a new session, stepped up; what was tried before may have ended
        the last one, or locked the user out."""
        with httpx.Client(base_url=self._url, trust_env=False, timeout=TIMEOUT_S) as client:
            if not self._id:
                self._make(client)
            _ask(client, f"{USERS}/{self._id}/unlock", None, operator_headers())
            return bearer(self._login(client, _PASSWORD))

    def _make(self, client: httpx.Client) -> None:
        wish = {
            "name": self._name, "roles": ["admin"], "accounts": ["*"], "password": _FIRST,
        }  # fmt: skip
        self._id = _ask(client, USERS, wish, operator_headers())["id"]
        change = {"current_password": _FIRST, "new_password": _PASSWORD}
        _ask(client, f"{AUTH}/password", change, bearer(self._login(client, _FIRST)))

    def _login(self, client: httpx.Client, password: str) -> str:
        answer = _ask(client, f"{AUTH}/login", {"name": self._name, "password": password}, {})
        return str(answer["access_token"])


def _ask(client: httpx.Client, path: str, body: Any, headers: Mapping[str, str]) -> Any:
    answer = client.post(path, json=body, headers=dict(headers))
    answer.raise_for_status()
    return answer.json()
