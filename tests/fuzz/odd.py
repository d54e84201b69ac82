"""Requests that no schema describes: bytes, numbers and nestings that parsers trip over."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

JSON: Final = "application/json"
DEEP: Final = 50_000
WORDS: Final = (
    "%00", "a%00b", "%ED%A0%80", "%FF%FE", "%F0%9F%92%A9", "..%2F..%2Fetc%2Fpasswd",
    "%0d%0aX-A:%20b",
    "1e999", "9" * 400, "-" + "9" * 30, "NaN", "null", "%27%20OR%201=1--", "%25n%25s", "a" * 4000,
    "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "2147483648", "%E2%80%AE", "%20",
)  # fmt: skip
BODIES: Final = (
    b"", b"null", b"[]", b'""', b"0", b"true", b"{", b'{"a":1}}', b'{"a":1,"a":2}', b"\xff\xfe{}",
    b'{"\\u0000":1}', b'{"\\ud800":"\\udfff"}', b"\xef\xbb\xbf{}", b"NaN", b"[" * DEEP,
    b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b"9" * 5000, b"1e999999",
    b'{"a":"' + b"x" * 100_000,
)  # fmt: skip
VALUES: Final = (
    '"\\ud800"', '"\\u0000"', '"a\\u0000b"', "9" * 400, "-1", "1e400", "1e-400", "NaN", "Infinity",
    "null", "true", '""', '"' + "x" * 5000 + '"', "[]", "{}", "[[[[]]]]", '"1_000"', '"٣"',
    '"2000-02-30"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', "0.1",
    "[" * 2000 + "]" * 2000,
)  # fmt: skip
TYPES: Final = (
    JSON,
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "application/json;x=\xff",
)


@dataclass(frozen=True)
class Odd:
    """One request as it goes on the wire."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def curl(self, url: str) -> str:
        """Return the command that sends it; a long body is cut."""
        parts = [
            "curl",
            "-X",
            self.method,
            *(f"-H {shlex.quote(f'{k}: {v}')}" for k, v in self.headers.items()),
        ]
        if self.body is not None:
            parts.append(f"--data-binary {shlex.quote(self.body[:300].decode('latin-1'))}")
        return " ".join([*parts, shlex.quote(url + self.path)])


def odd_requests(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    schemas: Mapping[str, Any],
    dice: random.Random,
    count: int,
) -> Iterator[Odd]:
    """Yield `count` odd requests of one operation of an OpenAPI document."""
    parameters = operation.get("parameters", [])
    media = operation.get("requestBody", {}).get("content", {}).get(JSON)
    headers = {
        one["name"]: f"odd-{dice.randrange(10**12)}"
        for one in parameters if one["in"] == "header" and one.get("required")
    }  # fmt: skip
    for _ in range(count):
        words = {one["name"]: dice.choice(WORDS) for one in parameters if one["in"] == "path"}
        where = path.format(**words)
        asked = [one["name"] for one in parameters if one["in"] == "query"]
        if asked and dice.random() < 0.8:
            chosen = dice.sample(asked, dice.randint(1, min(2, len(asked))))
            where += "?" + "&".join(f"{quote(name)}={dice.choice(WORDS)}" for name in chosen)
        elif dice.random() < 0.2:
            where += f"?{dice.choice(WORDS)}={dice.choice(WORDS)}"
        if media is None:
            yield Odd(method, where, headers)
        else:
            kind = JSON if dice.random() < 0.8 else dice.choice(TYPES)
            body = _body(media["schema"], schemas, dice)
            yield Odd(method, where, {**headers, "Content-Type": kind}, body)


def _body(schema: Mapping[str, Any], schemas: Mapping[str, Any], dice: random.Random) -> bytes:
    if dice.random() < 0.3:
        return dice.choice(BODIES)
    return _text(schema, schemas, dice, 0).encode("utf-8", "surrogatepass")


def _text(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], dice: random.Random, depth: int
) -> str:
    """Return JSON of the schema's shape, with an odd value here and there."""
    if (depth and dice.random() < 0.25) or depth > 6:
        return dice.choice(VALUES)
    if "$ref" in schema:
        return _text(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas, dice, depth)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return _text(dice.choice(schema[word]), schemas, dice, depth)
    if "enum" in schema:
        return json.dumps(dice.choice(schema["enum"]))
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", [])
        fields = [
            f"{json.dumps(name)}: {_text(inner, schemas, dice, depth + 1)}"
            for name, inner in schema.get("properties", {}).items()
            if name in required or dice.random() < 0.5
        ]
        return "{" + ", ".join(fields) + "}"
    if kind == "array":
        count = dice.choice((0, 1, 2))
        return (
            "["
            + ", ".join(
                _text(schema.get("items", {}), schemas, dice, depth + 1) for _ in range(count)
            )
            + "]"
        )
    plain = {
        "integer": "1", "number": "1.5", "boolean": "true", "null": "null",
        "string": dice.choice(('"AAPL"', '"sma_cross"', '"2019-03-04T15:00:00Z"', '"1"')),
    }  # fmt: skip
    return plain.get(str(kind), dice.choice(VALUES))
