"""Parameters: ranges, kinds, near matches."""

from __future__ import annotations

import math

import pytest

from libs.common.strategy import integer, number
from libs.common.strategy.errors import DefinitionError, InvalidParamsError
from libs.common.strategy.parameters import Schema
from strategies.sma_cross import SmaCross

SCHEMA = Schema(
    "example", {"fast": integer(10, low=2, high=200), "level": number(0.5, low=0.0, high=1.0)}
)


def test_defaults_fill_what_is_not_given() -> None:
    assert SCHEMA.parse({"fast": 20}) == {"fast": 20, "level": 0.5}


def test_whole_number_is_good_for_a_real_one() -> None:
    assert SCHEMA.parse({"level": 1}) == {"fast": 10, "level": 1.0}


def test_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(InvalidParamsError, match=r"fats: unknown parameter; did you mean fast\?"):
        SCHEMA.parse({"fats": 20})


def test_unknown_name_far_from_all_lists_the_known() -> None:
    with pytest.raises(InvalidParamsError, match="known are: fast, level"):
        SCHEMA.parse({"zzzzzz": 20})


@pytest.mark.parametrize("value", [1, 201, 2.5, "10", None, True, math.nan, math.inf])
def test_bad_whole_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidParamsError, match="fast: "):
        SCHEMA.parse({"fast": value})


@pytest.mark.parametrize("value", [-0.1, 1.1, "x", math.nan, math.inf, False])
def test_bad_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidParamsError, match="level: "):
        SCHEMA.parse({"level": value})


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(InvalidParamsError) as caught:
        SCHEMA.parse({"fast": 0, "level": 7, "other": 1})
    assert len(caught.value.problems) == 3


def test_default_outside_its_range_is_a_broken_definition() -> None:
    with pytest.raises(DefinitionError, match="default 1 is not between low 2 and high 3"):
        integer(1, low=2, high=3)


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidParamsError, match=r"fast \(50\) must be less than slow \(30\)"):
        SmaCross.definition.parse({"fast": 50})
