"""Exports of the record as Parquet files, with their proof in the file's own metadata.

The columns are the fields of a row as they are hashed: text, times in RFC 3339, hashes in hex.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from libs.common.kernel.errors import UnavailableError
from services.audit.anchors import Anchor, AnchorKey
from services.audit.archive import (
    Content,
    ExportError,
    Manifest,
    Reading,
    encode,
    read_manifest,
    signed_bytes,
    within,
)
from services.audit.logic import Canonical, Claim
from services.audit.merkle import root_of

BATCH: Final = 10_000
METADATA: Final = "tradewind.audit.manifest"
_NAMES: Final = Canonical.__struct_fields__
_SCHEMA: Final = pa.schema(
    [(name, pa.int64() if name == "seq" else pa.string()) for name in _NAMES]
    + [("hash", pa.string())]
)


def write(
    path: Path,
    claims: Iterable[Claim],
    anchors: Sequence[Anchor],
    key: AnchorKey,
    made_at: str,
    progress: Callable[[int], object] = lambda rows: None,
) -> Manifest:
    """Write the rows to `path` and sign what was written; a file appears only when it is whole.

    Raises ExportError where the rows are no chain, UnavailableError where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    reading, count = Reading(), 0
    try:
        with pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer:
            for part in _batches(claims):
                reading.take(part)
                writer.write_batch(_table(part))
                count += len(part)
                progress(count)
            if not count:
                raise ExportError("there is no row to export")
            manifest = _signed(reading, anchors, key, made_at)
            writer.add_key_value_metadata({METADATA: encode(manifest).decode()})
        os.replace(partial, path)
    except (OSError, pa.ArrowException) as error:
        raise UnavailableError(f"{path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def check(
    path: Path, keys: Sequence[str] = (), progress: Callable[[int], object] = lambda rows: None
) -> Manifest:
    """Return the manifest of a file whose every row is what was signed. Raises ExportError."""
    try:
        with pq.ParquetFile(path) as file:
            told = (file.schema_arrow.metadata or {}) | (file.metadata.metadata or {})
            data = told.get(METADATA.encode())
            if data is None:
                raise ExportError("it holds no proof")
            manifest = read_manifest(data, keys)
            reading, count = Reading(), 0
            for batch in file.iter_batches(BATCH):
                reading.take(_claims(batch))
                count += batch.num_rows
                progress(count)
    except FileNotFoundError as error:
        raise ExportError("there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise ExportError(f"it is no Parquet file of ours: {error}") from error
    reading.check(manifest)
    return manifest


def _signed(reading: Reading, anchors: Sequence[Anchor], key: AnchorKey, made_at: str) -> Manifest:
    hashes = reading.hashes()
    first, before = reading.first()
    last = first + len(hashes) - 1
    content = Content(
        first_seq=first,
        last_seq=last,
        before=before,
        head=hashes[-1].hex(),
        root=root_of(hashes).hex(),
        made_at=made_at,
        key=key.public,
        anchors=within(anchors, first, last),
    )
    plain = {name: getattr(content, name) for name in Content.__struct_fields__}
    manifest = Manifest(**plain, signature=key.sign_bytes(signed_bytes(content)))
    reading.check(manifest)
    return manifest


def _batches(claims: Iterable[Claim]) -> Iterator[Sequence[Claim]]:
    part: list[Claim] = []
    for claim in claims:
        part.append(claim)
        if len(part) == BATCH:
            yield part
            part = []
    if part:
        yield part


def _table(claims: Sequence[Claim]) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {
        name: [getattr(form, name) for form, _ in claims] for name in _NAMES
    }
    columns["details"] = [bytes(form.details).decode() for form, _ in claims]
    columns["hash"] = [claimed for _, claimed in claims]
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _claims(batch: pa.RecordBatch) -> Iterator[Claim]:
    if not set(_SCHEMA.names) <= set(batch.schema.names):
        raise ExportError("it lacks columns of the record")
    columns = [batch.column(name).to_pylist() for name in (*_NAMES, "hash")]
    place = _NAMES.index("details")
    for values in zip(*columns, strict=True):
        fields = list(values[:-1])
        fields[place] = msgspec.Raw((fields[place] or "").encode())
        yield Canonical(*fields), values[-1]
