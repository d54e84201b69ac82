"""`/v2/watchlists`: named lists of symbols."""

from __future__ import annotations

import msgspec

from libs.common.kernel.ids import IdSource
from services.broker_simulator.broker import Broker
from services.broker_simulator.edge import Answer, Request, Router
from services.broker_simulator.engine.model import Account, Watchlist
from services.broker_simulator.engine.refusals import not_found, unprocessable
from services.broker_simulator.wire_trading import watchlist_json


class WatchlistBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A name, symbols, or one symbol to add."""

    name: str | None = None
    symbols: list[str] | None = None
    symbol: str | None = None


class WatchlistsApi:
    """The watchlist paths of one broker."""

    def __init__(self, broker: Broker, ids: IdSource) -> None:
        self._broker = broker
        self._ids = ids

    def register(self, router: Router) -> None:
        """Add the paths."""
        router.add("GET", "/v2/watchlists", self.list_watchlists)
        router.add("POST", "/v2/watchlists", self.create)
        router.add("GET", "/v2/watchlists/{list_id}", self.get)
        router.add("PUT", "/v2/watchlists/{list_id}", self.update)
        router.add("POST", "/v2/watchlists/{list_id}", self.add)
        router.add("DELETE", "/v2/watchlists/{list_id}", self.delete)
        router.add("DELETE", "/v2/watchlists/{list_id}/{symbol}", self.remove)

    async def list_watchlists(self, request: Request) -> Answer:
        """List the watchlists, without their assets."""
        account = request.account
        lists = account.watchlists.values()
        return Answer([watchlist_json(w, account.id, None) for w in lists])

    async def create(self, request: Request) -> Answer:
        """Make a watchlist."""
        body = _read(request)
        if not body.name or len(body.name) > 64:
            unprocessable("watchlist name must have 1 to 64 characters")
        if any(w.name == body.name for w in request.account.watchlists.values()):
            unprocessable("watchlist name must be unique")
        now = self._broker.now_ns
        watchlist = Watchlist(
            id=str(self._ids.new()),
            name=body.name,
            symbols=self._known(body.symbols or []),
            created_at=now,
            updated_at=now,
        )
        request.account.watchlists[watchlist.id] = watchlist
        return await self._answer(request.account, watchlist)

    async def get(self, request: Request) -> Answer:
        """Return one watchlist."""
        return self._body(request.account, self._find(request))

    async def update(self, request: Request) -> Answer:
        """Change a watchlist's name or symbols."""
        watchlist, body = self._find(request), _read(request)
        if body.name:
            watchlist.name = body.name
        if body.symbols is not None:
            watchlist.symbols = self._known(body.symbols)
        return await self._answer(request.account, watchlist)

    async def add(self, request: Request) -> Answer:
        """Add one symbol."""
        watchlist, body = self._find(request), _read(request)
        if not body.symbol:
            unprocessable("symbol is required")
        watchlist.symbols = self._known([*watchlist.symbols, body.symbol])
        return await self._answer(request.account, watchlist)

    async def remove(self, request: Request) -> Answer:
        """Remove one symbol."""
        watchlist, symbol = self._find(request), request.params["symbol"]
        if symbol not in watchlist.symbols:
            not_found(f"symbol {symbol} in watchlist")
        watchlist.symbols = [s for s in watchlist.symbols if s != symbol]
        return await self._answer(request.account, watchlist)

    async def delete(self, request: Request) -> Answer:
        """Delete a watchlist."""
        watchlist = self._find(request)
        del request.account.watchlists[watchlist.id]
        self._broker.registry.changes.accounts[request.account.id] = request.account
        await self._broker.settle()
        return Answer(status=204)

    async def _answer(self, account: Account, watchlist: Watchlist) -> Answer:
        watchlist.updated_at = self._broker.now_ns
        self._broker.registry.changes.accounts[account.id] = account
        await self._broker.settle()
        return self._body(account, watchlist)

    def _body(self, account: Account, watchlist: Watchlist) -> Answer:
        assets = [self._broker.registry.assets[s] for s in watchlist.symbols]
        return Answer(watchlist_json(watchlist, account.id, assets))

    def _find(self, request: Request) -> Watchlist:
        watchlist = request.account.watchlists.get(request.params["list_id"])
        if watchlist is None:
            not_found("watchlist")
        return watchlist

    def _known(self, symbols: list[str]) -> list[str]:
        unknown = [s for s in symbols if s not in self._broker.registry.assets]
        if unknown:
            unprocessable(f"watchlist: unknown symbol {', '.join(unknown)}")
        return list(dict.fromkeys(symbols))


def _read(request: Request) -> WatchlistBody:
    try:
        return msgspec.convert(request.json(), WatchlistBody)
    except msgspec.ValidationError as error:
        unprocessable(f"watchlist: {error}")
