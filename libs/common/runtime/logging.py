"""Structured logs: one JSON object a line on stdout, with service and correlation id."""

from __future__ import annotations

import contextvars
import logging
import sys
import uuid
from typing import Any

import orjson
import structlog

correlation_id_var: contextvars.ContextVar[uuid.UUID | None] = contextvars.ContextVar(
    "correlation_id", default=None
)

Logger = structlog.stdlib.BoundLogger


def _add_correlation(
    _: Any, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    correlation_id = correlation_id_var.get()
    if correlation_id is not None:
        event.setdefault("correlation_id", str(correlation_id))
    return event


def _render(_: Any, __: str, event: structlog.typing.EventDict) -> str:
    return orjson.dumps(event, default=str).decode()


def configure_logging(service: str, level: str) -> None:
    """Send structlog and the standard library's records to stdout as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_correlation,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "numba"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> Logger:
    """Return the logger of module `name`."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger
