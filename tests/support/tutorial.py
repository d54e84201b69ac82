"""The strategy of docs/tutorial.md, as a reader would copy it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def strategy_code() -> str:
    """Return the page's one Python block."""
    blocks: list[str] = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 1, f"{PAGE} has {len(blocks)} Python blocks"
    return blocks[0]
