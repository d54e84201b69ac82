"""Routes of one-time codes and recovery codes, under `/api/v1/auth`."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import Schema, answers
from services.security import own, totp
from services.security.api import SELF, caller_of, private, secret
from services.security.bodies import CodeBody, FullProofBody, ProofBody
from services.security.handlers import Desk
from services.security.shapes import EnrolmentShape, RecoveryCodesShape

PICTURE: Final[Schema] = {"type": "string", "format": "binary"}


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1/auth", tags=["auth"])

    @routes.post("/totp", dependencies=[SELF], responses=answers(EnrolmentShape, 404, 409))
    async def enrol(request: Request, wish: ProofBody) -> Response:
        """Begin to set up one-time codes: the secret, for an authenticator app."""
        made = await own.enrol(desk, principal(request), secret(wish.password), caller_of(request))
        return private({"secret": made.secret, "uri": made.uri})

    @routes.get(
        "/totp/qr.svg",
        dependencies=[SELF],
        response_class=Response,
        responses=answers(None, 404, 409, media={"image/svg+xml": PICTURE}),
    )
    async def qr_svg(request: Request) -> Response:
        """The QR code of the secret that waits to be confirmed."""
        waiting = await own.pending(desk, principal(request))
        return _picture(totp.qr_svg(waiting.uri), "image/svg+xml")

    @routes.get(
        "/totp/qr.png",
        dependencies=[SELF],
        response_class=Response,
        responses=answers(None, 404, 409, media={"image/png": PICTURE}),
    )
    async def qr_png(request: Request) -> Response:
        """The QR code of the secret that waits to be confirmed."""
        waiting = await own.pending(desk, principal(request))
        return _picture(totp.qr_png(waiting.uri), "image/png")

    @routes.post(
        "/totp/confirm", dependencies=[SELF], responses=answers(RecoveryCodesShape, 404, 409)
    )
    async def confirm(request: Request, wish: CodeBody) -> Response:
        """Turn on one-time codes by a first one; the recovery codes are shown this once."""
        codes = await own.confirm(desk, principal(request), wish.code, caller_of(request))
        return private({"recovery_codes": codes})

    @routes.post(
        "/totp/disable",
        status_code=204,
        dependencies=[SELF],
        responses=answers(None, 404, 409, status=204),
    )
    async def disable(request: Request, wish: FullProofBody) -> Response:
        """Turn off one-time codes."""
        who = principal(request)
        await own.disable(desk, who, secret(wish.password), wish.code, caller_of(request))
        return Response(status_code=204)

    @routes.post(
        "/recovery-codes", dependencies=[SELF], responses=answers(RecoveryCodesShape, 404, 409)
    )
    async def recovery_codes(request: Request, wish: FullProofBody) -> Response:
        """New recovery codes, shown this once; the old ones are void."""
        who = principal(request)
        codes = await own.renew_recovery(
            desk, who, secret(wish.password), wish.code, caller_of(request)
        )
        return private({"recovery_codes": codes})

    return routes


def _picture(data: bytes, kind: str) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=kind, headers=headers)
