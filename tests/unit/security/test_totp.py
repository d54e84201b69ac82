"""One-time passwords against the examples of RFC 6238, and against being used twice."""

from __future__ import annotations

import base64
import datetime as dt

import pytest

from services.security import totp

# RFC 6238, appendix B: the ASCII secret 12345678901234567890, SHA-1; the last six of eight digits.
SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


def at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.accepted_step(SECRET, code, at(seconds), None) == seconds // 30


def test_one_step_to_either_side_is_accepted_and_no_more() -> None:
    for offset, good in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        found = totp.accepted_step(SECRET, "005924", at(1234567890 + offset), None)
        assert (found is not None) is good, offset


def test_a_used_step_and_those_before_it_are_never_accepted_again() -> None:
    now = at(1234567890)
    step = totp.accepted_step(SECRET, "005924", now, None)
    assert step is not None
    assert totp.accepted_step(SECRET, "005924", now, step) is None
    assert totp.accepted_step(SECRET, "005924", now, step + 1) is None
    assert totp.accepted_step(SECRET, "005924", now, step - 1) == step


def test_what_is_no_code_is_not_taken_for_one() -> None:
    assert totp.looks_like_code("005924")
    for text in ("00592", "0059244", "00592a", "٠٠٥٩٢٤", "005924\n", ""):
        assert not totp.looks_like_code(text)


def test_the_enrolment_address_names_user_and_issuer_and_can_be_drawn() -> None:
    uri = totp.enrolment_uri(SECRET, "anna", "Tradewind")
    assert uri.startswith("otpauth://totp/Tradewind:anna?secret=")
    assert "issuer=Tradewind" in uri
    assert totp.qr_svg(uri).startswith(b"<?xml")
    assert totp.qr_png(uri).startswith(b"\x89PNG")
    assert len({totp.fresh_secret() for _ in range(8)}) == 8
