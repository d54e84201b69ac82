"""Fields encrypted at rest: who can read them, and what is said to whom who cannot."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.secrets import SecretBox, UnreadableError, new_key
from libs.common.runtime.settings import ServiceSettings

FIRST, SECOND, THIRD = new_key(), new_key(), new_key()


@given(plain=st.binary(max_size=500), purpose=st.text(min_size=1, max_size=40))
def test_what_went_in_comes_out(plain: bytes, purpose: str) -> None:
    box = SecretBox([FIRST])
    assert box.decrypt(box.encrypt(plain, purpose), purpose) == plain


def test_the_same_value_is_never_encrypted_the_same_way_twice() -> None:
    box = SecretBox([FIRST])
    assert box.encrypt(b"x", "a") != box.encrypt(b"x", "a")


def test_a_value_cannot_be_moved_to_another_field() -> None:
    box = SecretBox([FIRST])
    token = box.encrypt(b"value", "stored_secrets:broker_key")
    with pytest.raises(UnreadableError, match="broker_secret"):
        box.decrypt(token, "stored_secrets:broker_secret")


@pytest.mark.parametrize("place", [0, 20, 60, -3])
def test_a_changed_token_is_refused(place: int) -> None:
    box = SecretBox([FIRST])
    raw = bytearray(base64.urlsafe_b64decode(box.encrypt(b"value", "a")))
    raw[place] ^= 1
    with pytest.raises(UnreadableError):
        box.decrypt(base64.urlsafe_b64encode(bytes(raw)).decode(), "a")


@pytest.mark.parametrize("token", ["", "x", "gAAAA", "ä", "not base64 at all!"])
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(UnreadableError):
        SecretBox([FIRST]).decrypt(token, "a")


def test_old_keys_still_read_and_the_first_writes() -> None:
    old = SecretBox([FIRST]).encrypt(b"value", "a")
    both = SecretBox([SECOND, FIRST])
    assert both.decrypt(old, "a") == b"value"
    new = both.rotate(old, "a")
    assert new is not None
    assert SecretBox([SECOND]).decrypt(new, "a") == b"value"
    assert both.rotate(new, "a") is None


def test_a_value_of_a_key_that_was_dropped_is_named_by_its_field_only() -> None:
    token = SecretBox([FIRST]).encrypt(b"value", "users.totp")
    for act in (SecretBox([SECOND, THIRD]).decrypt, SecretBox([SECOND, THIRD]).rotate):
        with pytest.raises(UnreadableError, match=r"users\.totp: .*any of the 2 keys") as caught:
            act(token, "users.totp")
        assert token[:12] not in str(caught.value)


def test_no_key_is_refused_with_how_to_get_one() -> None:
    for keys in ("", " , "):
        with pytest.raises(InvalidInputError, match=r"_FILE.*new-key"):
            SecretBox.of(ServiceSettings(encryption_keys=SecretStr(keys)))


@pytest.mark.parametrize(
    "bad",
    ["short", "é" * 44, FIRST[:-2], FIRST + "A", FIRST[:20] + " " + FIRST[20:], " "],
    ids=["short", "letters", "cut", "longer", "parted", "blank"],
)
def test_a_malformed_key_is_named_by_its_place_and_not_shown(bad: str) -> None:
    with pytest.raises(InvalidInputError, match="key 2 is not 32 bytes") as caught:
        SecretBox([FIRST, bad])
    assert bad.strip() == "" or bad not in str(caught.value)


def test_keys_come_from_a_file_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{SECOND}, {FIRST}\n")
    monkeypatch.setenv("TRADEWIND_ENCRYPTION_KEYS_FILE", str(file))
    box = SecretBox.of(ServiceSettings())
    assert SecretBox([SECOND]).decrypt(box.encrypt(b"value", "a"), "a") == b"value"
    assert box.decrypt(SecretBox([FIRST]).encrypt(b"old", "a"), "a") == b"old"


def test_neither_box_nor_settings_show_a_key() -> None:
    settings = ServiceSettings(encryption_keys=SecretStr(FIRST))
    shown = f"{SecretBox.of(settings)!r} {settings!r} {settings.model_dump_json()}"
    assert FIRST not in shown
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(SecretBox.of(settings))
