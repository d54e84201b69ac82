"""One function a request: load, decide, save, announce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from libs.common.backtest.request import Request
from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.kernel.ids import IdSource
from services.backtester.desk import Desk
from services.backtester.metrics import REFUSED, SUBMITTED
from services.backtester.ports import QueueFullError, Run, Runs, Status

NAME: Final = "backtester"
COMPARED_MAX: Final = 20


async def submit(
    runs: Runs,
    desk: Desk,
    ids: IdSource,
    request: Request,
    *,
    key: str | None,
    queue_max: int,
    data: Path | None,
) -> Run:
    """Queue a run. Raises QueueFullError, ConflictError, InvalidInputError."""
    check_source(request, data)
    try:
        run = await runs.submit(ids.new(), request.kind, request.to_json(), key, queue_max)
    except QueueFullError:
        REFUSED.inc()
        raise
    SUBMITTED.labels(request.kind).inc()
    desk.ring()
    return run


def check_source(request: Request, data: Path | None) -> None:
    """Raise InvalidInputError for a file that a request may not name."""
    if request.spec is None or request.spec.source.kind != "file":
        return
    source = request.spec.source
    if data is None:
        raise InvalidInputError(
            "spec.source: this service reads no files; TRADEWIND_BACKTESTS_DATA names a folder "
            "below which it may"
        )
    if not (data / source.path).resolve().is_relative_to(data.resolve()):
        raise InvalidInputError(f"spec.source.path: {source.path!r} lies outside the data folder")


async def cancel(runs: Runs, desk: Desk, run_id: UUID) -> Run:
    """Cancel a queued or running run. Raises NotFoundError, ConflictError."""
    run = await runs.cancel(run_id)
    desk.drop(run_id)
    return run


async def resume(runs: Runs, desk: Desk, run_id: UUID, queue_max: int) -> Run:
    """Queue an unfinished run again. Raises NotFoundError, ConflictError, QueueFullError."""
    run = await runs.requeue(run_id, queue_max)
    desk.ring()
    return run


async def remove(runs: Runs, desk: Desk, run_id: UUID) -> None:
    """Forget a finished run and delete its files. Raises NotFoundError, ConflictError."""
    await runs.remove(run_id)
    desk.forget(run_id)


async def artefact(runs: Runs, desk: Desk, run_id: UUID, name: str) -> Path:
    """Return where a file of a run lies: only one that the run itself has listed. Raises
    NotFoundError."""
    run = await runs.get(run_id)
    known = {item.name for item in run.artefacts}
    path = desk.folder_of(run_id) / name
    if name not in known or not path.is_file():
        listed = ", ".join(sorted(known)) or "none"
        raise NotFoundError(f"backtest {run_id} has no file {name!r}; it has {listed}")
    return path


def id_of(text: str) -> UUID:
    """Return an id. Raises InvalidInputError."""
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInputError(f"ids: {text!r} is not an id") from error


async def compare(runs: Runs, ids: Sequence[UUID]) -> dict[str, Any]:
    """Return the metrics of several finished runs side by side. Raises InvalidInputError,
    NotFoundError."""
    if not 2 <= len(ids) <= COMPARED_MAX:
        raise InvalidInputError(f"ids: name 2 to {COMPARED_MAX} backtests, got {len(ids)}")
    found = [await runs.get(run_id) for run_id in ids]
    for run in found:
        if run.status is not Status.DONE or run.result is None or "metrics" not in run.result:
            raise InvalidInputError(f"ids: backtest {run.id} is {run.status}, it has no metrics")
    results: list[Mapping[str, Any]] = [run.result for run in found if run.result is not None]
    names = list(results[0]["metrics"])
    return {
        "ids": [str(run.id) for run in found],
        "metrics": {name: [result["metrics"].get(name) for result in results] for name in names},
        "equity_last": [result["equity_last"] for result in results],
        "same_data": len({result["data"]["fingerprint"] for result in results}) == 1,
    }
