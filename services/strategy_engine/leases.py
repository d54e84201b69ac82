"""Which replica runs which strategy: leases, and how they are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from libs.common.kernel.errors import TradewindError


class LeaseLostError(TradewindError):
    """Another replica runs the strategy by now; what was to be written is refused."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A strategy and who runs it. `holder` is None where nobody does, or a dead one did."""

    strategy_id: str
    holder: str | None
    url: str = ""


@dataclass
class Holdings:
    """The strategies that this replica runs, with the epochs that prove it."""

    epochs: Mapping[str, int] = field(default_factory=dict)

    def of(self, ids: Collection[str]) -> dict[str, int]:
        """Return the epochs of these strategies. Raises LeaseLostError if one is not ours."""
        try:
            return {strategy_id: self.epochs[strategy_id] for strategy_id in sorted(ids)}
        except KeyError as error:
            raise LeaseLostError(f"strategy {error} is not run by this replica") from error


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replica does about its leases: `take` what is free, `give` away by receiver."""

    take: tuple[str, ...] = ()
    give: Mapping[str, str] = field(default_factory=dict)


def spread(leases: Sequence[Lease], live: Collection[str], me: str) -> Plan:
    """Return what `me` takes and gives so that no live replica runs more than its share.

    The share is the number of strategies over the number of live replicas, rounded up. Free
    strategies are taken up to it; what is above it goes to whoever has least, one each in turn.
    With five strategies, `a` holding all and `b` new: `a` gives two.
    """
    share = -(-len(leases) // max(1, len(live)))
    counts = Counter(dict.fromkeys(live, 0))
    counts.update(lease.holder for lease in leases if lease.holder and lease.holder in live)
    mine = [lease.strategy_id for lease in leases if lease.holder == me]
    free = [lease.strategy_id for lease in leases if lease.holder is None]
    take = tuple(free[: max(0, share - len(mine))])
    give: dict[str, str] = {}
    for strategy_id in reversed(mine):
        receiver = min(sorted(counts), key=lambda replica: counts[replica], default=me)
        if counts[me] <= share or counts[receiver] >= share or receiver == me:
            break
        give[strategy_id] = receiver
        counts[me] -= 1
        counts[receiver] += 1
    return Plan(take, give)
