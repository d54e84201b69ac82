"""`make audit-deps` says clean only where somebody who knows was asked about every package."""

from __future__ import annotations

import pytest

from infra.embedded.ports import free_port
from infra.supply.advisories import (
    CANARY,
    CLEAN,
    HOLES,
    NOT_CHECKED,
    ROOT,
    NotCheckedError,
    audit,
    holes,
    pins,
)
from tests.support.advisory_service import advisory_service

HASH = "--hash=sha256:" + "0" * 64
# One package twice, and one that no machine of this test would install.
LOCK = f"""# made by hand
numpy==2.4.6 ; python_full_version < '3.12' \\
    {HASH}
    # via tradewind
numpy==2.5.5 ; python_full_version >= '3.12' \\
    {HASH}
pywin32==312 ; sys_platform == 'win32' \\
    {HASH} \\
    {HASH}
redis==5.2.1 \\
    {HASH}
"""
PINS = {("numpy", "2.4.6"), ("numpy", "2.5.5"), ("pywin32", "312"), ("redis", "5.2.1")}


def test_an_unreachable_service_is_never_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(LOCK, f"http://127.0.0.1:{free_port()}/v1/query") == NOT_CHECKED
    said = capsys.readouterr().out
    assert "NOT CHECKED, nothing is known about 4 packages" in said
    assert "no known hole" not in said


def test_a_service_that_knows_nothing_is_not_believed(capsys: pytest.CaptureFixture[str]) -> None:
    with advisory_service({}, canary=False) as service:
        assert audit(f"redis==5.2.1 {HASH}\n", service.url) == NOT_CHECKED
        assert CANARY in service.asked
    assert "not to be believed" in capsys.readouterr().out


def test_every_pin_is_asked_about_whatever_machine_asks(capsys: pytest.CaptureFixture[str]) -> None:
    with advisory_service({}) as service:
        assert audit(LOCK, service.url) == CLEAN
        assert set(service.asked) == PINS | {CANARY}
    assert capsys.readouterr().out == "audit-deps: no known hole in 4 packages\n"


def test_holes_are_told_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with advisory_service({("redis", "5.2.1"): "PYSEC-1"}) as service:
        assert audit(f"redis==5.2.1 {HASH}\nhttpx==0.28.1 {HASH}\n", service.url) == HOLES
    said = capsys.readouterr().out
    assert "redis 5.2.1: PYSEC-1, fixed in 99.1" in said
    assert CANARY[0] not in said
    assert "1 known holes in 2 packages" in said


def test_a_package_that_the_report_leaves_out_is_not_clean() -> None:
    canary = {"name": CANARY[0], "version": CANARY[1], "vulns": [{"id": "X"}]}
    with pytest.raises(NotCheckedError, match=r"1 packages were left out.*redis==5\.2\.1"):
        holes([canary], {("redis", "5.2.1")})
    skipped = {"name": "redis", "skip_reason": "not found"}
    with pytest.raises(NotCheckedError, match="left out"):
        holes([canary, skipped], {("redis", "5.2.1")})


def test_an_empty_lock_is_not_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit("# nothing\n", "") == NOT_CHECKED
    assert "names no package" in capsys.readouterr().out


def test_the_lock_of_the_project_is_read_in_full() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(pins(lock)) == sum("==" in line and line[0].isalnum() for line in lock.splitlines())
