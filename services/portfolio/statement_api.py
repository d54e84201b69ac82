"""HTTP: the statement of one ledger account, and what all of them held at a time."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import fields
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.domain.ledger import CURRENCY, AccountCode, AccountKey
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import ZERO
from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.portfolio.ports import Statements
from services.portfolio.shapes import AccountName, BalancesShape
from services.portfolio.statement_store import AccountLine, AccountStatement, StatementStore

READ = requires("portfolio:read")
CSV_LINES_MAX = 100_000
_COLUMNS = tuple(one.name for one in fields(AccountLine))


class AccountQuery(BaseModel):
    """Which account, wall time from `start` to before `end`, and a page of it."""

    model_config = ConfigDict(extra="forbid")

    ledger: Annotated[str, Field(pattern=r"^[A-Z0-9.\-/]{1,32}$")] = CURRENCY
    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\-]{1,64}$")] | None = None
    code: AccountCode | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Annotated[int, Field(ge=1, le=2**62)] | None = None
    format: Literal["json", "csv"] = "json"


class BalancesQuery(BaseModel):
    """Now, or just before `at`."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime | None = None


def statement_routes(statements: Statements, store: StatementStore, account_id: str) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/portfolio/ledger", tags=["portfolio"])

    @router.get(
        "/statement",
        dependencies=[READ],
        responses=answers(
            page_of(AccountLine, account=AccountName, opening=Decimal, closing=Decimal),
            404,
            media={"text/csv": {"type": "string"}},
        ),
    )
    async def statement(query: Annotated[AccountQuery, Query()]) -> Response:
        """One account's lines, oldest first, each with the balance after it, and its balances at
        both ends. Our cash unless `ledger`, `owner`, `code` name another; `format=csv` is the
        whole stretch at once."""
        if query.start is not None and query.end is not None and query.start >= query.end:
            raise InvalidInputError("start: must be before end")
        account = _account(query, account_id)
        if query.format == "csv":
            found = await store.account(
                account, query.start, query.end, after=query.after, limit=CSV_LINES_MAX + 1
            )
            if len(found.lines) > CSV_LINES_MAX:
                raise InvalidInputError(f"start: more than {CSV_LINES_MAX} lines, ask for fewer")
            return Response(_csv(found), media_type="text/csv")
        found = await store.account(
            account, query.start, query.end, after=query.after, limit=query.limit + 1
        )
        shown = found.lines[: query.limit]
        body = {
            "account": account._asdict(),
            "opening": found.opening,
            "items": shown,
            "closing": found.closing,
            "next": shown[-1].seq if len(found.lines) > query.limit else None,
        }
        return json_response(body)

    @router.get("/balances", dependencies=[READ], responses=answers(BalancesShape))
    async def balances(query: Annotated[BalancesQuery, Query()]) -> Response:
        """Every ledger account now, or just before `at`, and the sum of each ledger: zero."""
        if query.at is None:
            accounts = await statements.balances()
        else:
            accounts = await store.balances_at(query.at)
        sums: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        for balance in accounts:
            sums[balance.ledger] += balance.posted
        return json_response({"items": accounts, "sums": dict(sums), "next": None})

    return router


def _account(query: AccountQuery, account_id: str) -> AccountKey:
    usual = AccountCode.CASH if query.ledger == CURRENCY else AccountCode.POSITION
    return AccountKey(query.owner or account_id, query.ledger, query.code or usual)


def _csv(found: AccountStatement) -> str:
    """Return the lines between one row that opens and one that closes."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerow({"code": "opening_balance", "balance": str(found.opening)})
    for line in found.lines:
        writer.writerow({name: _cell(getattr(line, name)) for name in _COLUMNS})
    writer.writerow({"code": "closing_balance", "balance": str(found.closing)})
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
