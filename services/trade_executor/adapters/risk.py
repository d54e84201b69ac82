"""The risk manager over HTTP."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import httpx
import msgspec

from libs.common.contracts.risk_api import (
    AssessmentReply,
    AssessmentRequest,
    OrderFields,
    decode_reply,
)
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import OrderId
from libs.common.runtime.auth.service_tokens import ServiceTokens


class HttpRiskDesk:
    """Implements `RiskDesk`. One try: a judgement that is late is no judgement."""

    def __init__(
        self,
        url: str,
        account_id: str,
        clock: Clock,
        tokens: ServiceTokens,
        *,
        timeout_s: float,
        source: str = "manual",
    ) -> None:
        self._tokens = tokens
        self._source = source
        self._account_id = account_id
        self._clock = clock
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False)

    async def assess(
        self,
        request_id: UUID,
        fields: OrderFields,
        *,
        correlation_id: UUID,
        replaces: OrderId | None = None,
    ) -> AssessmentReply:
        """Return the verdict. Raises UnavailableError when it is away, late or unreadable."""
        request = AssessmentRequest(
            request_id=request_id,
            account_id=self._account_id,
            order=fields,
            source=self._source,
            replaces=replaces,
            correlation_id=correlation_id,
            deadline=self._clock.now() + dt.timedelta(seconds=self._timeout_s),
        )
        try:
            response = await self._http.post(
                "/api/v1/risk/assessments",
                content=request.model_dump_json(),
                headers={
                    "Content-Type": "application/json",
                    "X-Correlation-ID": str(correlation_id),
                    **self._tokens.headers(),
                },
            )
        except httpx.HTTPError as error:
            raise UnavailableError(f"risk manager: {error!r}") from error
        if response.status_code != httpx.codes.OK:
            raise UnavailableError(
                f"risk manager answered {response.status_code}: {response.text[:200]}"
            )
        try:
            return decode_reply(response.content)
        except msgspec.MsgspecError as error:
            raise UnavailableError(f"risk manager's answer cannot be read: {error}") from error

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()
