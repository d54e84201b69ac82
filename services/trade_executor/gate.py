"""The kill switch as seen at the wire, and the symbols that take no new risk."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict

from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import Refusal
from services.trade_executor.logic import refusal_at_the_wire
from services.trade_executor.model import Order
from services.trade_executor.ports import Books, Gate


class TradingGate:
    """Decides, at the last step, whether an order may leave.

    The truth is the row in PostgreSQL. It is read again when the last reading is older than
    `age_ms_max`; orders that ask at the same time share one reading. So an order can leave at
    most that long after a halt has been committed, whatever becomes of Redis. An alert on the
    bus only makes it quicker. The dead-man switch: no heartbeat of the risk manager for
    `heartbeat_s_max` means that no order adds risk.
    """

    def __init__(
        self, books: Books, clock: Clock, *, age_ms_max: float, heartbeat_s_max: float
    ) -> None:
        self._books = books
        self._clock = clock
        self._age_ns_max = round(age_ms_max * 1e6)
        self._heartbeat_ns_max = round(heartbeat_s_max * 1e9)
        self._last: Gate | None = None
        self._read_at: int | None = None
        self._heard_at: int | None = None
        self._heard = asyncio.Event()
        self._reading: asyncio.Task[Gate | None] | None = None
        self._doubts = 0
        self.carried = False

    def invalidate(self) -> None:
        """Forget the last reading: something was said about the kill switch."""
        self._read_at = None
        self._doubts += 1

    def heard_risk_manager(self) -> None:
        """Note a heartbeat of the risk manager."""
        self._heard_at = self._clock.monotonic_ns()
        self._heard.set()

    async def listen(self) -> None:
        """Wait for the first heartbeat, at most as long as one may be away: a process that has
        just begun to listen must not take its own deafness for the risk manager's silence."""
        if not self._heard.is_set():
            try:
                async with asyncio.timeout(self._heartbeat_ns_max / 1e9):
                    await self._heard.wait()
            except TimeoutError:
                self._heard.set()

    @property
    def risk_manager_alive(self) -> bool:
        """Whether the last heartbeat is young enough."""
        if self._heard_at is None:
            return False
        return self._clock.monotonic_ns() - self._heard_at <= self._heartbeat_ns_max

    @property
    def effective_state(self) -> TradingState | None:
        """The state as last read, with the dead-man switch in it."""
        if self._last is None:
            return None
        if self._last.state is TradingState.ACTIVE and not self.risk_manager_alive:
            return TradingState.REDUCING
        return self._last.state

    async def current(self) -> Gate | None:
        """Return the kill switch, read no longer ago than allowed. Raises UnavailableError."""
        while True:
            if self._read_at is not None:
                age = self._clock.monotonic_ns() - self._read_at
                if age <= self._age_ns_max:
                    return self._last
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(), name="gate")
                return await asyncio.shield(self._reading)
            # A reading that began before we asked may have seen an older row: use the next.
            await asyncio.wait({self._reading})

    def asking(self) -> tuple[int, int]:
        """Note that the row is about to be read on the way, with a statement of another purpose;
        what it says is told to `saw`."""
        return self._clock.monotonic_ns(), self._doubts

    def saw(self, asking: tuple[int, int], gate: Gate | None) -> None:
        """Take a reading, unless something was said about the kill switch after it was asked
        for, or a later one is there."""
        asked_at, doubts = asking
        if doubts == self._doubts and (self._read_at is None or self._read_at <= asked_at):
            self._last, self._read_at = gate, asked_at

    def foresee(self) -> None:
        """Begin a reading if the last is too old for an order that will ask in a moment, while
        something else has to be waited for anyway; not where that other thing brings one."""
        if self.carried:
            return
        if self._reading is None or self._reading.done():
            half = self._age_ns_max // 2
            if self._read_at is None or self._clock.monotonic_ns() - self._read_at > half:
                self._reading = asyncio.create_task(self._read(), name="gate")
                # Nobody may ask after all; whoever does reads again, and hears of the failure.
                self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _read(self) -> Gate | None:
        # Age counts from before the question, not from the answer.
        asking = self.asking()
        found = await self._books.gate()
        self.saw(asking, found)
        if self._read_at is None:
            self._last = found  # too old for the next who asks, and the newest there is
        return self._last

    async def refusal(self, order: Order, now: dt.datetime) -> Refusal | None:
        """Return why `order` must not leave now. Raises UnavailableError."""
        return refusal_at_the_wire(
            order, await self.current(), now=now, risk_manager_alive=self.risk_manager_alive
        )


class Blocks:
    """Symbols that take no new risk, each with its reasons; '' stands for the whole account."""

    def __init__(self) -> None:
        self._reasons: defaultdict[str, set[str]] = defaultdict(set)
        self._changed = asyncio.Condition()
        self._waiting = 0

    def block(self, symbol: str, reason: str) -> None:
        """Stop new risk on `symbol` until `reason` is gone."""
        self._reasons[symbol].add(reason)

    async def clear(self, symbol: str, reason: str) -> None:
        """Take one reason away."""
        self._reasons[symbol].discard(reason)
        if not self._reasons[symbol]:
            del self._reasons[symbol]
        if self._waiting:
            async with self._changed:
                self._changed.notify_all()

    def reasons(self, symbol: str) -> frozenset[str]:
        """Return what blocks `symbol`, the account's reasons included."""
        return frozenset(self._reasons.get(symbol, ())) | frozenset(self._reasons.get("", ()))

    def shown(self) -> dict[str, list[str]]:
        """Return all blocks."""
        return {symbol: sorted(reasons) for symbol, reasons in self._reasons.items()}

    async def wait_clear(self, symbol: str, timeout_s: float) -> bool:
        """Wait until nothing blocks `symbol`; False if that takes longer than `timeout_s`."""
        if not self.reasons(symbol):
            return True
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                async with self._changed:
                    await self._changed.wait_for(lambda: not self.reasons(symbol))
            return True
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
