"""The outcome of a session as a table."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from tests.chaos.session import Outcome, Struck


def lines(outcome: Outcome) -> list[str]:
    """Return the report, line by line."""
    by_kind: defaultdict[str, list[Struck]] = defaultdict(list)
    for struck in outcome.struck:
        by_kind[struck.fault.kind].append(struck)
    table = ["", f"{'fault':<22}{'struck':>7}{'missed':>8}{'ready again p50':>17}{'max':>9}"]
    for kind, all_struck in sorted(by_kind.items()):
        hit = [s for s in all_struck if s.hit]
        times = [s.recovered_s for s in hit if s.recovered_s is not None]
        shown = f"{median(times):>15.1f} s{max(times):>7.1f} s" if times else f"{'-':>17}{'-':>9}"
        table.append(f"{kind:<22}{len(hit):>7}{len(all_struck) - len(hit):>8}{shown}")
    if outcome.recovered_s:
        middle, worst = median(outcome.recovered_s), max(outcome.recovered_s)
        table.append(f"{'a round':<22}{outcome.rounds:>7}{'':>8}{middle:>15.1f} s{worst:>7.1f} s")
    restarts = ", ".join(f"{k} {v}" for k, v in sorted(outcome.restarts.items()) if v)
    return [
        *table,
        "",
        f"faults {outcome.faults} in {outcome.rounds} rounds; "
        f"wishes {outcome.wishes}, cancels {outcome.cancels}; "
        f"at the broker: {outcome.orders} orders, {outcome.executions} executions",
        f"restarts since the last start of the supervisor: {restarts or 'none'}",
        *(f"note: {note}" for note in outcome.notes),
        *(f"logged {n} times: {what}" for what, n in sorted(outcome.exceptions.items())),
        *(f"WRONG: {wrong}" for wrong in outcome.wrong),
        "verdict: "
        + ("the books are right" if not outcome.wrong else f"{len(outcome.wrong)} things are wrong")
        + f" (seed {outcome.seed})",
    ]
