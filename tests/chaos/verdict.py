"""Whether the books, and what people were told, are right after all that happened."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import httpx
import psycopg

from infra.ledger_verify import verify
from tests.chaos.callers import Tale
from tests.support.system import System
from tests.support.tie_out import database_url, differences, loose_ends, truth

ENDED = frozenset({"denied", "filled", "canceled", "expired", "rejected", "replaced"})
AT_THE_VENUE = frozenset({"submitted", "accepted", "working", "partially_filled", "held", "filled"})
EXCEPTION = re.compile(r"^(\w[\w.]*(?:Error|Exception|Violation|Closed)\b.{0,160})")


def faults_found(system: System, tales: Sequence[Tale]) -> list[str]:
    """Return everything that is wrong; nothing is what we want."""
    with psycopg.connect(database_url(system)) as connection:
        found = [
            *differences(system),
            *loose_ends(connection),
            *told_otherwise(connection, tales),
        ]
    promises = [
        f"ledger verify: {result.name}: {result.broken} broken: {', '.join(result.offending[:5])}"
        for result in verify(database_url(system))
        if result.broken
    ]
    return [*found, *promises, *_answers(system)]


def told_otherwise(connection: psycopg.Connection, tales: Sequence[Tale]) -> list[str]:
    """Each key became exactly one order, and it is the one its caller heard of."""
    rows: dict[str, list[tuple[str, str, str, str]]] = {}
    for key, order_id, symbol, side, status in connection.execute(
        "SELECT idempotency_key, id::text, symbol, side, status FROM orders "
        "WHERE idempotency_key IS NOT NULL"
    ):
        rows.setdefault(key, []).append((order_id, symbol, side, status))
    found = []
    for tale in tales:
        mine = rows.get(tale.key, [])
        codes = Counter(code for code, _ in tale.told)
        if odd := {code for code in codes if code not in {201, 429, 502, 503, 504}}:
            found.append(f"{tale.key} was answered {sorted(odd)}: {tale.told[-1]}")
        if len(mine) != 1:
            found.append(f"{tale.key} became {len(mine)} orders, its caller heard {dict(codes)}")
            continue
        order_id, symbol, side, status = mine[0]
        if (symbol, side) != (tale.body["symbol"], tale.body["side"]):
            found.append(f"{tale.key} wanted {tale.body}, got {side} {symbol}")
        for told in tale.orders:
            if told["id"] != order_id:
                found.append(f"{tale.key} was told order {told['id']}, it is {order_id}")
            elif not _may_follow(told["status"], status):
                found.append(f"{tale.key} was told {told['status']}, it ended {status}")
    return found


def _may_follow(told: str, final: str) -> bool:
    """Tell whether an order that was shown as `told` can have ended as `final`."""
    if told in ENDED - {"denied", "filled"}:
        return final in {told, "filled"}
    if told in {"denied", "filled"}:
        return final == told
    return not (told in AT_THE_VENUE and final == "denied")


def _answers(system: System) -> list[str]:
    """What the services themselves say: the audit chain, the portfolio's cash."""
    found = []
    try:
        verified = system.get("/api/v1/audit/verify")
        if verified["valid"] is not True:
            found.append(f"audit chain: {verified}")
        cash = Decimal(system.get("/api/v1/portfolio/account")["cash"])
        theirs = Decimal(truth(system)["cash"])
        if cash != theirs:
            found.append(f"portfolio says cash {cash}, the broker {theirs}")
    except httpx.HTTPError as error:
        found.append(f"a service does not answer: {error!r}")
    return found


def exceptions_logged(system: System) -> Counter[str]:
    """Return what was logged as an exception, by service and last line: each may be a bug."""
    found: Counter[str] = Counter()
    for path in sorted(system.home.rglob("*.log*")):
        for line in path.read_text(errors="replace").splitlines():
            if '"exception"' not in line:
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            last = str(entry.get("exception", "")).strip().splitlines()[-1:]
            match = EXCEPTION.match(last[0]) if last else None
            what = match[1] if match else (last[0][:160] if last else "?")
            found[f"{path.name.split('.')[0]}: {entry.get('event')}: {what}"] += 1
    return found
