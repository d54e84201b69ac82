"""What the API shows of strategies."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from libs.common.kernel.clock import from_ns
from libs.common.strategy.loader import Loaded
from libs.common.strategy.parameters import Parameter
from libs.common.strategy.registry import Registry
from services.strategy_engine.configuration import Configuration, Version
from services.strategy_engine.leases import Lease
from services.strategy_engine.performance import Performance
from services.strategy_engine.ports import SavedState, SignalRow
from services.strategy_engine.roster import Member
from services.strategy_engine.streams import UNIVERSE, Stream, StreamStatus

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
    whole = states.get((configuration.id, UNIVERSE))
    saved = [
        (symbol, whole or states.get((configuration.id, symbol)))
        for symbol in configuration.universe
    ]
    return {
        **_configured(configuration),
        "status": status if holder else "waiting",
        "reason": "" if holder else "no replica runs it at present",
        "replica": holder,
        "uncollected": [],
        "symbols": [
            {
                "symbol": symbol,
                "status": StreamStatus.RUNNING,
                "reason": "",
                "as_of": from_ns(state.as_of),
                "bars": state.bars,
                "decision": (state.last_decision or {}).get(symbol)
                if whole
                else state.last_decision,
            }
            for symbol, state in saved
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
        "symbols": [row for stream in member.streams.values() for row in _stream_views(stream)],
    }


def detail_view(member: Member, collected: Collection[str]) -> dict[str, Any]:
    """Return a strategy with the ranges of its parameters and its state."""
    view = member_view(member, collected)
    view["schema"] = _schema_view(member.loaded) if member.loaded else []
    view["symbols"] = [
        {
            **row,
            "params": stream.runner.params,
            "layout_hash": stream.runner.layout,
            "state": _short(stream.runner.shown()["state"]),
        }
        for stream in member.streams.values()
        for row in _stream_views(stream)
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


def _stream_views(stream: Stream) -> list[dict[str, Any]]:
    shown = stream.runner.shown()
    return [
        {
            "symbol": symbol,
            "status": stream.status,
            "reason": stream.reason,
            "as_of": from_ns(stream.runner.ts) if stream.runner.ts else None,
            "bars": stream.runner.bars,
            "decision": shown["stated"][symbol],
        }
        for symbol in stream.symbols
    ]


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
    """Return plain data with a long list as its length."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list) and len(value) > _ITEMS_MAX:
        return f"[{len(value)} numbers]"
    return value
