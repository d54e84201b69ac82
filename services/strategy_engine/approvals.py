"""Going live needs a second person: as a proposal first, carried out once somebody has agreed."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import Request

from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.errors import ConflictError
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.four_eyes import FourEyes, Proposal, Wish
from services.strategy_engine.configuration import (
    Change,
    Configuration,
    NewStrategy,
    changed,
)
from services.strategy_engine.configurator import Configurator, check_strategy
from services.strategy_engine.engine import Engine
from services.strategy_engine.roster import Member

CHANGE: Final = "go_live"
ADD: Final = "add_live"


class Approvals:
    """Turns what would trade and did not before into proposals."""

    def __init__(self, engine: Engine, configurator: Configurator, eyes: FourEyes) -> None:
        self.eyes = eyes
        self._engine = engine
        self._configurator = configurator
        eyes.carries_out(CHANGE, self._change)
        eyes.carries_out(ADD, self._add)

    async def of_change(
        self, strategy_id: str, change: Change, who: Principal, story: UUID
    ) -> Proposal | None:
        """Return the proposal that going live has become, None where the change may be made at
        once. Raises NotFoundError, AccessError."""
        before = self._engine.member(strategy_id).configuration
        if trades(before) or not trades(changed(before, change)):
            return None
        body = {
            "strategy_id": strategy_id,
            "change": change.model_dump(mode="json", exclude_none=True),
            "basis": basis_of(before),
        }
        summary = f"strategy {strategy_id} goes live"
        return await self.eyes.wish(Wish(CHANGE, body, summary, "going live"), who, story)

    async def of_new(self, new: NewStrategy, who: Principal, story: UUID) -> Proposal | None:
        """Return the proposal that adding a live strategy has become, None for one in shadow."""
        if new.mode is not StrategyMode.LIVE:
            return None
        check_strategy(self._engine.roster.registry, new.class_name, new.params)
        body = {"new": new.model_dump(mode="json")}
        summary = f"strategy {new.id} ({new.class_name}) is added live"
        return await self.eyes.wish(Wish(ADD, body, summary, "going live"), who, story)

    async def strategy_of(self, request: Request) -> str | None:
        """Return the strategy that a request about a proposal is about in the end."""
        try:
            proposal_id = UUID(request.path_params.get("proposal_id", ""))
        except ValueError:
            return None
        proposal = await self.eyes.find(proposal_id)
        if proposal is None:
            return None
        strategy_id: str | None = proposal.body.get("strategy_id")
        return strategy_id

    async def _change(self, proposal: Proposal, story: UUID) -> None:
        body = proposal.body

        def unchanged(before: Configuration) -> None:
            if basis_of(before) != body["basis"]:
                raise ConflictError(f"{before.id} was changed since; propose it again")

        await self._configurator.change(
            body["strategy_id"],
            Change.model_validate(body["change"]),
            story,
            actor=proposal.actors,
            check=unchanged,
        )

    async def _add(self, proposal: Proposal, story: UUID) -> Member:
        new = NewStrategy.model_validate(proposal.body["new"])
        return await self._configurator.add(new, story, actor=proposal.actors)


def trades(configuration: Configuration) -> bool:
    """Tell whether a strategy's signals are traded."""
    return configuration.enabled and configuration.mode is StrategyMode.LIVE


def basis_of(configuration: Configuration) -> dict[str, str]:
    """Return what somebody agrees to when a strategy goes live, as text."""
    return {
        "class_name": configuration.class_name,
        "version_hash": configuration.version_hash,
        "params": str(sorted(configuration.params.items())),
        "universe": ",".join(configuration.universe),
        "timeframe": configuration.timeframe.value,
        "weight": str(configuration.weight),
        "mode": configuration.mode.value,
        "enabled": str(configuration.enabled),
        "limits": str(configuration.limits),
    }
