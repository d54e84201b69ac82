"""`python -m tests.chaos`: break everything for some minutes and look at the books."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos import plan, report, session


def main() -> int:
    """Run one session; return 0 when the books are right."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--home", type=Path, default=None, help="where it runs; kept on failure")
    parser.add_argument("--plan", type=int, metavar="ROUNDS", help="print the plan and end")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    print(f"chaos: SEED={seed} MINUTES={given.minutes:g}")
    if given.plan is not None:
        for number, faults in enumerate(itertools.islice(plan.rounds(seed), given.plan), 1):
            print(f"round {number}: " + "; ".join(map(str, faults)))
        return 0
    home = given.home or Path(tempfile.mkdtemp(prefix="tradewind-chaos-"))
    outcome = session.run(
        home, seed, plan.rounds, minutes=given.minutes, callers=given.callers, say=_say
    )
    print("\n".join(report.lines(outcome)))
    if outcome.wrong:
        print(f"logs and books are kept: {home}")
        return 1
    if given.home is None:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def _say(text: str) -> None:
    print(f"{dt.datetime.now(dt.UTC):%H:%M:%S.%f}"[:-3] + f" {text}", flush=True)


sys.exit(main())
