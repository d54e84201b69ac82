"""Break everything during a session: nothing is lost, doubled or mispriced.

The short sister of `make chaos`: TRADEWIND_TEST_SEED replays its plan.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import plan, report, session

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(900)]

FAULTS_MIN = 12


def test_faults_of_every_sort_leave_the_books_equal_to_the_brokers(
    server_directory: Path, seed: int
) -> None:
    outcome = session.run(
        server_directory / "chaos", seed, plan.short_rounds, minutes=10, callers=2, say=print
    )
    print("\n".join(report.lines(outcome)))
    assert outcome.wrong == [], f"seed {seed}"
    assert outcome.faults >= FAULTS_MIN
