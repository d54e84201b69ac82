"""Fuzzing one service through its OpenAPI: schemathesis' cases, and odd ones of our own."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import hypothesis
import requests
import schemathesis
from fastapi import FastAPI
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    GenerationConfig,
    OutputConfig,
    ProjectConfig,
    ProjectsConfig,
    SanitizationConfig,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from services.broker_simulator.main import build
from services.broker_simulator.settings import SimulatorSettings
from tests.fuzz.findings import Finding, Tally
from tests.fuzz.login import Login
from tests.fuzz.odd import odd_requests
from tests.support.tokens import operator_headers

SECRET: Final = "fuzz-only"
METHODS: Final = ("get", "put", "post", "delete", "patch")
TIMEOUT_S: Final = 30.0
UNREAD: Final = b"Invalid HTTP request received."
"""What the HTTP server itself says of an address that is too long; no service has seen it."""
SIGNED_S: Final = 30.0
LOGGED_IN_S: Final = 1.0
"""A session is used for so long: requests end them."""
_GENERATION: Final = GenerationConfig(with_security_parameters=False)
SKIPPED: Final = ("/ready",)
"""503 with reasons is what it is for."""
CHECKS: Final = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
    allow_header_conformance,
    ignored_auth,
)
"""Not those that hold what is refused against the schemas: these cannot say all that handlers ask
for, e.g. that a stretch begins before it ends."""
PROBLEM: Final = "application/problem+json"


def keys() -> dict[str, str]:
    """Return the headers that open the controls of the simulator."""
    return {"APCA-API-KEY-ID": "fuzz", "APCA-API-SECRET-KEY": SECRET}


def target_of(name: str, url: str, only: str = "") -> Target:
    """Return a service as a target, with the credentials that open it."""
    return Target(name, url, keys if name == "broker_simulator" else operator_headers, only)


def target_as(login: Login, name: str, url: str, only: str = "") -> Target:
    """Return a service as somebody with a login meets it."""
    return Target(name, url, login.headers, only, signed_s=LOGGED_IN_S)


def control() -> FastAPI:
    """Return a simulator to be fuzzed: not the one that the services stand on, since its controls
    move time and break things; and without a server, so that it cannot close its own port."""
    return build(
        SimulatorSettings(
            broker_key="fuzz", broker_secret=SECRET, simulator_market="scripted",
            simulator_symbols=("AAPL", "KO"), simulator_factor=0, simulator_state=None,
            simulator_start="2019-03-04T15:00:00Z",
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Effort:
    """How much is tried on each operation."""

    planned: int
    random: int
    odd: int
    pool: int = 2000
    """How many planned cases are thought of, to choose from."""


@dataclass
class Target:
    """One service that runs."""

    name: str
    url: str
    sign: Callable[[], Mapping[str, str]] = operator_headers
    """Return headers of somebody who may do everything."""
    only: str = ""
    signed_s: float = SIGNED_S

    def __post_init__(self) -> None:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            self.document: dict[str, Any] = client.get(f"{self.url}/openapi.json").json()
        for path in SKIPPED:
            self.document["paths"].pop(path, None)
        self._signed: tuple[float, Mapping[str, str]] = (-self.signed_s, {})
        # So that the long lists of planned cases, once made, serve any number of rounds.
        self.planned: dict[str, list[Any]] = {}

    @property
    def headers(self) -> Mapping[str, str]:
        """Return headers that are good now."""
        at, headers = self._signed
        if time.monotonic() - at >= self.signed_s:
            headers = self.sign()
            self._signed = time.monotonic(), headers
        return headers

    @property
    def operations(self) -> list[tuple[str, str]]:
        """Return every method and path."""
        return [
            (method, path)
            for path, item in self.document["paths"].items()
            for method in METHODS
            if method in item and self.only in path
        ]


def fuzz(target: Target, seed: int, effort: Effort, tally: Tally) -> None:
    """Try every operation once, as the seed says; count what is found."""
    dice = random.Random(f"{seed} {target.name}")
    schema = _schema_of(target, seed)
    with requests.Session() as session, httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
        session.trust_env = False
        for method, path in target.operations:
            operation = schema[path][method.upper()]
            for case in _cases(target, schema, operation, dice, effort):
                tally.requests += 1
                tally.add(_call(target, case, session))
            for odd in odd_requests(
                method.upper(), path, target.document["paths"][path][method],
                target.document.get("components", {}).get("schemas", {}), dice, effort.odd,
            ):  # fmt: skip
                tally.requests += 1
                tally.add(_send(target, method, path, odd, client))


def _schema_of(target: Target, seed: int) -> Any:
    config = schemathesis.Config(
        seed=seed,
        output=OutputConfig(sanitization=SanitizationConfig(enabled=False)),
        projects=ProjectsConfig(
            default=ProjectConfig(
                base_url=target.url,
                generation=_GENERATION,
                max_stream_events=2,
                request_timeout=TIMEOUT_S,
            )
        ),
    )
    return schemathesis.openapi.from_dict(target.document, config=config)


def _cases(
    target: Target, schema: Any, operation: Any, dice: random.Random, effort: Effort
) -> Iterator[Any]:
    planned = target.planned.get(operation.label)
    if planned is None:
        made = schema.iter_coverage_cases(
            operation,
            generation_modes=list(schemathesis.GenerationMode),
            generation_config=_GENERATION,
        )
        planned = target.planned[operation.label] = list(itertools.islice(made, effort.pool))
    yield from dice.sample(planned, min(effort.planned, len(planned)))
    yield from _drawn(operation, dice, effort.random)


def _drawn(operation: Any, dice: random.Random, count: int) -> list[Any]:
    """Return cases that Hypothesis makes, valid ones and others."""
    drawn: list[Any] = []
    for mode in schemathesis.GenerationMode:
        if count < 1:
            break

        @hypothesis.seed(dice.randrange(2**32))
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(mode))
        def draw(case: Any) -> None:
            drawn.append(case)

        try:
            draw()
        except hypothesis.errors.Unsatisfiable:
            continue  # an operation without parameters has no invalid requests
    return drawn


def _call(target: Target, case: Any, session: requests.Session) -> Iterator[Finding]:
    label = case.operation.label
    try:
        response = case.call(session=session, headers=dict(target.headers))
    except (requests.RequestException, OSError) as error:
        curl = case.as_curl_command()
        yield Finding(target.name, label, "No answer", repr(error), curl, "")
        return
    if response.content == UNREAD:
        return
    try:
        case.validate_response(response, list(CHECKS), headers=dict(target.headers))
    except FailureGroup as group:
        curl = case.as_curl_command(headers=dict(response.request.headers))
        answer = f"{response.status_code} {response.content[:400]!r}"
        for failure in group.exceptions:
            message = failure.message or failure.title
            yield Finding(target.name, label, failure.title, message, curl, answer)


def _send(
    target: Target, method: str, path: str, odd: Any, client: httpx.Client
) -> Iterator[Finding]:
    label = f"{method.upper()} {path}"
    declared = target.document["paths"][path][method]["responses"]
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in {**target.headers, **odd.headers}.items()
    ]
    try:
        # Not `client.request`: it would put the odd address in order first.
        with client.stream(
            odd.method, target.url + odd.path, headers=headers, content=odd.body
        ) as answer:
            kind = answer.headers.get("content-type", "")
            body = b"" if kind.startswith("text/event-stream") else answer.read()
    except httpx.InvalidURL:
        return
    except httpx.HTTPError as error:
        yield Finding(target.name, label, "No answer", repr(error), odd.curl(target.url), "")
        return
    wrong = ""
    if answer.status_code >= 500:
        wrong = "Server error"
    elif str(answer.status_code) not in declared and answer.status_code not in (404, 405):
        wrong = "Undocumented status code"  # another path's 404 or 405, where the word holds a /
    elif answer.status_code >= 400 and kind != PROBLEM:
        wrong = "An error that is no problem"
    if wrong:
        said = f"{answer.status_code} {body[:400]!r}"
        yield Finding(
            target.name, label, wrong, f"{answer.status_code}", odd.curl(target.url), said
        )
