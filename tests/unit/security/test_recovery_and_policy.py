"""Recovery codes and the rules for passwords."""

from __future__ import annotations

import pytest

from libs.common.kernel.errors import InvalidInputError
from services.security import recovery
from services.security.policy import check_password, fresh_password, normal


def test_each_recovery_code_is_good_once() -> None:
    codes = recovery.fresh_codes()
    assert len(set(codes)) == 10
    hashes = tuple(map(recovery.hash_of, codes))
    assert not any(code in "".join(hashes) for code in codes)
    left = recovery.without(hashes, codes[3])
    assert left == hashes[:3] + hashes[4:]
    assert recovery.without(left, codes[3]) is None
    assert recovery.without(hashes, "aaaa-aaaa-aaaa-aaaa") is None
    assert recovery.without((), codes[0]) is None


def test_how_a_recovery_code_is_typed_makes_no_difference() -> None:
    (code, *_) = recovery.fresh_codes()
    typed = code.upper().replace("-", " ")
    assert recovery.hash_of(f" {typed}\t") == recovery.hash_of(code)


@pytest.mark.parametrize(
    ("password", "complaint"),
    [
        ("short", "12 to 128"),
        ("x" * 129, "12 to 128"),
        ("abababababababab", "5 different"),
        ("I am Anna, let me in", "user's name"),
    ],
)
def test_a_weak_password_is_refused_and_not_repeated(password: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint) as caught:
        check_password(password, "anna", 12)
    assert password not in str(caught.value)


def test_random_passwords_satisfy_the_rules() -> None:
    made = {fresh_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        check_password(password, "admin", 12)


def test_two_spellings_of_one_text_are_one_password() -> None:
    assert normal("caf\u0065\u0301 au lait") == normal("caf\u00e9 au lait")
