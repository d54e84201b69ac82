"""The venue's streams of events: they lose, repeat, reorder and fall silent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from services.trade_executor.model import Update
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import Letterbox, Life


@dataclass
class Connection:
    """One client's stream."""

    life: Life
    letters: Letterbox
    mute: bool = False
    last_due: float = 0.0
    cut: bool = False


class Streams:
    """All that are connected."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dice: Dice, weather: Weather, context: Any
    ) -> None:
        self.connections: list[Connection] = []
        self._loop = loop
        self._dice = dice
        self._weather = weather
        self._context = context

    def connect(self, life: Life) -> Connection:
        """Open the stream of a life."""
        mute = self._dice.chance(self._weather.stream_mute)
        connection = Connection(life, Letterbox(self._loop), mute=mute)
        self.connections.append(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """End one."""
        connection.cut = True
        connection.letters.put(None)
        if connection in self.connections:
            self.connections.remove(connection)

    def cut(self) -> None:
        """Drop every stream."""
        for connection in self.connections:
            connection.cut = True
            connection.letters.put(None)
        self.connections = []

    def hear_all(self) -> None:
        """Let none be mute any more."""
        for connection in self.connections:
            connection.mute = False

    def send(self, update: Update) -> None:
        """Tell whoever is connected: lost, repeated, late and out of order as it may be."""
        weather, dice = self._weather, self._dice
        for connection in self.connections:
            if connection.life.dead or connection.mute or dice.chance(weather.stream_lost):
                continue
            for _ in range(1 + dice.chance(weather.stream_twice)):
                due = max(connection.last_due, self._loop.time() + dice.latency())
                connection.last_due = due
                if dice.chance(weather.stream_late):
                    due += dice.between(0.0, 4.0)
                self._loop.call_at(due, connection.letters.put, update, context=self._context)
