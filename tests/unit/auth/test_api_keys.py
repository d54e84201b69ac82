"""API keys: whom they speak for, from where, how often, and what is said to the others."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from libs.common.contracts.messages import KeyUse
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.auth.clients import networks_of, parsed_address
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.auth.key_store import ApiKey
from libs.common.runtime.auth.key_text import new_api_key, parse_api_key
from libs.common.runtime.auth.key_uses import KeyUses
from libs.common.runtime.auth.keys import ApiKeys, common_accounts
from libs.common.runtime.auth.principal import Kind

NOW = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
MINE = new_api_key()
KEY = ApiKey(
    id=MINE.id,
    hash=MINE.hash,
    permissions=frozenset({"orders:read", "orders:write", "users:write"}),
    accounts=frozenset({"main", "other"}),
    networks=(),
    rate_per_minute=60,
    may_step_up=False,
    expires_at=NOW + dt.timedelta(days=1),
    revoked_at=None,
    owner_id="0190c2f0-0000-7000-8000-000000000001",
    owner="ada",
    owner_roles=("trader",),
    owner_accounts=frozenset({"main"}),
    owner_active=True,
)
HERE = parsed_address("192.0.2.7")


@dataclass
class Desk:
    """The keys in a store that can be away, a rate that can be used up, and what was noted."""

    held: dict[str, ApiKey] = field(default_factory=lambda: {KEY.id: KEY})
    away: bool = False
    reads: int = 0
    wait: int = 0
    counted: list[tuple[str, int]] = field(default_factory=list)
    used: list[tuple[str, dt.datetime, str]] = field(default_factory=list)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        self.keys = ApiKeys(
            self.read, self, self.clock, lambda key, at, ip: self.used.append((key, at, ip))
        )

    async def read(self) -> Mapping[str, ApiKey]:
        self.reads += 1
        if self.away:
            raise UnavailableError("away")
        return dict(self.held)

    async def wait_s(self, whom: str, per_minute: int) -> int:
        self.counted.append((whom, per_minute))
        return self.wait

    async def refused(self, text: str = MINE.text, client: str = "192.0.2.7") -> tuple[int, str]:
        with pytest.raises(AccessError) as caught:
            await self.keys.admit(text, parsed_address(client))
        assert MINE.text not in str(caught.value)
        return caught.value.status, caught.value.code


async def test_a_key_speaks_for_its_owner_within_both_their_limits() -> None:
    desk = Desk()
    who = await desk.keys.admit(MINE.text, HERE)
    assert (who.kind, who.subject, who.name) == (Kind.KEY, KEY.owner_id, "ada")
    assert who.permissions == {"orders:read", "orders:write"}
    assert who.accounts == {"main"}
    assert (who.key_id, who.issued_at, who.expires_at) == (KEY.id, NOW, KEY.expires_at)
    assert not who.is_stepped_up(NOW, dt.timedelta(minutes=5))
    assert who.actor == f"key:{KEY.id} of ada"
    assert desk.counted == [(f"key:{KEY.id}", 60)]
    assert desk.used == [(KEY.id, NOW, "192.0.2.7")]


async def test_what_the_owner_loses_the_key_loses() -> None:
    desk = Desk()
    await desk.keys.admit(MINE.text, HERE)
    desk.held[KEY.id] = replace(KEY, owner_roles=("viewer",), owner_accounts=frozenset({"other"}))
    desk.keys.outdate()
    who = await desk.keys.admit(MINE.text, HERE)
    assert who.permissions == {"orders:read"}
    assert who.accounts == {"other"}
    desk.held[KEY.id] = replace(KEY, owner_active=False)
    desk.keys.outdate()
    assert await desk.refused() == (401, "revoked")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"revoked_at": NOW}, (401, "revoked")),
        ({"owner_active": False}, (401, "revoked")),
        ({"expires_at": NOW}, (401, "expired-key")),
        ({"hash": new_api_key().hash}, (401, "unknown-key")),
        ({"networks": networks_of(["198.51.100.0/24"], "x")}, (403, "key-network")),
    ],
)
async def test_a_key_that_is_not_good_is_refused_and_not_counted(
    change: dict[str, object], refusal: tuple[int, str]
) -> None:
    desk = Desk(held={KEY.id: replace(KEY, **change)})
    assert await desk.refused() == refusal
    assert (desk.counted, desk.used) == ([], [])


async def test_a_key_is_held_to_its_networks_whatever_the_address_looks_like() -> None:
    networks = networks_of(["192.0.2.0/24", "2001:db8::/32", "203.0.113.9"], "x")
    desk = Desk(held={KEY.id: replace(KEY, networks=networks)})
    for client in ("192.0.2.255", "::ffff:192.0.2.1", "2001:db8::1", "203.0.113.9"):
        await desk.keys.admit(MINE.text, parsed_address(client))
    for client in ("192.0.3.0", "2001:db9::1", "::ffff:203.0.113.8", "nonsense", ""):
        assert await desk.refused(client=client) == (403, "key-network")


async def test_a_key_above_its_rate_is_told_when_to_come_again() -> None:
    desk = Desk(wait=17)
    with pytest.raises(AccessError, match="60 requests a minute") as caught:
        await desk.keys.admit(MINE.text, HERE)
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "17"})
    assert desk.used == []


@pytest.mark.parametrize(
    "text",
    ["tw_", "tw_abc_def", MINE.text[:-1], MINE.text + "A", MINE.text.upper(),
     MINE.text.replace("_", "-", 1), "tw_ä" + MINE.text[4:], MINE.text + "\n"],
    ids=["nothing", "parts", "cut", "longer", "upper", "dashes", "umlaut", "line"],
)  # fmt: skip
async def test_what_is_not_written_like_a_key_never_reaches_the_store(text: str) -> None:
    desk = Desk()
    assert await desk.refused(text) == (401, "unknown-key")
    assert desk.reads == 0


async def test_invented_keys_make_one_look_a_second_at_most() -> None:
    desk = Desk()
    wrong = [desk.refused(new_api_key().text) for _ in range(50)]
    assert set(await asyncio.gather(*wrong)) == {(401, "unknown-key")}
    assert desk.reads == 1


async def test_a_new_key_is_found_by_the_next_look() -> None:
    desk = Desk(held={})
    await desk.refused(new_api_key().text)
    desk.held[KEY.id] = KEY
    assert (await desk.keys.admit(MINE.text, HERE)).key_id == KEY.id
    assert desk.reads == 2


async def test_the_last_facts_hold_while_the_database_is_away() -> None:
    desk = Desk(away=True)
    with pytest.raises(UnavailableError):
        await desk.keys.admit(MINE.text, HERE)
    desk.away = False
    desk.keys.outdate()
    await desk.keys.admit(MINE.text, HERE)
    desk.away = True
    desk.keys.outdate()
    desk.clock.advance(dt.timedelta(hours=1))
    who = await desk.keys.admit(MINE.text, HERE)
    # Older than any revocation that was heard meanwhile: the authenticator turns it away then.
    assert who.issued_at == NOW


def test_two_keys_share_nothing_and_show_no_secret() -> None:
    one, two = new_api_key(), new_api_key()
    assert one.id != two.id
    assert one.hash != two.hash
    given = parse_api_key(one.text)
    assert given is not None
    assert (given.id, given.hash) == (one.id, one.hash)
    secret = one.text.split("_", 2)[2]
    assert secret not in f"{one!r} {given!r}"


@pytest.mark.parametrize(
    ("these", "those", "both"),
    [("*", "*", "*"), ("*", "ab", "ab"), ("ab", "*", "ab"), ("ab", "bc", "b"), ("a", "b", "")],
)
def test_accounts_of_key_and_owner_meet(these: str, those: str, both: str) -> None:
    assert common_accounts(frozenset(these), frozenset(those)) == frozenset(both)


async def test_uses_are_told_once_and_lost_uses_are_no_failure() -> None:
    told: list[KeyUse] = []
    away = False

    async def tell(use: KeyUse) -> None:
        if away:
            raise UnavailableError("away")
        told.append(use)

    uses = KeyUses(tell)
    uses.note("k1", NOW, "192.0.2.7")
    uses.note("k1", NOW + dt.timedelta(seconds=5), "192.0.2.8")
    uses.note("k2", NOW, "")
    await uses.flush()
    await uses.flush()
    assert [(use.key_id, use.ip) for use in told] == [("k1", "192.0.2.8"), ("k2", "")]
    away = True
    uses.note("k1", NOW, "")
    await uses.flush()
    assert len(told) == 2


async def test_a_database_that_is_silent_keeps_no_key_waiting_for_long() -> None:
    desk = Desk()
    await desk.keys.admit(MINE.text, HERE)
    never = asyncio.Event()

    async def silent() -> Mapping[str, ApiKey]:
        await never.wait()
        return {}

    known = ApiKeys(_first(desk.read, silent), desk, desk.clock, lambda *_: None, wait_s=0.05)
    async with asyncio.timeout(30):
        assert (await known.admit(MINE.text, HERE)).key_id == KEY.id
        known.outdate()
        # What was read last holds; a revocation that was heard is the authenticator's to enforce.
        waiting = [known.admit(MINE.text, HERE) for _ in range(20)]
        assert {who.key_id for who in await asyncio.gather(*waiting)} == {KEY.id}
        fresh = ApiKeys(silent, desk, desk.clock, lambda *_: None, wait_s=0.05)
        with pytest.raises(UnavailableError, match="cannot be read yet"):
            await fresh.admit(MINE.text, HERE)


def _first(
    once: Callable[[], Awaitable[Mapping[str, ApiKey]]],
    then: Callable[[], Awaitable[Mapping[str, ApiKey]]],
) -> Callable[[], Awaitable[Mapping[str, ApiKey]]]:
    ways = iter((once,))
    return lambda: next(ways, then)()
