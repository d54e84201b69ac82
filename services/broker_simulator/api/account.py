"""`/v2/account` and its configuration, activities and history; assets, clock, calendar."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, timedelta
from typing import Any, TypeVar

import msgspec

from libs.common.domain.sessions import NEW_YORK, OutsideCalendarError
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import NS_PER_SECOND, from_ns
from services.broker_simulator.api.query import (
    read_choice,
    read_date,
    read_int,
    read_time,
)
from services.broker_simulator.broker import Broker
from services.broker_simulator.edge import Answer, Request, Router
from services.broker_simulator.engine.model import Account, Activity, Asset, Execution
from services.broker_simulator.engine.refusals import not_found, unprocessable
from services.broker_simulator.faults import Kind
from services.broker_simulator.wire_data import rfc3339
from services.broker_simulator.wire_trading import (
    account_json,
    activity_json,
    asset_json,
    fill_json,
)

A = TypeVar("A", Execution, Activity)


class Configuration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a customer may choose about the account; None leaves as it is."""

    no_shorting: bool | None = None
    suspend_trade: bool | None = None
    fractional_trading: bool | None = None
    trade_confirm_email: str | None = None
    ptp_no_exception_entry: bool | None = None
    max_margin_multiplier: str | None = None
    max_options_trading_level: int | None = None
    dtbp_check: str | None = None
    pdt_check: str | None = None


