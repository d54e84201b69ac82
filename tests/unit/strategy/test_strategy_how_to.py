"""The strategy of docs/how-to/write-a-strategy.md loads and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner
from libs.common.strategy.loader import load_file
from libs.common.strategy.trial import try_out

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "write-a-strategy.md"


def test_the_example_of_the_page_is_a_working_strategy(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    path = tmp_path / "breakout.py"
    path.write_text(code[1], encoding="utf-8")
    (loaded,) = load_file(path)
    bars = np.zeros(7, BAR)
    bars["close"] = [1.0, 2.0, 1.5, 2.5, 2.2, 0.5, 0.6]
    targets = Runner(loaded.definition, {"window": 3}).run(bars).decisions["target"]
    # Windows before the bar: (1, 2, 1.5) < 2.5; (2, 1.5, 2.5) holds 2.2; (1.5, 2.5, 2.2) > 0.5.
    assert np.array_equal(targets, [np.nan] * 3 + [1.0, 1.0, 0.0, 0.0], equal_nan=True)


HEAD = """
import ta
import numpy as np
import pytest
from typing import Any
from libs.common.quant.indicators import ema, ema_state
from libs.common.strategy import CrossStrategy, PythonStrategy, Strategy, number
from libs.common.strategy.python import Bar, Decision
"""


@pytest.mark.parametrize("name", ["pullback", "halves", "oversold"])
def test_the_other_kinds_of_the_page_pass_their_trial(tmp_path: Path, name: str) -> None:
    blocks = re.findall(r"```python\n(class .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if block.startswith(f"class {name.capitalize()}")]
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + block, encoding="utf-8")
    (loaded,) = load_file(path)
    tried = try_out(loaded, lambda ts: None)
    assert tried.name == name
    assert tried.signals > 0
