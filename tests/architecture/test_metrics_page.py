"""No metric without a stated definition, source and peer; the page's example runs."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from libs.common.quant.metrics import CATALOGUE, Metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
COUNTS = {"days", "years", "periods", "trades"}


def test_every_field_of_the_metrics_is_in_the_catalogue_once() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert sorted(names) == sorted({field.name for field in fields(Metrics)} - COUNTS)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_every_metric_states_definition_source_and_peer(entry: object) -> None:
    for part in ("definition", "source", "peer"):
        text = getattr(entry, part)
        assert text.endswith("."), f"{part}: {text!r}"


def test_the_examples_against_self_deception_run(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.parent / "how-to" / "dont-fool-yourself.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})
    told = capsys.readouterr().out
    assert "deflated Sharpe ratio 0." in told
    assert "15 splits give 5 histories out of sample" in told


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
    sharpe, drawdown, hits = map(float, capsys.readouterr().out.split())
    assert sharpe > 0.0
    assert drawdown == 100_500.0 / 101_000.0 - 1.0
    assert hits == pytest.approx(2 / 3)
