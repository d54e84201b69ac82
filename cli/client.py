"""HTTP to the gateway of the running system."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cli.errors import CommandError, Exit, problem_text
from infra.embedded import state
from infra.embedded.home import Home
from infra.routes import ROOT
from infra.tls.errors import TlsError

if TYPE_CHECKING:
    import ssl

    import httpx

Identity = Callable[[str, Home], "httpx.Auth | None"]

DEFAULT_URL = "https://127.0.0.1:8443"
TIMEOUT_S = 15.0
UNAUTHORIZED = 401


def home() -> Home:
    """Return the home that TRADEWIND_HOME names, or the repository's `var`."""
    root = os.environ.get("TRADEWIND_HOME") or str(ROOT / "var")
    return Home(Path(root).expanduser().absolute(), "")


def gateway_url() -> str:
    """Return TRADEWIND_URL, else where the system of our home listens, else the usual place."""
    given = os.environ.get("TRADEWIND_URL")
    if given:
        return given.rstrip("/")
    running = state.read(home())
    return DEFAULT_URL if running is None else running.gateway


def verification(url: str) -> ssl.SSLContext | bool:
    """Return what to hold the certificate of `url` against; plain HTTP needs nothing."""
    from infra.tls.trust import client_context

    if not url.startswith("https:"):
        return False
    try:
        return client_context(home().tls, url)
    except TlsError as error:
        raise CommandError(f"{error}; {error.remedy}") from error


class Gateway:
    """Asks the gateway and turns every refusal into a CommandError that can be read.

    `identity` says as whom, given the address and our home: by default as `identity_for` says.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout_s: float = TIMEOUT_S,
        *,
        identity: Identity | None = None,
    ) -> None:
        # A quarter of a second to import, which what needs no gateway should not wait for.
        import httpx

        from cli.identity import identity_for

        self.url = url or gateway_url()
        self._client = httpx.Client(
            base_url=self.url,
            auth=(identity or identity_for)(self.url, home()),
            headers={"User-Agent": "tradewind"},
            timeout=timeout_s,
            trust_env=False,
            verify=verification(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer to a GET; parameters that are None are left away."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return self._ask("GET", path, params=given)

    def text(self, path: str, params: Mapping[str, Any]) -> str:
        """Return the answer to a GET as it is; parameters that are None are left away."""
        given = {name: value for name, value in params.items() if value is not None}
        response = self.send("GET", path, params=given)
        if response.is_success:
            return response.text
        return str(self._body(path, response))

    def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return the JSON answer to a POST of `body`."""
        return self._ask("POST", path, json=body, headers=headers)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a PUT of `body`."""
        return self._ask("PUT", path, json=body)

    def patch(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return the JSON answer to a PATCH of `body`."""
        return self._ask("PATCH", path, json=body, headers=headers)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer to a DELETE; parameters that are None are left away."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return self._ask("DELETE", path, params=given)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        return self._body(path, self.send(method, path, **request))

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the answer to a request, whatever it is. Raises CommandError for none."""
        import httpx

        try:
            return self._client.request(method, path, **request)
        except httpx.TimeoutException as error:
            raise CommandError(
                f"{self.url} did not answer in time; `tradewind doctor` looks closer"
            ) from error
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise CommandError(
                    f"{self.url} shows a certificate that is not trusted here ({error}); "
                    "TRADEWIND_TLS_CA names a file with the authority that signed it"
                ) from error
            raise CommandError(
                f"nothing answers at {self.url} ({error}); start it with `make run` or "
                "`tradewind up`, or name another address with TRADEWIND_URL",
                Exit.NOT_RUNNING,
            ) from error

    def _body(self, path: str, response: httpx.Response) -> Any:
        """Return the JSON of an answer. Raises CommandError for a refusal."""
        if response.is_redirect:
            leads_to = response.headers["Location"].partition(path)[0]
            raise CommandError(f"{self.url} leads to HTTPS: set TRADEWIND_URL={leads_to}")
        try:
            body = response.json() if response.content else None
        except ValueError as error:
            raise CommandError(
                f"{self.url}{path} answers {response.status_code} and no JSON: "
                "is that Tradewind's gateway?"
            ) from error
        if response.is_success:
            return body
        text = problem_text(response.status_code, body)
        if response.status_code == UNAUTHORIZED:
            raise CommandError(f"{text}\nlog in with `tradewind login`", Exit.NOT_LOGGED_IN)
        raise CommandError(text)
