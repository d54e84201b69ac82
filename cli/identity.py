"""As whom a command asks: an API key, the stored login, or the operator of this installation."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from cli import asking
from cli.errors import CommandError, Exit, code_of, problem_text
from cli.session_store import SessionStore, StoredSession
from infra.embedded import state
from infra.embedded.home import Home
from infra.embedded.operator import operator_of

KEY: Final = "TRADEWIND_API_KEY"
LOGIN: Final = "log in with `tradewind login`, or name an API key with TRADEWIND_API_KEY"
AUTH: Final = "/api/v1/auth"
EARLY_S: Final = 20.0
TRIES: Final = 3
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

Flow = Generator[httpx.Request, httpx.Response, StoredSession]


def identity_for(url: str, home: Home) -> httpx.Auth | None:
    """Return as whom to ask the gateway at `url`, None for nobody.

    The operator's key is shown to nobody but the gateway that runs from this home. Raises
    CommandError where a key or login would go over the net in clear.
    """
    identity = _key() or _session(url) or _operator(url, home)
    parts = urlsplit(url)
    if identity is not None and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise CommandError(f"{url} is not HTTPS: a key or login is not sent there in clear")
    return identity


def nobody(url: str, home: Home) -> httpx.Auth | None:
    """Ask as nobody, as before a login."""
    return None


def proving(url: str, home: Home) -> httpx.Auth:
    """Ask as the one who is logged in, after a new proof that it is them. Raises CommandError."""
    store = SessionStore(url)
    if store.read() is None:
        raise CommandError(
            "only a login can be stepped up: `tradewind login` first", Exit.NOT_LOGGED_IN
        )
    return SessionAuth(store, prove_first=True)


def _key() -> httpx.Auth | None:
    key = os.environ.get(KEY, "").strip()
    path = os.environ.get(f"{KEY}_FILE", "")
    if not key and path:
        try:
            key = Path(path).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CommandError(f"{KEY}_FILE: {path}: {error.strerror}") from error
    return KeyAuth(key) if key else None


def _session(url: str) -> httpx.Auth | None:
    store = SessionStore(url)
    return None if store.read() is None else SessionAuth(store)


def _operator(url: str, home: Home) -> httpx.Auth | None:
    running = state.read(home)
    return None if running is None or running.gateway != url else operator_of(home)


class KeyAuth(httpx.Auth):
    """Shows an API key."""

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise CommandError(f"{KEY}: that is no API key")
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


class SessionAuth(httpx.Auth):
    """Shows the stored login's token, renews it in time, and proves again who it is if asked to."""

    def __init__(self, store: SessionStore, *, prove_first: bool = False) -> None:
        self._store = store
        self._prove_first = prove_first

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Ask; renew the token and ask again where it has expired or a step-up is due."""
        session = self._present()
        if session.expires_at - time.time() < EARLY_S:
            session = yield from self._renewed(session, request)
        if self._prove_first:
            session = yield from stepped_up(self._store, session, request)
        _sign(request, session)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            session = yield from self._renewed(session, request)
        elif response.status_code == httpx.codes.FORBIDDEN:
            response.read()
            if code_of(response) != "step-up-required":
                return
            session = yield from stepped_up(self._store, session, request)
        else:
            return
        _sign(request, session)
        yield request

    def _present(self) -> StoredSession:
        session = self._store.read()
        if session is None:
            raise CommandError(f"another command has ended the login; {LOGIN}", Exit.NOT_LOGGED_IN)
        return session

    def _renewed(self, old: StoredSession, request: httpx.Request) -> Flow:
        """Return the login with a token that is not `old`'s.

        Under a lock: a refresh token is good once, and used twice it ends the session.
        """
        with self._store.locked():
            session = self._present()
            if session.access_token != old.access_token:
                return session
            body = {"refresh_token": session.refresh_token}
            response = yield auth_request(request, self._store.url, "/refresh", body)
            response.read()
            if response.status_code == httpx.codes.UNAUTHORIZED:
                self._store.remove()
                raise CommandError(
                    f"the login of {session.user} is over; {LOGIN}", Exit.NOT_LOGGED_IN
                )
            session = StoredSession.of(session.url, good(response))
            self._store.write(session)
            return session


def stepped_up(store: SessionStore, session: StoredSession, request: httpx.Request) -> Flow:
    """Return the login after its user has proven again who they are.

    Raises CommandError without a terminal, or after three wrong proofs.
    """
    if not asking.is_terminal():
        raise CommandError(
            "this needs a proof that it is really you: `tradewind step-up` in a terminal, then "
            "repeat it; a script takes an API key that may step up"
        )
    by_code = session.totp
    for _ in range(TRIES):
        label = f"{{}} of {session.user}, to prove that it is you"
        body = (
            {"code": asking.code(label.format("Code"))}
            if by_code
            else {"password": asking.password(label.format("Password"))}
        )
        proof = auth_request(request, store.url, "/step-up", body)
        _sign(proof, session)
        response = yield proof
        response.read()
        match code_of(response):
            case "factor-required":
                by_code = True
            case "password-required":
                by_code = False
            case "wrong-proof":
                asking.say(problem_text(response.status_code, response.json()))
            case _:
                session = session.with_access(good(response))
                with store.locked():
                    store.write(session)
                return session
    raise CommandError("it was not proven that it is you", Exit.NOT_LOGGED_IN)


def auth_request(like: httpx.Request, url: str, path: str, body: dict[str, Any]) -> httpx.Request:
    """Return a request to `/api/v1/auth` with the time-outs of `like`."""
    agent = {"User-Agent": like.headers.get("User-Agent", "")}
    return httpx.Request(
        "POST", f"{url}{AUTH}{path}", json=body, headers=agent, extensions=like.extensions
    )


def good(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON of an answer. Raises CommandError for a refusal or an odd one."""
    try:
        body = response.json()
    except ValueError as error:
        raise CommandError(f"{response.url} answers {response.status_code} and no JSON") from error
    if not response.is_success or not isinstance(body, dict):
        raise CommandError(problem_text(response.status_code, body))
    return body


def _sign(request: httpx.Request, session: StoredSession) -> None:
    request.headers["Authorization"] = f"Bearer {session.access_token}"
