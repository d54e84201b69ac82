"""The record taken out with its proof, checked without a database, and its oldest part dropped."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from libs.common.kernel.errors import ConflictError
from services.audit.adapters import parquet_archive
from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.adapters.chain_scan import Evidence, claims_of, rows_between, verify_chain
from services.audit.anchoring import Anchorer
from services.audit.anchors import AnchorKey
from services.audit.archive import ExportError
from services.audit.prune import prune
from tests.support.audit_rows import DAY, entry, store_of, tamper, three_days

SEED = base64.urlsafe_b64encode(bytes(range(32))).decode()
KEY = AnchorKey.of(SEED)
NOW = DAY + dt.timedelta(days=20)
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DECEMBER = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


async def filled(database_url: str, folder: Path) -> AnchorFiles:
    """Three days of November and one of December."""
    store = store_of(database_url)
    await store.append([*three_days(), *(entry(n, DECEMBER) for n in range(5))])
    files = AnchorFiles(folder)
    await Anchorer(store, files, KEY).anchor(NOW)
    return files


def exported(database_url: str, files: AnchorFiles, path: Path) -> None:
    first, last = rows_between(database_url, NOVEMBER, DECEMBER)
    assert (first, last) == (1, 30)
    with claims_of(database_url, first, last) as claims:
        parquet_archive.write(path, claims, files.read(), KEY, NOW.isoformat())


async def test_an_export_proves_itself_in_any_order_and_shows_what_was_changed(
    database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "november.parquet"
    exported(database_url, await filled(database_url, tmp_path / "anchors"), path)
    manifest = parquet_archive.check(path, [KEY.public])
    assert (manifest.first_seq, manifest.last_seq, len(manifest.anchors)) == (1, 30, 3)
    table = pq.read_table(path)
    proof = pq.ParquetFile(path).metadata.metadata[parquet_archive.METADATA.encode()]

    def again(changed: pa.Table) -> Path:
        other = tmp_path / "other.parquet"
        pq.write_table(changed.replace_schema_metadata({parquet_archive.METADATA: proof}), other)
        return other

    assert parquet_archive.check(again(table.take(list(range(29, -1, -1)))), [KEY.public])
    outcomes = table.column("outcome").to_pylist()
    for changed, word in (
        (table.slice(0, 29), "not those that were signed"),
        (table.slice(1), "not those that were signed"),
        (table.take([*range(10), *range(11, 30)]), "row 11 is missing"),
        (table.take([*range(30), 5]), "twice"),
        (
            table.set_column(
                table.schema.get_field_index("outcome"), "outcome",
                pa.array([*outcomes[:4], "never", *outcomes[5:]]),
            ),
            "row 5 was changed",
        ),
        (table.drop_columns(["actor"]), "lacks columns"),
    ):  # fmt: skip
        with pytest.raises(ExportError, match=word):
            parquet_archive.check(again(changed), [KEY.public])
    with pytest.raises(ExportError, match="unknown key"):
        parquet_archive.check(path, ["00" * 32])
    proof = proof.replace(b'"last_seq":30', b'"last_seq":29', 1)
    with pytest.raises(ExportError, match="signature"):
        parquet_archive.check(again(table), [KEY.public])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ExportError, match="no Parquet file"):
        parquet_archive.check(path)


async def test_whole_months_are_dropped_after_their_export_and_the_chain_goes_on(
    database_url: str, tmp_path: Path
) -> None:
    files = await filled(database_url, tmp_path / "anchors")
    path = tmp_path / "november.parquet"
    exported(database_url, files, path)
    manifest = parquet_archive.check(path, [KEY.public])
    with pytest.raises(ConflictError, match="months that are over"):
        prune(database_url, manifest, files, KEY, "ann", DECEMBER - dt.timedelta(days=1))
    assert prune(database_url, manifest, files, KEY, "ann", NOW) == 30
    evidence = Evidence(files.read([KEY.public]), files.hashes)
    found = verify_chain(database_url, evidence=evidence)
    assert (found.valid, found.rows, found.head.seq) == (True, 5, 35)
    with pytest.raises(ConflictError, match="oldest row is 31"):
        prune(database_url, manifest, files, KEY, "ann", NOW)
    await store_of(database_url).append([entry(9, NOW)])
    assert await Anchorer(store_of(database_url), files, KEY).anchor(NOW + dt.timedelta(hours=1))
    with psycopg.connect(database_url) as connection:
        told = connection.execute("SELECT message FROM outbox").fetchall()
        assert json.loads(bytes(told[0][0]))["payload"]["event_type"] == "AuditPruned"
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("DELETE FROM audit_log WHERE seq = 31")
    tamper(database_url, "DELETE FROM audit_log WHERE seq = 31")
    broken = verify_chain(database_url).broken
    assert broken is not None
    assert (broken.code, broken.seq) == ("SEQ_GAP", 32)


async def test_a_checkpoint_that_nobody_anchored_is_not_believed(
    database_url: str, tmp_path: Path
) -> None:
    files = await filled(database_url, tmp_path / "anchors")
    path = tmp_path / "november.parquet"
    exported(database_url, files, path)
    forger = AnchorFiles(tmp_path / "forged")
    prune(database_url, parquet_archive.check(path), forger, AnchorKey(bytes(32)), "eve", NOW)
    assert verify_chain(database_url).valid
    found = verify_chain(database_url, evidence=Evidence(files.read(), files.hashes))
    assert found.broken is not None
    assert found.broken.code == "CHECKPOINT_BROKEN"


def test_the_commands_verify_prove_export_and_check(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = asyncio.run(filled(database_url, tmp_path / "anchors"))
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", database_url)
    monkeypatch.setenv("TRADEWIND_AUDIT_ANCHORS", str(files.folder))
    monkeypatch.setenv("TRADEWIND_AUDIT_KEY", SEED)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", *arguments])

    key = ("--key", KEY.public)
    proof, growth = str(tmp_path / "proof.json"), str(tmp_path / "growth.json")
    whole = run("verify", "--jobs", "1")
    assert (whole.exit_code, "35 rows" in whole.output) == (0, True), whole.output
    assert "4 anchors hold" in whole.output
    assert run("anchor").exit_code == 0
    assert run("prove", "14", "--out", proof).exit_code == 0
    assert "row 14 is of the 10 rows of 2026-11-19" in run("check-proof", proof, *key).output
    assert run("prove-growth", "1", "1", "--out", growth).exit_code == 0
    assert run("check-proof", growth, *key).exit_code == 0
    forged = Path(proof).read_text().replace('"actor":"ann"', '"actor":"eve"')
    Path(proof).write_text(forged)
    answer = run("check-proof", proof, *key)
    assert (answer.exit_code, "was changed" in answer.output) == (1, True), answer.output
    assert run("check-proof", growth, "--key", "00" * 32).exit_code == 1
    parquet = str(tmp_path / "n.parquet")
    answer = run("export", parquet, "--from", "2026-11-01", "--to", "2026-12-01")
    assert answer.exit_code == 0, answer.output
    assert "3 anchors hold" in run("check-export", parquet, *key).output
    answer = run("prune", parquet, "--url", database_url)
    assert answer.exit_code == 0 or "months that are over" in answer.output
    tamper(database_url, "UPDATE audit_log SET actor = 'eve' WHERE seq = 33")
    broken = run("verify", "--jobs", "1")
    assert broken.exit_code == 1
    assert "BROKEN at row 33 of 2026-12-01: HASH_MISMATCH" in broken.output
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", "postgresql://x@127.0.0.1:9/none")
    assert run("verify").exit_code == 3
