"""The hash chain: computed independently of the code, and broken by any change."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.logic import (
    GENESIS,
    Entry,
    Head,
    Row,
    Verification,
    canonical,
    canonical_bytes,
    canonical_details,
    claim_of,
    find_break,
    link,
    verify,
)

NOW = dt.datetime(2026, 11, 20, 15, 30, 0, 123456, tzinfo=dt.UTC)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
times = st.integers(631_152_000_000_000, 4_102_444_800_000_000).map(
    lambda us: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
)
entries = st.builds(
    Entry,
    message_id=st.uuids(),
    ts=times,
    event_type=texts,
    actor=texts,
    action=texts,
    resource=texts,
    outcome=texts,
    channel=texts,
    correlation_id=st.uuids(),
    details=st.dictionaries(texts, st.one_of(texts, st.integers(-9, 9)), max_size=3).map(
        canonical_details
    ),
    recorded_at=times,
    causation_id=st.none() | st.uuids(),
    ip=st.none() | texts,
    user_agent=st.none() | texts,
)


def entry(number: int = 1, **changes: Any) -> Entry:
    made = Entry(
        message_id=uuid.UUID(int=number),
        ts=NOW,
        event_type="Trade",
        actor="trade_executor",
        action="execute",
        resource=f"trade:{number}",
        outcome="booked",
        channel="log:trades.executed",
        correlation_id=uuid.UUID(int=7),
        details='{"n":' + str(number) + "}",
        recorded_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def independent_hash(row: Row) -> str:
    """The rule of the docstring, with nothing but json and hashlib."""
    fields = {name: getattr(row, name) for name in Row.__struct_fields__ if name != "hash"}
    for name in ("message_id", "correlation_id", "causation_id"):
        fields[name] = None if fields[name] is None else str(fields[name])
    for name in ("ts", "recorded_at"):
        fields[name] = fields[name].isoformat().replace("+00:00", "Z")
    fields["details"] = "@"
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(
        text.replace('"details":"@"', f'"details":{row.details}').encode()
    ).hexdigest()


def verified(rows: list[Row]) -> Verification:
    return verify(map(claim_of, rows), Head())


def chain(*linked: Entry) -> list[Row]:
    return list(link(Head(), linked))


@given(st.lists(entries, min_size=1, max_size=5))
def test_hash_is_what_json_and_sha256_alone_give(linked: list[Entry]) -> None:
    for row in chain(*linked):
        assert row.hash == independent_hash(row)


def test_first_row_follows_the_genesis_hash() -> None:
    row = chain(entry())[0]
    assert (row.seq, row.prev_hash) == (1, "0" * 64)


def test_canonical_bytes_are_these() -> None:
    assert canonical_bytes(canonical(entry(1), 1, GENESIS)) == (
        b'{"action":"execute","actor":"trade_executor","causation_id":null,'
        b'"channel":"log:trades.executed",'
        b'"correlation_id":"00000000-0000-0000-0000-000000000007","details":{"n":1},'
        b'"event_type":"Trade","ip":null,"message_id":"00000000-0000-0000-0000-000000000001",'
        b'"outcome":"booked","prev_hash":"' + b"0" * 64 + b'",'
        b'"recorded_at":"2026-11-20T15:30:00.123456Z","resource":"trade:1","seq":1,'
        b'"ts":"2026-11-20T15:30:00.123456Z","user_agent":null}'
    )


@given(st.lists(entries, max_size=6))
def test_untouched_chain_is_valid(linked: list[Entry]) -> None:
    rows = chain(*linked)
    result = verified(rows)
    assert result.valid
    assert result.rows == len(rows)


TAMPERED_FIELDS = [name for name in Row.__struct_fields__ if name not in ("seq",)]


@given(st.lists(entries, min_size=1, max_size=6), st.sampled_from(TAMPERED_FIELDS), st.data())
def test_any_changed_field_is_found_at_its_row(
    linked: list[Entry], name: str, data: st.DataObject
) -> None:
    rows = chain(*linked)
    place = data.draw(st.integers(0, len(rows) - 1))
    old = getattr(rows[place], name)
    new: Any
    match old:
        case dt.datetime():
            new = data.draw(times)
        case uuid.UUID():
            new = data.draw(st.uuids())
        case _ if name == "causation_id":
            new = data.draw(st.uuids())
        case _:
            new = (old or "") + "!" if name != "details" else '{"other":1}'
    if new == old:
        return
    rows[place] = msgspec.structs.replace(rows[place], **{name: new})
    result = verified(rows)
    assert result.broken is not None
    assert result.broken.seq == place + 1
    assert result.rows == place


@given(st.lists(entries, min_size=2, max_size=6), st.data())
def test_removed_row_is_a_gap_at_its_successor(linked: list[Entry], data: st.DataObject) -> None:
    rows = chain(*linked)
    gone = data.draw(st.integers(0, len(rows) - 2))
    del rows[gone]
    broken = verified(rows).broken
    assert broken is not None
    assert (broken.code, broken.seq) == ("SEQ_GAP", gone + 2)


def test_a_rewritten_row_with_a_fresh_hash_breaks_the_next() -> None:
    rows = chain(entry(1), entry(2), entry(3))
    forged = next(link(Head(1, rows[0].hash), [entry(2, outcome="never")]))
    broken = verified([rows[0], forged, rows[2]]).broken
    assert broken is not None
    assert (broken.code, broken.seq) == ("PREV_HASH_MISMATCH", 3)


def test_verification_may_start_at_a_known_head() -> None:
    rows = chain(entry(1), entry(2), entry(3))
    assert verify(map(claim_of, rows[1:]), Head(1, rows[0].hash)).valid
    assert find_break(claim_of(rows[2]), Head(1, rows[0].hash)) is not None


def test_details_are_sorted_at_every_depth() -> None:
    assert (
        canonical_details({"b": {"z": 1, "a": "é"}, "a": [1.5]})
        == '{"a":[1.5],"b":{"a":"é","z":1}}'
    )


def test_times_of_any_zone_object_of_utc_hash_alike() -> None:
    from zoneinfo import ZoneInfo

    other = entry(
        1, ts=NOW.astimezone(ZoneInfo("UTC")), recorded_at=NOW.astimezone(ZoneInfo("UTC"))
    )
    assert chain(other)[0].hash == chain(entry(1))[0].hash


@pytest.mark.parametrize("ts", [NOW.replace(microsecond=0), NOW.replace(microsecond=120000)])
def test_round_fractions_hash_like_isoformat(ts: dt.datetime) -> None:
    row = chain(entry(1, ts=ts))[0]
    assert row.hash == independent_hash(row)
