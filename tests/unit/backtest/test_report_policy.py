"""What a server says of a report: the page's own policy, in a sandbox."""

from __future__ import annotations

from pathlib import Path

from libs.common.backtest.report.page import page, policy_of


def test_a_report_may_run_its_own_scripts_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page("A <title>", "<h1>x</h1>", "<p>y</p>", {}))
    policy = policy_of(path)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 2
    script = policy.split("script-src ")[1].split(";")[0]
    assert "unsafe" not in script
    assert policy.endswith("; frame-ancestors 'none'; sandbox allow-scripts")
    assert f'content="{policy.split("; frame-ancestors")[0]}"' in path.read_text()


def test_a_page_without_a_policy_may_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.html"
    path.write_bytes(b"<html><script>steal()</script>\xff")
    assert policy_of(path).startswith("default-src 'none'; style-src 'unsafe-inline'; frame-")
    assert "script-src" not in policy_of(path)


def test_a_policy_cannot_break_out_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "odd.html"
    path.write_text(
        '<meta http-equiv="Content-Security-Policy" content="script-src *\r\nSet-Cookie: x=1">'
    )
    assert "\n" not in policy_of(path)
    assert "script-src *" not in policy_of(path)
