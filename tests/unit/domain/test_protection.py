"""Coverage of protected positions, counted by hand."""

from __future__ import annotations

import uuid
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.protection import (
    Coverage,
    Exit,
    Split,
    Standing,
    Wanted,
    covers,
    overfilled,
)
from libs.common.domain.vocabulary import Side

D = Decimal
P, Q = uuid.UUID(int=1), uuid.UUID(int=2)
GROUPS = [uuid.UUID(int=number) for number in range(10, 20)]


def wish(identity: uuid.UUID = P, quantity: int | None = None, side: Side = Side.SELL) -> Wanted:
    return Wanted(identity, side, None if quantity is None else Decimal(quantity))


def stop(
    quantity: int,
    owner: uuid.UUID | None = P,
    standing: Standing = Standing.ACTIVE,
    *,
    number: int = 0,
    side: Side = Side.SELL,
    ours: bool = True,
) -> Exit:
    return Exit(GROUPS[number], side, Decimal(quantity), standing, owner, ours)


def of(
    position: int, *exits: Exit, wanted: list[Wanted] | None = None
) -> dict[uuid.UUID, Coverage]:
    return covers(Decimal(position), wanted or [wish()], exits)


def test_all_of_a_position_is_needed_and_a_resting_stop_covers_it() -> None:
    assert of(10, stop(10))[P] == Coverage(Decimal(10), Decimal(10), False)
    assert of(10, stop(4))[P].missing == 6
    assert of(10)[P].missing == 10
    assert of(-10, stop(10, side=Side.BUY), wanted=[wish(side=Side.BUY)])[P].missing == 0


def test_nothing_is_needed_when_flat_or_on_the_other_side() -> None:
    assert of(0)[P].needed == of(-10)[P].needed == 0


def test_held_exits_cover_nothing_and_moving_ones_are_waited_for() -> None:
    assert of(10, stop(10, standing=Standing.IDLE))[P].missing == 10
    moving = of(10, stop(10, standing=Standing.MOVING))[P]
    assert (moving.missing, moving.moving) == (10, True)


def test_two_wishes_share_a_position_in_their_order() -> None:
    found = of(10, stop(6, P), wanted=[wish(P, 6), wish(Q)])
    assert (found[P].needed, found[Q].needed, found[Q].missing) == (6, 4, 4)


def test_exits_of_others_are_lent() -> None:
    found = of(10, stop(7, None, ours=False), wanted=[wish(P, 6), wish(Q)])
    assert (found[P].missing, found[Q].missing) == (0, 3)


def test_what_guards_too_much_and_is_ours_must_go() -> None:
    legs = stop(10, ours=False, number=1)
    assert of(10, stop(4, number=2), legs)[P].excess == (GROUPS[2],)
    assert of(10, legs)[P].excess == ()
    assert of(4, stop(10, number=2))[P].excess == (GROUPS[2],)


def test_both_exits_filled_is_too_much_by_one_of_them() -> None:
    ten, four = Decimal(10), Decimal(4)
    assert overfilled(ten, [ten, ten]) == 10
    assert overfilled(ten, [four, ten - four]) == 0
    assert overfilled(ten, [ten, four]) == 4


EXITS = st.lists(
    st.builds(
        Exit,
        st.sampled_from(GROUPS),
        st.sampled_from(Side),
        st.integers(1, 20).map(Decimal),
        st.sampled_from(Standing),
        st.sampled_from([P, Q, None]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: one.group,
)


@given(st.integers(-30, 30), EXITS, st.lists(st.none() | st.integers(1, 20), max_size=2))
def test_never_more_is_asked_for_than_is_there_and_what_is_missing_makes_it_whole(
    position: int, exits: list[Exit], quantities: list[int | None]
) -> None:
    side = Side.SELL if position > 0 else Side.BUY
    wanted = [
        wish(name, quantity, side) for name, quantity in zip((P, Q), quantities, strict=False)
    ]
    found = covers(Decimal(position), wanted, exits)
    assert sum(one.needed for one in found.values()) <= abs(position)
    ours = {one.group for one in exits if one.ours}
    for name, coverage in found.items():
        assert set(coverage.excess) <= ours
        if coverage.missing:
            added = Exit(uuid.uuid4(), side, coverage.missing, Standing.ACTIVE, name, True)
            again = covers(Decimal(position), wanted, [*exits, added])
            assert again[name].missing == 0
            assert not again[name].excess


def test_prices_after_a_split_mean_the_same_and_go_off_rather_sooner() -> None:
    two_for_one, one_for_three = Split(D(10), D(20)), Split(D(30), D(10))
    assert two_for_one.stop(D("90.01"), Side.SELL) == D("45.01")
    assert two_for_one.stop(D("90.01"), Side.BUY) == D("45.00")
    assert two_for_one.take_profit(D("110.01"), Side.SELL) == D("55.00")
    assert two_for_one.take_profit(D("110.01"), Side.BUY) == D("55.01")
    assert one_for_three.stop(D("90.01"), Side.SELL) == D("270.03")
    assert (two_for_one.shares(D(4)), one_for_three.shares(D(4))) == (8, D("1.33333333"))


def test_a_price_below_one_has_finer_ticks_and_never_becomes_nothing() -> None:
    ten_for_one = Split(D(1), D(10))
    assert ten_for_one.stop(D("3.33"), Side.SELL) == D("0.333")
    assert ten_for_one.stop(D("3.3333"), Side.SELL) == D("0.3334")
    assert ten_for_one.stop(D("0.0004"), Side.BUY) == D("0.0001")


def test_shares_that_were_rounded_do_not_move_a_price_by_a_tick() -> None:
    assert Split(D(10), D("3.33333333")).stop(D(90), Side.SELL) == D("270.00")
    assert Split(D(-10), D(-20)).stop(D(90), Side.BUY) == D("45.00")  # a short position
