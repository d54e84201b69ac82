"""Four eyes over any history of wishes, approvals, rejections and waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import ConflictError, NotFoundError, TradewindError
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.clocks import Uuid7Ids
from libs.common.runtime.four_eyes import (
    WAITING_MAX,
    Decision,
    Demand,
    FourEyes,
    Proposal,
    Wish,
)
from tests.support.people import Person

START = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
STORY = uuid.uuid4()
ADA, BOB, EVE = (Person(name, ("risk",)) for name in ("ada", "bob", "eve"))
WISH = Wish("raise", {"from": 1, "to": 2}, "limit from 1 to 2", "more room")


class Shelf:
    """Proposals in memory; `people` could agree."""

    def __init__(self, people: int = 2) -> None:
        self.people = people
        self.kept: dict[uuid.UUID, Proposal] = {}

    async def waiting(self, now: dt.datetime) -> Sequence[Proposal]:
        return [one for one in self.kept.values() if one.state(now) == "waiting"]

    async def page(self, *, limit: int, after: uuid.UUID | None) -> Sequence[Proposal]:
        return list(self.kept.values())[:limit]

    async def get(self, proposal_id: uuid.UUID) -> Proposal | None:
        return self.kept.get(proposal_id)

    async def add(self, proposal: Proposal, correlation_id: uuid.UUID) -> None:
        self.kept[proposal.id] = proposal

    async def decide(
        self, proposal_id: uuid.UUID, decision: Decision, who: Principal, now: dt.datetime,
        correlation_id: uuid.UUID,
    ) -> Proposal | None:  # fmt: skip
        known = self.kept[proposal_id]
        if known.state(now) != "waiting":
            return None
        self.kept[proposal_id] = dataclasses.replace(
            known, decision=decision, decided_by=who.actor, decider_id=who.subject, decided_at=now
        )
        return self.kept[proposal_id]

    async def conclude(
        self, proposal: Proposal, outcome: str, correlation_id: uuid.UUID
    ) -> Proposal:
        self.kept[proposal.id] = dataclasses.replace(proposal, outcome=outcome)
        return self.kept[proposal.id]

    async def approvers(self, permission: str) -> int:
        assert permission == "risk:approve"
        return self.people


class House:
    """Four eyes over a number that starts at 1, with a clock that the test moves."""

    def __init__(self, demand: Demand = Demand.AUTO, people: int = 2) -> None:
        self.clock = ManualClock(START)
        self.shelf = Shelf(people)
        self.value = 1
        self.done: list[Proposal] = []
        self.eyes = FourEyes(
            self.shelf, service="risk_manager", account_id="main", area="risk", demand=demand,
            lasting=dt.timedelta(minutes=15), clock=self.clock, ids=Uuid7Ids(),
        )  # fmt: skip
        self.eyes.carries_out("raise", self._raise)

    async def _raise(self, proposal: Proposal, story: uuid.UUID) -> None:
        if self.value != proposal.body["from"]:
            raise ConflictError("it was changed since")
        self.value = proposal.body["to"]
        self.done.append(proposal)

    def who(self, person: Person, *, stepped_up: bool = False) -> Principal:
        return person.principal(self.clock.now(), stepped_up=stepped_up)

    async def propose(self, person: Person = ADA, wish: Wish = WISH) -> Proposal:
        proposal = await self.eyes.wish(wish, self.who(person), STORY)
        assert proposal is not None
        return proposal


async def refused(work: Coroutine[Any, Any, object], code: str) -> None:
    with pytest.raises(AccessError) as caught:
        await work
    assert (caught.value.status, caught.value.code) == (403, code)


async def test_second_person_makes_it_happen_and_both_are_named() -> None:
    house = House()
    proposal = await house.propose()
    assert house.value == 1
    done = await house.eyes.approve(proposal.id, house.who(BOB), STORY)
    assert (house.value, done.outcome) == (2, "done")
    assert house.done[0].actors == "user:ada, approved by user:bob"


async def test_nobody_agrees_to_a_wish_of_their_own_in_whatever_guise() -> None:
    house = House()
    proposal = await house.propose()
    session, now = house.who(ADA), house.clock.now()
    key = dataclasses.replace(session, kind=Kind.KEY, key_id="k1", session_id=None)
    for guise in (session, house.who(ADA, stepped_up=True), key):
        await refused(house.eyes.approve(proposal.id, guise, STORY), "same-person")
    operator = dataclasses.replace(session, kind=Kind.SERVICE, subject="service:operator")
    await refused(house.eyes.approve(proposal.id, operator, STORY), "not-a-person")
    # Nor does a key of somebody else agree: it may lie in a file that the proposer can read.
    another = dataclasses.replace(house.who(BOB), kind=Kind.KEY, key_id="k2", session_id=None)
    await refused(house.eyes.approve(proposal.id, another, STORY), "not-a-person")
    assert house.value == 1
    assert proposal.state(now) == "waiting"


@pytest.mark.parametrize(
    ("demand", "people", "kind", "code"),
    [
        (Demand.AUTO, 2, Kind.SERVICE, "not-a-person"),
        (Demand.ALWAYS, 0, Kind.SERVICE, "not-a-person"),
        (Demand.AUTO, 1, Kind.SERVICE, None), (Demand.OFF, 9, Kind.SERVICE, None),
        (Demand.AUTO, 2, Kind.KEY, None),
    ],
)  # fmt: skip
async def test_the_key_file_is_neither_of_two_people(
    demand: Demand, people: int, kind: Kind, code: str | None
) -> None:
    """Who holds a login too would ask as one and agree as the other."""
    house = House(demand, people)
    somebody = dataclasses.replace(
        house.who(ADA), kind=kind, session_id=None, may_step_up=True,
        subject="service:operator" if kind is Kind.SERVICE else str(ADA.id),
    )  # fmt: skip
    if code is None:
        proposal = await house.eyes.wish(WISH, somebody, STORY)
        assert (proposal is not None) == (kind is Kind.KEY)
    else:
        await refused(house.eyes.wish(WISH, somebody, STORY), code)
        assert house.shelf.kept == {}


@pytest.mark.parametrize(
    ("demand", "people", "demanded"),
    [
        (Demand.AUTO, 0, False), (Demand.AUTO, 1, False), (Demand.AUTO, 2, True),
        (Demand.ALWAYS, 0, True), (Demand.OFF, 9, False),
    ],
)  # fmt: skip
async def test_when_a_second_person_is_demanded(
    demand: Demand, people: int, demanded: bool
) -> None:
    house = House(demand, people)
    if demanded:
        assert await house.eyes.wish(WISH, house.who(ADA, stepped_up=True), STORY) is not None
    else:
        await refused(house.eyes.wish(WISH, house.who(ADA), STORY), "step-up-required")
        assert await house.eyes.wish(WISH, house.who(ADA, stepped_up=True), STORY) is None
    assert house.value == 1


async def test_step_up_of_long_ago_is_not_enough() -> None:
    house = House(Demand.OFF)
    who = house.who(ADA, stepped_up=True)
    house.clock.advance(dt.timedelta(minutes=6))
    await refused(house.eyes.wish(WISH, who, STORY), "step-up-required")


async def test_what_has_changed_since_is_not_carried_out() -> None:
    house = House()
    proposal = await house.propose()
    house.value = 7
    with pytest.raises(ConflictError, match="changed since"):
        await house.eyes.approve(proposal.id, house.who(BOB), STORY)
    assert house.value == 7
    assert house.shelf.kept[proposal.id].outcome == "not done: it was changed since"


async def test_an_expired_a_rejected_and_a_done_one_are_not_approved() -> None:
    house = House()
    rejected = await house.propose()
    await house.eyes.reject(rejected.id, house.who(ADA), STORY)
    expired = await house.propose()
    house.clock.advance(dt.timedelta(minutes=15))
    done = await house.propose()
    await house.eyes.approve(done.id, house.who(BOB), STORY)
    for one, word in ((rejected, "rejected"), (expired, "expired"), (done, "approved")):
        with pytest.raises(ConflictError, match=word):
            await house.eyes.approve(one.id, house.who(EVE), STORY)
    with pytest.raises(NotFoundError):
        await house.eyes.approve(uuid.uuid4(), house.who(EVE), STORY)
    assert len(house.done) == 1


async def test_the_same_wish_again_is_the_proposal_that_waits() -> None:
    house = House()
    first, again, other = [await house.propose(who) for who in (ADA, ADA, BOB)]
    assert first.id == again.id != other.id


async def test_no_more_than_so_many_wait() -> None:
    house = House()
    for number in range(WAITING_MAX):
        await house.propose(wish=dataclasses.replace(WISH, reason=f"reason {number}"))
    with pytest.raises(ConflictError, match="decide on some first"):
        await house.propose()


Step = Callable[[House], Coroutine[Any, Any, object]]
people = st.sampled_from([ADA, BOB, EVE])
steps = st.one_of(
    st.tuples(st.just("propose"), people, st.integers(1, 3)),
    st.tuples(st.just("approve"), people, st.integers(0, 5)),
    st.tuples(st.just("reject"), people, st.integers(0, 5)),
    st.tuples(st.just("wait"), people, st.integers(1, 20)),
)


@given(st.lists(steps, max_size=25))
def test_nothing_is_ever_done_without_two_people_nor_twice(
    history: list[tuple[str, Person, int]],
) -> None:
    async def play() -> None:
        house, made = House(), []
        for act, person, number in history:
            try:
                if act == "propose":
                    wish = dataclasses.replace(WISH, body={"from": house.value, "to": number})
                    made.append((await house.propose(person, wish)).id)
                elif act == "wait":
                    house.clock.advance(dt.timedelta(minutes=number))
                elif made:
                    decide = house.eyes.approve if act == "approve" else house.eyes.reject
                    await decide(made[number % len(made)], house.who(person), STORY)
            except TradewindError:
                continue
        for proposal in house.done:
            assert proposal.decider_id not in (None, proposal.proposer_id)
            assert proposal.decided_at is not None
            assert proposal.decided_at < proposal.expires_at
        assert len({one.id for one in house.done}) == len(house.done)
        value = 1
        for proposal in house.done:
            assert proposal.body["from"] == value
            value = proposal.body["to"]
        assert value == house.value

    asyncio.run(play())
