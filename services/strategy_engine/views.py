"""What the API shows of strategies."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from libs.common.kernel.clock import from_ns
from libs.common.strategy.loader import Loaded
from libs.common.strategy.memory import to_plain
from libs.common.strategy.parameters import Parameter
from libs.common.strategy.registry import Registry
from services.strategy_engine.configuration import Configuration, Version
from services.strategy_engine.leases import Lease
from services.strategy_engine.performance import Performance
from services.strategy_engine.ports import SavedState, SignalRow
from services.strategy_engine.roster import Member
from services.strategy_engine.streams import Stream, StreamStatus

_ITEMS_MAX: Final = 16


def _configured(configuration: Configuration) -> dict[str, Any]:
    return {
        "id": configuration.id,
        "class_name": configuration.class_name,
        "version_hash": configuration.version_hash,
        "summary": "",
        "params": _in_order(configuration.params, None),
        "universe": configuration.universe,
        "timeframe": configuration.timeframe,
        "weight": configuration.weight,
        "enabled": configuration.enabled,
        "mode": configuration.mode,
        "limits": configuration.limits.model_dump(exclude_none=True),
        "previous": _previous(configuration.previous),
    }


def elsewhere_view(
    configuration: Configuration,
    lease: Lease | None,
    states: Mapping[tuple[str, str], SavedState],
) -> dict[str, Any]:
    """Return a strategy that another replica runs, as it was saved last."""
    holder = lease.holder if lease else None
    status = "running" if configuration.enabled else "disabled"
    saved = [states.get((configuration.id, symbol)) for symbol in configuration.universe]
    return {
        **_configured(configuration),
        "status": status if holder else "waiting",
        "reason": "" if holder else "no replica runs it at present",
        "replica": holder,
        "uncollected": [],
        "symbols": [
            {
                "symbol": state.symbol,
                "status": StreamStatus.RUNNING,
                "reason": "",
                "as_of": from_ns(state.as_of),
                "bars": state.bars,
                "decision": state.last_decision,
            }
            for state in saved
            if state is not None
        ],
    }


def member_view(member: Member, collected: Collection[str]) -> dict[str, Any]:
    """Return a strategy as it is listed."""
    configuration = member.configuration
    return {
        **_configured(configuration),
        "version_hash": member.loaded.version_hash if member.loaded else configuration.version_hash,
        "summary": member.loaded.definition.summary if member.loaded else "",
        "params": _in_order(configuration.params, member.loaded),
        "status": _status(member),
        "reason": member.absent,
        "uncollected": member.uncollected(collected),
        "symbols": [_stream_view(stream) for stream in member.streams.values()],
    }


def detail_view(member: Member, collected: Collection[str]) -> dict[str, Any]:
    """Return a strategy with the ranges of its parameters and its state."""
    view = member_view(member, collected)
    view["schema"] = _schema_view(member.loaded) if member.loaded else []
    view["symbols"] = [
        {
            **_stream_view(stream),
            "params": stream.runner.params,
            "layout_hash": stream.runner.layout,
            "state": _short(stream.runner.memory["state"]),
        }
        for stream in member.streams.values()
    ]
    return view


def classes_view(registry: Registry) -> dict[str, Any]:
    """Return what the strategy files define, and which were refused why."""
    return {
        "items": [
            {
                "name": name,
                "summary": loaded.definition.summary,
                "file": loaded.path.name,
                "version_hash": loaded.version_hash,
                "schema": _schema_view(loaded),
            }
            for name, loaded in sorted(registry.strategies.items())
        ],
        "refused": [
            {"file": error.path.name, "line": error.line, "reason": error.reason}
            for error in registry.refused
        ],
        "next": None,
    }


def performance_view(performance: Performance, signals: int) -> dict[str, Any]:
    """Return what a strategy has made."""
    return {
        **dataclasses.asdict(performance),
        "signals": signals,
        "hit_rate": performance.hit_rate,
        "slippage_bps": performance.slippage_bps,
        "pnl": performance.pnl,
        "drawdown": performance.drawdown,
        "day_pnl": performance.day_pnl,
    }


def signal_view(row: SignalRow) -> dict[str, Any]:
    """Return a signal as it is listed."""
    return {
        **msgspec.structs.asdict(row.signal),
        "correlation_id": row.correlation_id,
        "created_at": row.created_at,
    }


def _previous(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "class_name": version.class_name,
        "params": version.params,
        "version_hash": version.version_hash,
    }


def _in_order(params: Mapping[str, object], loaded: Loaded | None) -> dict[str, object]:
    """Return parameters as the strategy declares them; by name where its code is not at hand."""
    declared = list(loaded.definition.schema.fields) if loaded else sorted(params)
    return {name: params[name] for name in [*declared, *params] if name in params}


def _status(member: Member) -> str:
    if not member.configuration.enabled:
        return "disabled"
    return "absent" if member.absent else "running"


def _stream_view(stream: Stream) -> dict[str, Any]:
    memory = stream.runner.memory
    return {
        "symbol": stream.symbol,
        "status": stream.status,
        "reason": stream.reason,
        "as_of": from_ns(stream.runner.ts) if stream.runner.ts else None,
        "bars": int(memory["bars"]),
        "decision": to_plain(memory["stated"]),
    }


def _schema_view(loaded: Loaded) -> list[dict[str, Any]]:
    return [_field_view(name, f) for name, f in loaded.definition.schema.fields.items()]


def _field_view(name: str, field: Parameter) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "integer" if field.kind is int else "number",
        "default": field.default,
        "low": field.low,
        "high": field.high,
        "meaning": field.meaning,
    }


def _short(value: Any) -> Any:
    """Return a record as plain data; a long array as its length."""
    if isinstance(value, np.void):
        return {name: _short(value[name]) for name in value.dtype.names or ()}
    if isinstance(value, np.ndarray) and len(value) > _ITEMS_MAX:
        return f"[{len(value)} numbers]"
    return to_plain(value)
