"""Why a caller is turned away, as answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from libs.common.kernel.errors import TradewindError

GATE_CODES: Final = (
    "no-token", "malformed-token", "unknown-token-key", "wrong-signature", "expired-token",
    "revoked",
    "unknown-key", "expired-key", "key-network", "key-rate",
    "permission-denied", "wrong-account", "step-up-required",
)  # fmt: skip
"""Why a service's gate turns somebody away."""


class AccessError(TradewindError):
    """A refusal: `status` 401, 403 or 429, `code` as the problem's type names it."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def unauthenticated(code: str, detail: str) -> AccessError:
    """Return the refusal of a caller who has not proven who they are (RFC 6750, section 3)."""
    fault = "" if code == "no-token" else ', error="invalid_token"'
    return AccessError(401, code, detail, {"WWW-Authenticate": f'Bearer realm="tradewind"{fault}'})


def denied(code: str, detail: str) -> AccessError:
    """Return the refusal of a caller who is known and may not."""
    return AccessError(403, code, detail)
