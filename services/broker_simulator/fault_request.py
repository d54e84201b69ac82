"""The body of `POST /sim/faults`, and the catalogue of faults that a plan draws from."""

from __future__ import annotations

import msgspec

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.behaviour import Behaviour
from services.broker_simulator.faults import Fault, Kind, Stream
from services.broker_simulator.garble import Form
from services.broker_simulator.plan import Plan


class FaultRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Switches to turn on, actions to carry out now, a plan that does both by itself."""

    faults: list[Fault] = []
    behaviour: Behaviour | None = None
    disconnect: list[Stream] = []
    refuse_s: float = 0.0
    plan: Plan | None = None


# What each name stands for: the body of `POST /sim/faults`, on for as long as the plan draws.
CATALOGUE: dict[str, FaultRequest] = {
    "latency": FaultRequest(faults=[Fault(kind=Kind.LATENCY, seconds=0.05, seconds_max=0.5)]),
    "lost_answer": FaultRequest(
        faults=[Fault(kind=Kind.LOST_ANSWER, method="POST", path="/v2/orders", count=1)]
    ),
    "error_after": FaultRequest(
        faults=[Fault(kind=Kind.ERROR_AFTER, method="POST", path="/v2/orders", count=1)]
    ),
    "error_before": FaultRequest(faults=[Fault(kind=Kind.ERROR_BEFORE, status=503, count=3)]),
    "rate_limit": FaultRequest(faults=[Fault(kind=Kind.RATE_LIMIT, count=5)]),
    "drop_request": FaultRequest(faults=[Fault(kind=Kind.DROP_REQUEST, count=1)]),
    "garbled_answer": FaultRequest(faults=[Fault(kind=Kind.GARBLED_ANSWER, count=2)]),
    "html_answer": FaultRequest(
        faults=[Fault(kind=Kind.GARBLED_ANSWER, form=Form.HTML, status=502, count=2)]
    ),
    "garbled_frame": FaultRequest(faults=[Fault(kind=Kind.GARBLED_FRAME, count=1)]),
    "duplicate": FaultRequest(faults=[Fault(kind=Kind.DUPLICATE, stream=Stream.TRADING)]),
    "reorder": FaultRequest(
        faults=[Fault(kind=Kind.REORDER, stream=Stream.TRADING, probability=0.5)]
    ),
    "delay": FaultRequest(
        faults=[Fault(kind=Kind.DELAY, stream=Stream.TRADING, seconds=0.1, seconds_max=1.0)]
    ),
    "missing": FaultRequest(
        faults=[Fault(kind=Kind.MISSING, stream=Stream.TRADING, probability=0.3)]
    ),
    "mute": FaultRequest(faults=[Fault(kind=Kind.MUTE, stream=Stream.TRADING)]),
    "unknown_field": FaultRequest(faults=[Fault(kind=Kind.UNKNOWN_FIELD, object="*")]),
    "unknown_status": FaultRequest(faults=[Fault(kind=Kind.UNKNOWN_STATUS, count=2)]),
    "missing_field": FaultRequest(faults=[Fault(kind=Kind.MISSING_FIELD, probability=0.5)]),
    "stale_feed": FaultRequest(faults=[Fault(kind=Kind.STALE_FEED)]),
    "clock_skew": FaultRequest(faults=[Fault(kind=Kind.CLOCK_SKEW, seconds=30.0)]),
    "reject_order": FaultRequest(faults=[Fault(kind=Kind.REJECT_ORDER, count=1)]),
    "cancel_rejected": FaultRequest(faults=[Fault(kind=Kind.CANCEL_REJECTED, count=1)]),
    "replace_rejected": FaultRequest(faults=[Fault(kind=Kind.REPLACE_REJECTED, count=1)]),
    "partial_fills": FaultRequest(
        behaviour=Behaviour(partial_fill_probability=0.7, partial_fill_fraction=0.4)
    ),
    "slow_exchange": FaultRequest(
        behaviour=Behaviour(ack_delay_s=1.0, cancel_delay_s=2.0, replace_delay_s=2.0)
    ),
    "disconnect_trading": FaultRequest(disconnect=[Stream.TRADING]),
    "disconnect_data": FaultRequest(disconnect=[Stream.DATA]),
    "refuse": FaultRequest(refuse_s=1.0),
}


def fresh(kind: str) -> FaultRequest:
    """Return switches of the catalogue that nobody else has counted on."""
    return msgspec.convert(msgspec.to_builtins(CATALOGUE[kind]), FaultRequest)


def read_faults(text: bytes, what: str) -> FaultRequest:
    """Read switches from JSON. Raises InvalidInputError naming `what` and the field."""
    try:
        wanted = msgspec.json.decode(text, type=FaultRequest)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"{what}: {error}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{what}: nested too deeply") from error
    if not 0 <= wanted.refuse_s <= 600:
        raise InvalidInputError(f"{what}: refuse_s {wanted.refuse_s} must be between 0 and 600")
    for fault in wanted.faults:
        fault.check()
    if wanted.plan is not None:
        wanted.plan.check()
        unknown = sorted(set(wanted.plan.kinds) - set(CATALOGUE))
        if unknown:
            raise InvalidInputError(
                f"{what}: plan.kinds: unknown {', '.join(unknown)}; "
                f"known are {', '.join(CATALOGUE)}"
            )
    return wanted
