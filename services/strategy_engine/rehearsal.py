"""A new version made ready beside the one that runs, and proven on the same stored bars."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Final

import numpy as np

from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.strategy.loader import Loaded
from libs.common.strategy.registry import Registry
from services.strategy_engine.candidate import Candidate, stood
from services.strategy_engine.configuration import Configuration, Version
from services.strategy_engine.engine import Engine
from services.strategy_engine.ports import History
from services.strategy_engine.roster import Member, streams_of
from services.strategy_engine.streams import Stream
from services.strategy_engine.swap import Swap, proof_of, replayed

_CHUNK: Final = 5000


class Rehearsal:
    """Prepares a candidate; what runs is not touched."""

    def __init__(self, engine: Engine, history: History) -> None:
        self._engine = engine
        self._history = history

    async def prepare(
        self, member: Member, wish: Swap, correlation_id: uuid.UUID, actor: str
    ) -> Candidate:
        """Return what would take the member's place, its memory blank.

        Raises ConflictError, InvalidInputError, InvalidParamsError.
        """
        before = member.configuration
        registry = await self._engine.load_files()
        if wish.rollback:
            loaded, params = self._former(member, registry)
        else:
            loaded = _wanted(registry, wish.class_name or before.class_name)
            same = loaded.definition.name == before.class_name
            params = {**(before.params if same else {}), **(wish.params or {})}
            params = {name: value for name, value in params.items() if value is not None}
        loaded.definition.parse(params)
        wanted = dataclasses.replace(
            before,
            class_name=loaded.definition.name,
            params=params,
            version_hash=loaded.version_hash,
            previous=Version(before.class_name, dict(before.params), before.version_hash),
        )
        if _same(before, wanted) and member.loaded is not None:
            raise ConflictError(
                f"{before.id}: nothing to swap: it runs this version of {before.class_name} with "
                "these parameters already"
            )
        worker = self._engine.roster.kit.worker(loaded, wanted)
        streams = {s.symbol: s for s in streams_of(loaded, wanted, worker)}
        for stream in streams.values():
            stream.rides = True
        carried = frozenset(
            symbol
            for symbol, stream in streams.items()
            if wanted.class_name == before.class_name
            and symbol in member.streams
            and member.streams[symbol].runner.layout == stream.runner.layout
        )
        return Candidate(
            member, loaded, registry, wanted, worker, streams, carried, {}, wish.shadow_bars,
            wish.rollback, correlation_id, actor,
        )  # fmt: skip

    def _former(self, member: Member, registry: Registry) -> tuple[Loaded, dict[str, object]]:
        configuration = member.configuration
        version = configuration.previous
        if version is None:
            raise ConflictError(f"{configuration.id}: it has never been swapped")
        if member.before is not None:
            return member.before.loaded, dict(version.params)
        loaded = registry.strategies.get(version.class_name)
        if loaded is None or loaded.version_hash != version.version_hash:
            raise ConflictError(
                f"{configuration.id}: the code of {version.class_name} that ran before "
                f"(version {version.version_hash[:12]}) is no longer at hand; put that file back "
                "and roll back again"
            )
        return loaded, dict(version.params)

    async def prove(self, candidate: Candidate, bars: int) -> None:
        """Step a blank one of the new and a blank one of the old over the same stored bars."""
        old, wanted = candidate.old, candidate.configuration
        beside = streams_of(old.loaded, old.configuration, old.worker) if old.loaded else []
        old_warmup = max((s.runner.warmup for s in beside), default=0)
        proven = streams_of(candidate.loaded, wanted, candidate.worker)
        for stream in proven:
            present = stood(old, stream)
            if not present:
                continue
            count = max(stream.runner.warmup, old_warmup) + bars
            history = {
                symbol: await self._history.before(
                    wanted.timeframe, symbol, present + wanted.span_ns, count
                )
                for symbol in stream.symbols
            }
            new = await replayed(stream, history)
            former: dict[str, np.ndarray] = {}
            for other in beside:
                if set(other.symbols) <= set(history):
                    former |= await replayed(other, {s: history[s] for s in other.symbols})
            for symbol in stream.symbols:
                candidate.proofs[symbol] = proof_of(
                    symbol, len(history[symbol]), bars, new[symbol], former.get(symbol)
                )
            # So that hardly a bar is left to be stepped over while the others wait.
            await self.follow_up(candidate, candidate.streams[stream.symbol], present)

    async def follow_up(self, candidate: Candidate, stream: Stream, end: int) -> None:
        """Bring a stream's memory to the bar that starts at `end`, from the table."""
        runner = stream.runner
        former = candidate.old.before if candidate.rollback else None
        kept = (former.memories if former else {}).get(stream.symbol)
        if not runner.ts and kept is not None and former and former.layout == runner.layout:
            runner.restore(kept[1])
        timeframe, span = candidate.configuration.timeframe, candidate.configuration.span_ns
        if not runner.ts:
            history = {
                symbol: await self._history.before(
                    timeframe, symbol, end + span, max(runner.warmup, 1)
                )
                for symbol in stream.symbols
            }
            if any(map(len, history.values())):
                await replayed(stream, history)
        while 0 < runner.ts < end:
            since = dict.fromkeys(stream.symbols, runner.ts)
            found = await self._history.since(timeframe, since, _CHUNK)
            # Of symbols read in part, none is stepped over beyond where the first of them ends.
            cut = min([end, *(int(b["ts"][-1]) for b in found.values() if len(b) == _CHUNK)])
            due = {s: np.ascontiguousarray(b[b["ts"] <= cut]) for s, b in found.items()}
            if not any(map(len, due.values())):
                break
            await replayed(stream, due)


def _wanted(registry: Registry, name: str) -> Loaded:
    try:
        loaded = registry.get(name)
    except NotFoundError as error:
        refused = "; ".join(str(refusal) for refusal in registry.refused)
        raise InvalidInputError(
            f"class_name: {error}" + (f" ({refused})" * bool(refused))
        ) from error
    for refusal in registry.refused:
        if refusal.path == loaded.path:
            raise InvalidInputError(str(refusal)) from refusal
    return loaded


def _same(a: Configuration, b: Configuration) -> bool:
    return (a.class_name, a.version_hash, a.params) == (b.class_name, b.version_hash, b.params)
