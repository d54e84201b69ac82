"""What a service needs to admit API keys: the keys, their rates, and word of their use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Self

from libs.common.contracts.channels import SECURITY_KEY_USES
from libs.common.contracts.envelope import seal
from libs.common.contracts.messages import KeyUse
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.auth.key_store import read_keys
from libs.common.runtime.auth.key_uses import KeyUses
from libs.common.runtime.auth.keys import ApiKeys
from libs.common.runtime.bus import Bus
from libs.common.runtime.database import Database
from libs.common.runtime.rates import Rates
from libs.common.runtime.settings import ServiceSettings


@dataclass(frozen=True)
class KeyAccess:
    """The desk where keys are checked and what stands behind it. Making one opens no connection."""

    desk: ApiKeys
    uses: KeyUses
    rates: Rates

    @classmethod
    def of(
        cls,
        name: str,
        settings: ServiceSettings,
        *,
        database: Database,
        bus: Bus,
        clock: Clock,
        ids: IdSource,
    ) -> Self:
        """Return what service `name` needs."""

        async def tell(use: KeyUse) -> None:
            envelope = seal(
                use,
                message_id=ids.new(),
                ts_ns=clock.now_ns(),
                source=name,
                correlation_id=ids.new(),
            )
            await bus.broadcast(SECURITY_KEY_USES, envelope)

        uses, rates = KeyUses(tell, settings.key_uses_s), Rates(settings)
        desk = ApiKeys(partial(read_keys, database), rates, clock, uses.note)
        return cls(desk, uses, rates)

    async def run(self) -> None:
        """Keep the keys fresh and tell of their use; runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.desk.watch(), name="API keys")
            group.create_task(self.uses.run(), name="uses of API keys")

    async def close(self) -> None:
        """Tell the last uses and close the connections."""
        await self.uses.flush()
        await self.rates.close()
