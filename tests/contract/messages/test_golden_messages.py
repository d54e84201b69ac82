"""What is on the wire today must be readable tomorrow: the golden JSON of every message.

A deliberate change is made by `python -m tests.contract.messages.test_golden_messages`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from libs.common.contracts.channels import CHANNELS, Kind, channel_of
from libs.common.contracts.envelope import Reader, encode, seal
from libs.common.contracts.messages import Payload
from libs.common.kernel.errors import ContractError
from tests.contract.messages.examples import EXAMPLES, uid

GOLDEN = Path(__file__).parent / "golden"


def wire(payload: Payload) -> bytes:
    return encode(
        seal(
            payload,
            message_id=uid(100),
            ts_ns=1552665600123456789,
            source="test",
            correlation_id=uid(101),
            causation_id=uid(102),
        )
    )


def path_of(payload: Payload) -> Path:
    return GOLDEN / f"{type(payload).__name__}.json"


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda p: type(p).__name__)
def test_message_is_written_as_it_always_was(payload: Payload) -> None:
    assert json.loads(wire(payload)) == json.loads(path_of(payload).read_text())


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda p: type(p).__name__)
def test_golden_message_is_read_back_whole(payload: Payload) -> None:
    envelope = Reader(type(payload)).read(path_of(payload).read_bytes())
    assert envelope.payload == payload


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda p: type(p).__name__)
def test_an_added_field_is_ignored(payload: Payload) -> None:
    message = json.loads(path_of(payload).read_text())
    message["payload"]["added_later"] = 1
    message["added_later"] = {"x": 1}
    assert Reader(type(payload)).read(json.dumps(message)).payload == payload


def test_every_channel_has_a_golden_example() -> None:
    shown = {type(payload) for payload in EXAMPLES}
    assert {channel.payload for channel in CHANNELS} <= shown


def test_every_example_sets_every_optional_field_of_its_kind() -> None:
    # A default that is never written is a default that nobody checks.
    for payload in EXAMPLES:
        for field in msgspec.structs.fields(payload):
            value = getattr(payload, field.name)
            if type(None) in get_args(field.type) and value is None:
                assert field.name in {"code", "request_id"}, (
                    f"{type(payload).__name__}.{field.name}"
                )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, "version 2 is unknown"),
        ({"type": "Signal"}, "expected Command"),
        ({"payload": {"command": 7}}, "Command"),
        ({"id": "not-a-uuid"}, "Command"),
    ],
)
def test_a_broken_message_is_refused_with_its_name(
    change: dict[str, object], complaint: str
) -> None:
    command = EXAMPLES[-1]
    message = json.loads(path_of(command).read_text()) | change
    with pytest.raises(ContractError, match=complaint):
        Reader(type(command)).read(json.dumps(message))


def test_channel_names_are_unambiguous() -> None:
    for channel in CHANNELS:
        name = channel.name("a.b:c" if channel.key else "")
        assert channel_of(name) == (channel, "a.b:c" if channel.key else "")
    with pytest.raises(ContractError):
        channel_of("nowhere.AAPL")


def test_each_log_channel_has_its_own_stream() -> None:
    streams = [channel.stream for channel in CHANNELS if channel.kind is Kind.LOG]
    assert len(set(streams)) == len(streams)


if __name__ == "__main__":
    for example in EXAMPLES:
        path_of(example).write_text(json.dumps(json.loads(wire(example)), indent=2) + "\n")
