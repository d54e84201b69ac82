"""The venue that the settings name, with its ears: readiness, wire log, quarantine."""

from __future__ import annotations

from functools import partial

from libs.common.runtime.runtime import Runtime
from services.trade_executor.adapters.alpaca import AlpacaBroker
from services.trade_executor.adapters.alpaca_record import Recorder, RecordingAdapter
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_wire import AlpacaLimits
from services.trade_executor.quarantine import Quarantine
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.wire_log import WireLog, WireMessage

_CALLS_PER_MINUTE_ALPACA = 200.0
_CALLS_PER_MINUTE_OWN = 120_000.0


def alpaca(
    runtime: Runtime, settings: ExecutorSettings, wire_log: WireLog, quarantine: Quarantine
) -> AlpacaBroker:
    """Return the broker that the settings name; what is said to it and by it goes to the log, and
    what of it cannot be read into quarantine."""
    key = settings.broker_key.get_secret_value()
    secret = settings.broker_secret.get_secret_value()

    def report(reason: str | None) -> None:
        if reason is None:
            runtime.readiness.clear("broker stream")
        else:
            runtime.readiness.block("broker stream", reason)

    stream = AlpacaStream(
        settings.broker_stream_url,
        key,
        secret,
        ping_s=settings.stream_ping_s,
        reconnect_s_max=settings.stream_reconnect_s_max,
        timeout_s=settings.broker_timeout_s,
        report=report,
        heard=lambda frame: wire_log.note(
            WireMessage(at_ns=runtime.clock.now_ns(), received=frame)
        ),
        unreadable=quarantine.frame,
    )
    rented = "alpaca.markets" in settings.broker_url
    usual = _CALLS_PER_MINUTE_ALPACA if rented else _CALLS_PER_MINUTE_OWN
    limits = AlpacaLimits(
        threads=settings.broker_threads,
        timeout_s=settings.broker_timeout_s,
        answer_s_max=settings.broker_answer_s_max,
        calls_per_minute=settings.broker_calls_per_minute or usual,
        failures_max=settings.broker_failures_max,
        circuit_reset_s=settings.broker_circuit_reset_s,
    )
    recorder = Recorder(runtime.clock, wire_log.note)
    return AlpacaBroker(
        settings.broker_url,
        key,
        secret,
        limits=limits,
        stream=stream,
        adapter_of=partial(
            RecordingAdapter,
            recorder=recorder,
            bytes_max=settings.broker_answer_bytes_max,
        ),
        unreadable=quarantine.answer,
        record=recorder,
        bytes_max=settings.broker_answer_bytes_max,
    )