class AccountApi:
    """The paths about the account and the market's frame."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def register(self, router: Router) -> None:
        """Add the paths."""
        router.add("GET", "/v2/account", self.account)
        router.add("GET", "/v2/account/configurations", self.configuration)
        router.add("PATCH", "/v2/account/configurations", self.configure)
        router.add("GET", "/v2/account/activities", self.activities)
        router.add("GET", "/v2/account/activities/{kind}", self.activities)
        router.add("GET", "/v2/account/portfolio/history", self.history)
        router.add("GET", "/v2/assets", self.assets)
        router.add("GET", "/v2/assets/{name}", self.asset)
        router.add("GET", "/v2/clock", self.clock)
        router.add("GET", "/v2/calendar", self.calendar)
        router.add("GET", "/v2/corporate_actions/announcements", self.announcements)
        router.add("GET", "/v2/options/contracts", self.options)

    async def account(self, request: Request) -> Answer:
        """Return the account at market."""
        value = self._broker.registry.valuation(request.account)
        body = account_json(request.account, value)
        return Answer(self._broker.alterations.alter("account", body))

    async def configuration(self, request: Request) -> Answer:
        """Return the account's configuration."""
        return Answer(_configuration(request.account))

    async def configure(self, request: Request) -> Answer:
        """Change the account's configuration."""
        try:
            change = msgspec.convert(request.json(), Configuration)
        except msgspec.ValidationError as error:
            unprocessable(f"configuration: {error}")
        account = request.account
        for name in (
            "no_shorting",
            "suspend_trade",
            "fractional_trading",
            "trade_confirm_email",
            "ptp_no_exception_entry",
            "max_options_trading_level",
        ):
            value = getattr(change, name)
            if value is not None:
                setattr(account, name, value)
        self._broker.registry.changes.accounts[account.id] = account
        await self._broker.settle()
        return Answer(_configuration(account))

    async def activities(self, request: Request) -> Answer:
        """List fills and other movements, newest first, paged by the last id seen."""
        query = request.query
        wanted = request.params.get("kind") or query.get("activity_types") or ""
        kinds = {part.strip().upper() for part in wanted.split(",") if part.strip()}
        size = read_int(query, "page_size", 100, 1, 100)
        direction = read_choice(query, "direction", ("asc", "desc"), "desc")
        after, until = read_time(query, "after"), read_time(query, "until")
        day = read_time(query, "date")
        if day is not None:
            after, until = day - 1, day + 86_400 * NS_PER_SECOND
        rows = self._rows(request.account, kinds, after, until)
        if direction == "desc":
            rows.reverse()
        token = query.get("page_token")
        if token:
            number = token.rpartition("::")[2]
            at = next((i for i, row in enumerate(rows) if row.id == number), None)
            if at is None:
                unprocessable(f"page_token: {token!r} is not an activity")
            rows = rows[at + 1 :]
        alter = self._broker.alterations.alter
        bodies = (
            fill_json(r) if isinstance(r, Execution) else activity_json(r) for r in rows[:size]
        )
        return Answer([alter("activity", body) for body in bodies])

    async def history(self, request: Request) -> Answer:
        """Return the account's value at each close, and now."""
        account = request.account
        points = [(p.ts, float(p.equity)) for p in account.equity_history]
        now = self._broker.registry.valuation(account).equity
        points.append((self._broker.now_ns, float(now)))
        base = float(account.opening_cash)
        return Answer(
            {
                "timestamp": [ts // NS_PER_SECOND for ts, _ in points],
                "equity": [equity for _, equity in points],
                "profit_loss": [round(equity - base, 4) for _, equity in points],
                "profit_loss_pct": [(e / base - 1) if base else None for _, e in points],
                "base_value": base,
                "base_value_asof": f"{from_ns(account.created_at):%Y-%m-%d}",
                "timeframe": "1D",
                "cashflow": {},
            }
        )

    async def assets(self, request: Request) -> Answer:
        """List what can be traded."""
        query = request.query
        if query.get("asset_class") not in (None, "", "us_equity") or (
            query.get("status") not in (None, "", "active")
        ):
            return Answer([])
        exchange = query.get("exchange")
        found = self._broker.registry.assets.values()
        return Answer([asset_json(a) for a in found if not exchange or a.exchange == exchange])

    async def asset(self, request: Request) -> Answer:
        """Return one asset by symbol or id."""
        return Answer(asset_json(self.find_asset(request.params["name"])))

    def find_asset(self, name: str) -> Asset:
        """Return the asset of a symbol or id. Raises 404."""
        assets = self._broker.registry.assets
        found = assets.get(name.upper())
        if found is None:
            found = next((a for a in assets.values() if a.id == name), None)
        if found is None:
            not_found(f"asset not found for {name}")
        return found

    async def clock(self, request: Request) -> Answer:
        """Return the market's clock."""
        broker = self._broker
        skew = broker.faults.standing(Kind.CLOCK_SKEW)
        now = broker.now_ns + (int(skew.seconds * NS_PER_SECOND) if skew else 0)
        moment = from_ns(now)
        calendar = broker.registry.calendar
        return Answer(
            {
                "timestamp": rfc3339(now),
                "is_open": calendar.state_at(moment) is SessionState.REGULAR,
                "next_open": calendar.next_open(moment).isoformat(),
                "next_close": calendar.next_close(moment).isoformat(),
            }
        )

    async def calendar(self, request: Request) -> Answer:
        """Return the sessions of a period, their hours in New York time."""
        calendar = self._broker.registry.calendar
        first, last = calendar.sessions[0].date, calendar.sessions[-1].date
        start = read_date(request.query, "start", first)
        end = read_date(request.query, "end", last)
        return Answer(
            [
                {
                    "date": session.date.isoformat(),
                    "open": f"{session.open.astimezone(NEW_YORK):%H:%M}",
                    "close": f"{session.close.astimezone(NEW_YORK):%H:%M}",
                    "session_open": f"{session.pre_open.astimezone(NEW_YORK):%H%M}",
                    "session_close": f"{session.post_close.astimezone(NEW_YORK):%H%M}",
                    "settlement_date": _settlement(calendar, session.date).isoformat(),
                }
                for session in calendar.sessions_between(start, end)
            ]
        )

    async def announcements(self, request: Request) -> Answer:
        """List corporate action announcements: none are made ahead of time here."""
        return Answer([])

    async def options(self, request: Request) -> Answer:
        """List option contracts: none are traded here."""
        return Answer({"option_contracts": [], "next_page_token": None})

    def _rows(
        self, account: Account, kinds: set[str], after: int | None, until: int | None
    ) -> list[Execution | Activity]:
        """Return the account's activities with `after < ts < until`, oldest first."""
        registry = self._broker.registry
        rows: list[Execution | Activity] = []
        if not kinds or "FILL" in kinds:
            rows += [e for e in _between(registry.executions, after, until) if _is_of(e, account)]
        others = [a for a in _between(registry.activities, after, until) if _is_of(a, account)]
        others = [a for a in others if not kinds or a.activity_type in kinds]
        return sorted([*rows, *others], key=_ts) if others else rows


def _ts(row: Execution | Activity) -> int:
    return row.ts


def _is_of(row: Execution | Activity, account: Account) -> bool:
    return row.account == account.id


def _between(rows: list[A], after: int | None, until: int | None) -> list[A]:
    first = 0 if after is None else bisect_right(rows, after, key=_ts)
    last = len(rows) if until is None else bisect_left(rows, until, key=_ts)
    return rows[first:last]


def _settlement(calendar: Any, day: date) -> date:
    try:
        settled: date = calendar.session_offset(day, 1).date
    except OutsideCalendarError:
        return day + timedelta(days=1)
    return settled


def _configuration(account: Account) -> dict[str, Any]:
    return {
        "dtbp_check": "entry",
        "fractional_trading": account.fractional_trading,
        "max_margin_multiplier": str(account.multiplier),
        "no_shorting": account.no_shorting,
        "pdt_check": "entry",
        "suspend_trade": account.suspend_trade,
        "trade_confirm_email": account.trade_confirm_email,
        "ptp_no_exception_entry": account.ptp_no_exception_entry,
        "max_options_trading_level": account.max_options_trading_level,
    }
