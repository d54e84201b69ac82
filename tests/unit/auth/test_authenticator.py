"""The authenticator: keys and revocations, remembered and renewed; closed when it knows nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import pytest

from libs.common.contracts.envelope import Envelope, seal
from libs.common.contracts.messages import Revocation
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.auth.authenticator import Authenticator
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.auth.service_tokens import ServiceTokens
from libs.common.runtime.auth.store import AccessFacts, VerificationKey
from libs.common.runtime.auth.tokens import ISSUER, USER_TTL, key_of_seed, kid_of, user_token

NOW = dt.datetime(2026, 3, 2, 15, 0, tzinfo=dt.UTC)
USER = uuid.UUID(int=7)
SESSION = uuid.UUID(int=9)
FIRST, SECOND = key_of_seed("11" * 32), key_of_seed("22" * 32)


class Facts:
    """The database's place; counts how often it is read."""

    def __init__(self) -> None:
        self.keys = {kid_of(FIRST.public_key()): VerificationKey(ISSUER, FIRST.public_key(), None)}
        self.revoked: dict[str, dt.datetime] = {}
        self.away = False
        self.reads = 0
        self.answered = asyncio.Event()
        self.answered.set()

    async def read(self) -> AccessFacts:
        self.reads += 1
        if self.away:
            raise UnavailableError("database: away")
        found = AccessFacts(dict(self.keys), dict(self.revoked))
        await self.answered.wait()
        return found


def token(key: object = FIRST, now: dt.datetime = NOW) -> str:
    return user_token(
        key,  # type: ignore[arg-type]
        user_id=USER,
        name="ada",
        roles=["viewer"],
        accounts=["main"],
        session_id=SESSION,
        now=now,
    )


def told(subject: str, at: dt.datetime) -> Envelope[Revocation]:
    return seal(
        Revocation(subject=subject, revoked_at=at, expires_at=at + USER_TTL),
        message_id=uuid.uuid4(),
        ts_ns=0,
        source="security",
        correlation_id=uuid.uuid4(),
    )


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def desk(facts: Facts, clock: ManualClock) -> Authenticator:
    return Authenticator(facts.read, clock)


async def code_of(desk: Authenticator, credential: str) -> str:
    with pytest.raises(AccessError) as caught:
        await desk.identify(credential)
    return caught.value.code


async def test_a_token_is_checked_once_and_remembered_until_it_ends(
    desk: Authenticator, facts: Facts, clock: ManualClock
) -> None:
    one = token()
    assert await desk.identify(one) is await desk.identify(one)
    assert facts.reads == 1
    clock.advance(USER_TTL)
    assert await code_of(desk, one) == "expired-token"
    assert await code_of(desk, one) == "expired-token"


async def test_while_nothing_is_known_nobody_is_admitted(desk: Authenticator, facts: Facts) -> None:
    facts.away = True
    for _ in range(20):
        with pytest.raises(UnavailableError):
            await desk.identify(token())
    assert facts.reads == 1  # a crowd at the door does not become a crowd at the database


async def test_when_the_database_goes_away_those_who_are_in_stay_in(
    desk: Authenticator, facts: Facts
) -> None:
    await desk.identify(token())
    facts.away = True
    with pytest.raises(UnavailableError):
        await desk.refresh()
    assert (await desk.identify(token(now=NOW + dt.timedelta(seconds=1)))).name == "ada"


async def test_invented_keys_cost_one_look_a_second(desk: Authenticator, facts: Facts) -> None:
    await desk.refresh()
    for _ in range(50):
        assert await code_of(desk, token(SECOND)) == "unknown-token-key"
    assert facts.reads == 1


async def test_a_key_that_is_gone_ends_what_was_remembered(
    desk: Authenticator, facts: Facts
) -> None:
    one = token()
    await desk.identify(one)
    facts.keys = {kid_of(SECOND.public_key()): VerificationKey(ISSUER, SECOND.public_key(), None)}
    await desk.refresh()
    assert await code_of(desk, one) == "unknown-token-key"
    assert (await desk.identify(token(SECOND))).name == "ada"


async def test_a_key_past_its_end_signs_nothing_any_more(desk: Authenticator, facts: Facts) -> None:
    kid = kid_of(FIRST.public_key())
    facts.keys[kid] = VerificationKey(ISSUER, FIRST.public_key(), NOW)
    assert await code_of(desk, token()) == "unknown-token-key"


@pytest.mark.parametrize("subject", [f"user:{USER}", f"session:{SESSION}"])
async def test_a_revocation_hits_what_was_issued_before_it(
    desk: Authenticator, facts: Facts, clock: ManualClock, subject: str
) -> None:
    old = token()
    await desk.identify(old)
    at = NOW + dt.timedelta(seconds=1)
    await desk.hear(told(subject, at))
    clock.advance(dt.timedelta(seconds=2))
    assert await code_of(desk, old) == "revoked"
    assert (await desk.identify(token(now=clock.now()))).name == "ada"
    # What came by broadcast alone is confirmed by the table, or healed by it.
    facts.revoked[subject] = at
    await desk.refresh()
    assert await code_of(desk, old) == "revoked"


async def test_a_revocation_heard_while_the_tables_are_read_is_not_lost(
    desk: Authenticator, facts: Facts
) -> None:
    old = token()
    await desk.identify(old)
    facts.answered.clear()
    reading = asyncio.create_task(desk.refresh())
    await asyncio.sleep(0)
    await desk.hear(told(f"user:{USER}", NOW))
    facts.answered.set()
    await reading
    assert await code_of(desk, old) == "revoked"


async def test_nobody_has_an_api_key_where_none_are_kept(desk: Authenticator) -> None:
    assert await code_of(desk, "tw_abc_secret") == "unknown-key"


def test_a_service_renews_its_token_before_it_ends(clock: ManualClock) -> None:
    tokens = ServiceTokens("audit", "11" * 32, clock)
    first = tokens.headers()
    clock.advance(dt.timedelta(seconds=59))
    assert tokens.headers() == first
    clock.advance(dt.timedelta(seconds=1))
    assert tokens.headers() != first


def test_a_service_without_a_key_says_what_is_missing(clock: ManualClock) -> None:
    with pytest.raises(InvalidInputError, match="TRADEWIND_SERVICE_KEY"):
        ServiceTokens("audit", "", clock).headers()


async def test_a_database_that_is_silent_keeps_nobody_waiting_for_long(
    facts: Facts, clock: ManualClock
) -> None:
    desk = Authenticator(facts.read, clock, wait_s=0.05)
    facts.answered.clear()

    async def refused() -> bool:
        with pytest.raises(UnavailableError):
            await desk.identify(token())
        return True

    async with asyncio.timeout(30):
        assert all(await asyncio.gather(*(refused() for _ in range(50))))
        facts.answered.set()
        await desk.refresh()
        assert (await desk.identify(token())).name == "ada"
        # Who is known is not kept waiting by those who are not.
        facts.answered.clear()
        looking = asyncio.create_task(desk.refresh())
        assert (await desk.identify(token())).name == "ada"
        facts.answered.set()
        await looking
