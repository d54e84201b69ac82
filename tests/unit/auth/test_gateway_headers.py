"""What is said of a client's address is believed of the gateway alone, by network or by name."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive, Scope, Send

from libs.common.runtime.forwarded import GatewayHeaders, addresses_of

CLIENT = "203.0.113.9"


class Names:
    """A name service of one name, whose answers are counted."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.asked = 0

    async def resolve(self, name: str) -> Sequence[str]:
        assert name == "gateway"
        self.asked += 1
        if not self.addresses:
            raise OSError("Name or service not known")
        return self.addresses


class Door:
    """An application behind the headers' reading, that keeps from where it was called."""

    def __init__(self, names: Names, *trusted: str, again_s: float = 0.0) -> None:
        self.seen: list[tuple[str, str]] = []
        self._app = GatewayHeaders(
            self._serve, trusted or ("gateway",), resolve=names.resolve, again_s=again_s
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((scope["client"][0], scope["scheme"]))

    async def knock(self, peer: str, told: str | None = CLIENT, kind: str = "http") -> str:
        """Return what the application takes for the client's address."""
        headers = [(b"host", b"desk")]
        if told is not None:
            headers += [(b"x-forwarded-for", told.encode()), (b"x-forwarded-proto", b"https")]
        scheme = "ws" if kind == "websocket" else "http"
        scope = {"type": kind, "client": (peer, 4711), "scheme": scheme, "headers": headers}
        await self._app(scope, _nothing, _nowhere)
        return self.seen[-1][0]


async def _nothing() -> Message:
    raise AssertionError("nobody reads here")


async def _nowhere(message: Message) -> None:
    raise AssertionError("nobody answers here")


async def test_a_named_gateway_is_believed_and_nobody_else() -> None:
    door = Door(Names("172.20.0.5"))
    assert await door.knock("172.20.0.5") == CLIENT
    assert door.seen[-1] == (CLIENT, "https")
    assert await door.knock("172.20.0.6") == "172.20.0.6"
    assert door.seen[-1] == ("172.20.0.6", "http")
    assert await door.knock("172.20.0.5", kind="websocket") == CLIENT
    assert door.seen[-1] == (CLIENT, "wss")


async def test_a_gateway_that_comes_back_elsewhere_is_believed_there_and_not_where_it_was() -> None:
    names = Names("172.20.0.5")
    door = Door(names)
    assert await door.knock("172.20.0.5") == CLIENT
    names.addresses = ["172.20.0.9"]
    assert await door.knock("172.20.0.9") == CLIENT
    assert await door.knock("172.20.0.5") == "172.20.0.5"


async def test_a_name_that_nobody_knows_is_nobody() -> None:
    names = Names()
    door = Door(names)
    assert await door.knock("172.20.0.5") == "172.20.0.5"
    names.addresses = ["172.20.0.5"]
    assert await door.knock("172.20.0.5") == CLIENT


async def test_names_are_looked_up_for_strangers_who_speak_for_others_and_not_often() -> None:
    names = Names("172.20.0.5")
    door = Door(names, again_s=3600.0)
    await door.knock("172.20.0.6", told=None)
    assert names.asked == 0
    for peer in ("172.20.0.5", "172.20.0.5", "172.20.0.6", "172.20.0.7"):
        await door.knock(peer)
    assert names.asked == 1


async def test_networks_need_no_name() -> None:
    names = Names()
    door = Door(names, "127.0.0.1/32", "172.20.0.0/24")
    assert await door.knock("172.20.0.77") == CLIENT
    assert await door.knock("172.20.1.77") == "172.20.1.77"
    assert names.asked == 0


async def test_the_last_address_that_is_not_a_gateways_is_the_clients() -> None:
    door = Door(Names("172.20.0.5"))
    assert await door.knock("172.20.0.5", told=f"6.6.6.6, {CLIENT}") == CLIENT


async def test_the_machines_own_name_is_looked_up() -> None:
    assert "127.0.0.1" in await addresses_of("localhost")
    with pytest.raises(socket.gaierror):
        await addresses_of("no-such-host.invalid")
