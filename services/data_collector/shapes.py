"""What the data collector's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

from typing import TypedDict

from services.data_collector.ports import ProviderHealth


class ProviderShape(TypedDict):
    """A configured provider: whether it has history, and how its stream is if it has one."""

    name: str
    history: bool
    stream: ProviderHealth | None
