"""`make sim`: play sessions; a failing seed is printed with the command that replays it.

Of many, every second session has an executor that looks after protections."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter

from tests.simulation.session import Outcome, play

STEPS = 40


def main() -> int:
    """Play one seed, many, or for minutes; 1 if any failed."""
    reader = argparse.ArgumentParser(prog="make sim", description=__doc__)
    reader.add_argument("--seed", type=int, help="the one seed, or the first of many")
    reader.add_argument("--steps", type=int, default=STEPS, help="what is done in a session")
    reader.add_argument("--seeds", type=int, help="how many, from --seed on")
    reader.add_argument("--minutes", type=float, help="for how long, from --seed on")
    reader.add_argument("--guarded", action="store_true", help="the executor guards positions")
    reader.add_argument("--lines", type=int, default=120, help="how much of a failure is shown")
    options = reader.parse_args()
    many = options.seeds is not None or options.minutes is not None or options.seed is None
    first = options.seed if options.seed is not None else time.time_ns() % 10**9
    if not many:
        outcome = play(first, options.steps, guarded=options.guarded)
        show(outcome, options.steps, options.lines, always=True)
        return int(outcome.violation is not None)
    seeds = options.seeds if options.seeds is not None else 10**9 if options.minutes else 200
    return play_many(
        first, seeds, options.steps, options.minutes, options.lines, guarded=options.guarded
    )


def play_many(
    first: int, seeds: int, steps: int, minutes: float | None, lines: int, *, guarded: bool
) -> int:
    """Play seeds one after the other; tells how many a minute of CPU."""
    print(f"seeds from {first}, {steps} steps each", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    failed: list[int] = []
    seen: Counter[str] = Counter()
    played = 0
    # What a session leaves behind hangs together in rings; they are collected between sessions.
    gc.collect()
    gc.freeze()
    gc.disable()
    while played < seeds and (minutes is None or time.monotonic() - began < minutes * 60):
        outcome = play(first + played, steps, guarded=guarded or played % 2 == 1)
        played += 1
        seen.update(outcome.counts)
        if outcome.violation is not None:
            failed.append(outcome.seed)
            show(outcome, steps, lines)
        if played % 50 == 0:
            gc.collect()
    spent = time.process_time() - cpu
    print(f"{played} sessions, {played / spent * 60:.0f} a minute of CPU; {len(failed)} failed"
          + (f": {failed}" if failed else ""))  # fmt: skip
    told = ", ".join(f"{name} {seen[name]}" for name in sorted(seen) if not name.startswith("log."))
    print(f"in them: {told}")
    return int(bool(failed))


def show(outcome: Outcome, steps: int, lines: int, *, always: bool = False) -> None:
    """Print how a session ended."""
    if outcome.violation is None and not always:
        return
    print(f"\nseed {outcome.seed}: {outcome.violation or 'every invariant held'}")
    print(f"  {outcome.virtual_s:.1f} s of virtual time, {outcome.handles} turns, "
          f"digest {outcome.digest}")  # fmt: skip
    print(f"  weather: {outcome.weather}")
    if outcome.violation is not None:
        print("\n".join(outcome.lines[-lines:]))
        guarded = " GUARDED=1" if outcome.guarded else ""
        print(f"replay: make sim SEED={outcome.seed} STEPS={steps}{guarded}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
