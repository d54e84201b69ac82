"""Which faults strike, when and for how long: all of it from a seed.

A session is a row of rounds. In a round one to six faults strike, now and then at once; the
next round begins when the system has recovered and traded again. A round's faults depend on the
seed and the rounds before it alone, so a longer session begins like a shorter one of its seed.
What does not replay is how the faults meet the system: in the middle of which statement a process
is stopped is decided by the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SERVICES = (
    "strategy_engine",
    "risk_manager",
    "trade_executor",
    "data_collector",
    "portfolio",
    "audit",
    "monitoring",
    "backtester",
    "security",
    "broker_simulator",
)
SERVERS = ("postgres", "redis")
PARTS = (*SERVICES, *SERVERS, "gateway")
MONEY = ("strategy_engine", "risk_manager", "trade_executor")
"""Where an order is made; faults fall on these twice as often."""

LINKS = tuple(
    [(service, "postgres") for service in SERVICES if service != "broker_simulator"]
    + [(service, "redis") for service in SERVICES if service != "broker_simulator"]
    + [("trade_executor", "broker_simulator"), ("data_collector", "broker_simulator")]
    + [("trade_executor", "risk_manager")]
)


@dataclass(frozen=True)
class Fault:
    """One blow: what, on whom, how long after its round began, for how long, how hard."""

    kind: str
    target: str
    at_s: float
    lasts_s: float
    size: float = 0.0

    def __str__(self) -> str:
        """Return it as one line of the plan."""
        size = f" size {self.size:g}" if self.size else ""
        return f"{self.kind} {self.target} after {self.at_s:g} s for {self.lasts_s:g} s{size}"


@dataclass(frozen=True)
class Kind:
    """A kind of fault: whom it may hit, how long it lasts, how hard it is, how often it is dealt.

    `lasts_s` of (0, 0) is a blow from which the part must come back by itself.
    """

    name: str
    targets: Sequence[str]
    lasts_s: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (0.0, 0.0)
    cards: int = 1


def _link_names(*servers: str) -> tuple[str, ...]:
    return tuple(f"{a}>{b}" for a, b in LINKS if b in servers)


_WIRE = _link_names("postgres", "redis", "broker_simulator", "risk_manager")
_VENUE = ("broker_simulator",)

KINDS: Sequence[Kind] = (
    Kind("kill", (*PARTS, *MONEY), cards=11),
    Kind("pause", (*PARTS, *MONEY), (1, 20), cards=6),
    Kind("pg_immediate", ("postgres",), cards=2),
    Kind("pg_backend_kill", ("postgres",)),
    Kind("pg_terminate", MONEY, cards=2),
    Kind("pg_pause_all", ("postgres",), (1, 12)),
    Kind("redis_flush", ("redis",), cards=3),
    Kind("redis_clients", ("redis",)),
    Kind("redis_shutdown", ("redis",)),
    Kind("link_cut", _WIRE, (0.5, 8), cards=3),
    Kind("link_hole", _WIRE, (1, 15), cards=3),
    Kind("link_half", _WIRE, (1, 15), cards=3),
    Kind("link_slow", _WIRE, (2, 10), (0.05, 1.5), cards=2),
    Kind("disk_full", ("postgres",), (1, 10)),
    Kind("clock_jump", SERVICES, (3, 15), (-7200, 7200), cards=2),
    Kind("power_cut", ("everything",)),
    Kind("supervisor_kill", ("everything",)),
    Kind("venue_lost_answer", _VENUE, (3, 10), (0.2, 0.8)),
    Kind("venue_error_after", _VENUE, (3, 10), (0.2, 0.8)),
    Kind("venue_error_before", _VENUE, (3, 10), (0.2, 0.8)),
    Kind("venue_garbled_answer", _VENUE, (3, 10), (0.1, 0.6)),
    Kind("venue_drop_request", _VENUE, (3, 10), (0.2, 0.8)),
    Kind("venue_rate_limit", _VENUE, (3, 10), (0.3, 1.0)),
    Kind("venue_latency", _VENUE, (3, 10), (0.3, 1.0)),
    Kind("venue_duplicate", _VENUE, (3, 12), (0.3, 1.0)),
    Kind("venue_reorder", _VENUE, (3, 12), (0.3, 1.0)),
    Kind("venue_delay", _VENUE, (3, 12), (0.3, 1.0)),
    Kind("venue_missing", _VENUE, (3, 12), (0.2, 0.8)),
    Kind("venue_mute", _VENUE, (3, 15)),
    Kind("venue_unknown_field", _VENUE, (3, 10), (0.3, 1.0)),
    Kind("venue_unknown_status", _VENUE, (3, 10), (0.2, 0.6)),
    Kind("venue_missing_field", _VENUE, (3, 10), (0.1, 0.4)),
    Kind("venue_disconnect", _VENUE),
    Kind("venue_refuse", _VENUE, (1, 10)),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}

ROUND_MAX = 6

SHORT: Sequence[Sequence[str]] = (
    ("kill:trade_executor", "venue_lost_answer", "pg_immediate"),
    ("pause:trade_executor", "redis_flush", "kill:risk_manager", "venue_duplicate"),
    ("kill:redis", "link_half:trade_executor>broker_simulator", "kill:strategy_engine"),
    ("link_cut:trade_executor>postgres", "kill", "pause"),
)
"""The rounds of a short run: each kind that must not be missing, on random targets."""


def rounds(seed: int, without: frozenset[str] = frozenset()) -> Iterator[tuple[Fault, ...]]:
    """Yield the faults of each round, for ever.

    Kinds are dealt from a shuffled pack, so that each comes as often as it has cards. `without`
    leaves kinds away that the machine does not allow: with them gone it is another plan.
    """
    pack: list[str] = []
    number = 0
    while True:
        chance = random.Random(f"{seed}/{number}")
        number += 1
        if len(pack) < ROUND_MAX:
            fresh = [k.name for k in KINDS for _ in range(k.cards) if k.name not in without]
            chance.shuffle(fresh)
            pack = fresh + pack
        names = [pack.pop() for _ in range(chance.choice((1, 2, 4, 4, 5, ROUND_MAX)))]
        yield _round(chance, names)


def short_rounds(seed: int, without: frozenset[str] = frozenset()) -> Iterator[tuple[Fault, ...]]:
    """Yield the rounds of SHORT."""
    for number, wanted in enumerate(SHORT):
        chance = random.Random(f"{seed}/short/{number}")
        names = [name for name in wanted if name.partition(":")[0] not in without]
        yield _round(chance, names, hurry=True)


def _round(
    chance: random.Random, names: Sequence[str], *, hurry: bool = False
) -> tuple[Fault, ...]:
    together = chance.random() < 0.3
    at_s = chance.uniform(0.2, 2.0)
    lasts_s_max, gap_s_max = (3.0, 1.5) if hurry else (60.0, 4.0)
    faults = []
    for given in names:
        name, _, target = given.partition(":")
        kind = BY_NAME[name]
        faults.append(
            Fault(
                kind=name,
                target=target or chance.choice(kind.targets),
                at_s=round(at_s, 2),
                lasts_s=round(min(lasts_s_max, chance.uniform(*kind.lasts_s)), 2),
                size=round(chance.uniform(*kind.size), 2),
            )
        )
        at_s += 0.0 if together else chance.uniform(0.3, gap_s_max)
    return tuple(faults)
