"""Opinions fused: each rule by hand, and what holds for all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.quant.fusion import (
    Conflict,
    Opinion,
    banded,
    decay_of,
    fuse,
    quality_of,
)


def opinion(
    target: float,
    weight: float = 1.0,
    confidence: float = 1.0,
    quality: float = 1.0,
    decay: float = 1.0,
) -> Opinion:
    return Opinion(target, weight, confidence, quality, decay)


def target(opinions: list[Opinion], conflict: Conflict) -> float:
    fused = fuse(opinions, conflict)
    assert fused is not None
    return fused.target


UNIT = st.floats(0.01, 1.0)
OPINIONS = st.lists(
    st.builds(Opinion, st.floats(-1.0, 1.0), st.floats(0.01, 100.0), UNIT, UNIT, UNIT),
    min_size=1,
    max_size=6,
)


def test_net_is_the_mean_by_weight_confidence_quality_and_decay() -> None:
    # Strengths: 2 * 0.5 * 0.8 * 0.5 = 0.4 and 1 * 1 * 0.4 * 1 = 0.4.
    first = opinion(1.0, weight=2.0, confidence=0.5, quality=0.8, decay=0.5)
    second = opinion(-0.5, quality=0.4)
    fused = fuse([first, second], Conflict.NET)
    assert fused is not None
    assert fused.target == pytest.approx(0.25)
    # (0.4 + 0.4) / (2 * 0.8 * 0.5 + 0.4) = 0.8 / 1.2
    assert fused.confidence == pytest.approx(2 / 3)
    assert fused.leader == 0


def test_agree_is_flat_unless_all_are_on_one_side() -> None:
    assert target([opinion(1.0, 3.0), opinion(0.2)], Conflict.AGREE) == pytest.approx(0.8)
    assert target([opinion(-1.0), opinion(-0.5)], Conflict.AGREE) == pytest.approx(-0.75)
    assert target([opinion(1.0, 3.0), opinion(-0.2)], Conflict.AGREE) == 0.0
    assert target([opinion(1.0, 3.0), opinion(0.0)], Conflict.AGREE) == 0.0


def test_strongest_takes_the_target_that_pulls_most() -> None:
    # Pulls: 2 * 0.4 = 0.8, 1 * 1 = 1.
    assert target([opinion(0.4, 2.0), opinion(-1.0)], Conflict.STRONGEST) == -1.0
    assert target([opinion(1.0), opinion(-1.0)], Conflict.STRONGEST) == 1.0
    assert target([opinion(0.0, 9.0), opinion(-0.1)], Conflict.STRONGEST) == -0.1


def test_who_leads_pulls_to_the_side_of_the_target() -> None:
    # Net: (1 - 2 * 0.8 + 0.9) / 4 = 0.075: long, though the short one pulls most.
    fused = fuse([opinion(1.0), opinion(-0.8, 2.0), opinion(0.9)], Conflict.NET)
    assert fused is not None
    assert fused.leader == 0
    flat = fuse([opinion(1.0), opinion(-1.0)], Conflict.NET)
    assert flat is not None
    assert (flat.target, flat.leader) == (0.0, None)


def test_no_opinion_or_none_of_any_strength_is_no_target() -> None:
    assert fuse([], Conflict.NET) is None
    assert fuse([opinion(1.0, confidence=0.0)], Conflict.NET) is None


def test_an_opinion_is_worth_half_after_a_half_life() -> None:
    assert decay_of(0, 60) == 1.0
    assert decay_of(60, 60) == 0.5
    assert decay_of(30, 60) == pytest.approx(math.sqrt(0.5))
    assert decay_of(10_000, 0) == 1.0


def test_quality_is_the_share_of_what_was_gained() -> None:
    assert quality_of(0.06, 0.02, 10, 10) == pytest.approx(0.75)
    assert quality_of(0.0, 0.5, 10, 10) == 0.1
    assert quality_of(0.06, 0.02, 9, 10) == 0.5
    assert quality_of(0.0, 0.0, 10, 10) == 0.5


def test_a_small_change_on_the_same_side_is_held_back() -> None:
    assert banded(0.55, 0.5, 0.1) == 0.5
    assert banded(0.61, 0.5, 0.1) == 0.61
    assert banded(-0.02, 0.02, 0.1) == -0.02
    assert banded(0.0, 0.02, 0.1) == 0.0
    assert banded(0.02, 0.0, 0.1) == 0.02
    assert banded(0.02, math.nan, 0.1) == 0.02


@given(OPINIONS, st.sampled_from(Conflict))
def test_fused_target_lies_within_its_members_hull(
    opinions: list[Opinion], conflict: Conflict
) -> None:
    fused = fuse(opinions, conflict)
    assert fused is not None
    targets = [o.target for o in opinions]
    low, high = min(targets), max(targets)
    assert low <= fused.target <= high or (conflict is Conflict.AGREE and fused.target == 0.0)
    assert 0.0 < fused.confidence <= 1.0


@given(OPINIONS, st.floats(0.1, 10.0))
def test_scaling_all_weights_changes_nothing(opinions: list[Opinion], scale: float) -> None:
    scaled = [
        Opinion(o.target, o.weight * scale, o.confidence, o.quality, o.decay) for o in opinions
    ]
    assert target(scaled, Conflict.NET) == pytest.approx(target(opinions, Conflict.NET), abs=1e-9)
