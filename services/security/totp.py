"""Time-based one-time passwords (RFC 6238): six digits, 30 s, one step to either side."""

from __future__ import annotations

import datetime as dt
import hmac
import io
import re
from typing import Final

import pyotp
import segno

STEP_S: Final = 30
WINDOW: Final = 1
_DIGITS: Final = re.compile(r"\d{6}\Z", re.ASCII)


def fresh_secret() -> str:
    """Return a new secret: 160 random bits in base32."""
    return pyotp.random_base32()


def enrolment_uri(secret: str, user: str, issuer: str) -> str:
    """Return the `otpauth://` address that an authenticator app reads."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=issuer)


def looks_like_code(text: str) -> bool:
    """Tell whether `text` can be a one-time password at all; if not it may be a recovery code."""
    return _DIGITS.match(text) is not None


def accepted_step(secret: str, code: str, now: dt.datetime, last_step: int | None) -> int | None:
    """Return the step that `code` belongs to, None if it is wrong or was used.

    A step at or before `last_step` is never accepted: a code that somebody saw typed is worth
    nothing (RFC 6238, section 5.2). Every step of the window is computed, whichever matches.
    """
    totp = pyotp.TOTP(secret)
    present = int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - WINDOW, present + WINDOW + 1):
        right = hmac.compare_digest(totp.generate_otp(step), code)
        if right and (last_step is None or step > last_step):
            found = step
    return found


def qr_svg(uri: str) -> bytes:
    """Return the QR code of `uri` as an SVG document."""
    return _drawn(uri, "svg")


def qr_png(uri: str) -> bytes:
    """Return the QR code of `uri` as a PNG picture."""
    return _drawn(uri, "png")


def _drawn(uri: str, kind: str) -> bytes:
    out = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(out, kind=kind, scale=5, border=4)
    return out.getvalue()
