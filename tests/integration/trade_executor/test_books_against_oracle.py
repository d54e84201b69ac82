"""The server's booking functions against the independent oracle: every figure, after every step."""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal

import psycopg
import pytest

from infra.migrate import provision_roles
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO
from services.trade_executor.store import ExecutorStore
from tests.support.books_of_store import Kept, TaughtStore, kept
from tests.support.ledger_sessions import CASH_KINDS, SYMBOLS, Session
from tests.support.runtimes import runtime_for

SESSIONS, STEPS = 5, 70


def scaled(rng: random.Random, top: int, places: int) -> Decimal:
    return Decimal(rng.randrange(1, top)).scaleb(-places)


def step(rng: random.Random, session: Session) -> Awaitable[None] | None:
    """Let one thing happen."""

    def terms() -> tuple[Decimal, Decimal, Decimal]:
        fee = rng.choice([ZERO, Decimal("0.0123"), Decimal("2.5")])
        return scaled(rng, 10**11, 8), scaled(rng, 10**9, 6), fee

    def place() -> Awaitable[None] | None:
        held = rng.choice([ZERO, scaled(rng, 10**7, 4)])
        return session.place(
            rng.choice(SYMBOLS), rng.choice(list(Side)), scaled(rng, 10**11, 8), held
        )

    def cash() -> Awaitable[None] | None:
        amount = scaled(rng, 10**6, 4) * rng.choice([1, -1])
        return session.cash(rng.choice(CASH_KINDS), rng.choice(SYMBOLS), amount)

    def move() -> Awaitable[None] | None:
        symbol, parts = rng.choice(SYMBOLS), rng.randrange(-99, 300)
        held = session.oracle.position(symbol).quantity
        quantity = (held * parts / 100).quantize(Decimal("0.00000001"))
        amount = scaled(rng, 10**6, 4) * (1 if parts < 0 else -1)
        kind = rng.choice(("SPLIT", "CIL", "JNLS"))
        return session.move(kind, symbol, quantity, amount, rng.randrange(6))

    acts: dict[Callable[[], Awaitable[None] | None], int] = {
        place: 4,
        lambda: session.fill(rng.randrange(4), *terms()): 8,
        lambda: session.end(rng.randrange(9)): 1,
        lambda: session.repeat(rng.randrange(99)): 1,
        lambda: session.take_back(rng.randrange(99), None, unheard=rng.random() < 0.15): 3,
        lambda: session.take_back(rng.randrange(99), terms(), unheard=rng.random() < 0.15): 3,
        cash: 2,
        move: 3,
        lambda: session.restate(rng.randrange(9), scaled(rng, 10**11, 8)): 1,
    }
    return rng.choices(list(acts), list(acts.values()))[0]()


def compare(session: Session, taught: TaughtStore, tables: Kept) -> None:
    oracle = session.oracle
    assert tables.uneven == []
    assert (tables.cash, tables.cash_held) == (oracle.cash, oracle.cash_held)
    assert tables.fees == oracle.fees - oracle.money["DIVNRA"]
    lieu = sum((one.amount for one in oracle.movements), ZERO)
    assert tables.corporate == -oracle.money["DIV"] - lieu
    for symbol in SYMBOLS:
        told = oracle.position(symbol)
        figures = (told.quantity, told.average, told.realized)
        assert tables.positions.get(symbol, (ZERO,) * 3) == figures
        held = oracle.shares_held(symbol)
        assert tables.shares.get(symbol, (ZERO, ZERO)) == (told.quantity, held)
        assert tables.strategies.get(symbol, ZERO) == told.quantity
        assert tables.realized.get(symbol, ZERO) == told.realized
    for name, order in oracle.orders.items():
        row = tables.orders[taught.orders[name].id]
        assert row == (order.held, order.filled, order.worth), name
        assert taught.orders[name].status.is_terminal == order.over, name


@pytest.mark.parametrize("session_number", range(SESSIONS))
async def test_a_random_session_equals_the_oracle_after_every_step(
    session_number: int, database_url: str, redis_url: str
) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    with psycopg.connect(database_url) as connection:
        provision_roles(connection, {"trade_executor": "test-only"})
    role_url = f"postgresql://trade_executor:test-only@{database_url.rpartition('@')[2]}"
    runtime = runtime_for("trade_executor", role_url, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=True, shorting=True)
    taught = TaughtStore(store)
    session = Session(taught)
    with psycopg.connect(database_url) as connection:
        await (session.deposit(Decimal(100_000)) or _nothing())
        for _ in range(STEPS):
            done = step(rng, session)
            if done is None:
                continue
            await done
            try:
                compare(session, taught, kept(connection))
            except AssertionError as error:
                story = "\n".join(session.steps)
                raise AssertionError(f"seed {seed}, after\n{story}") from error
    await runtime.close()


async def _nothing() -> None:
    return None
