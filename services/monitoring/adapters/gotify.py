"""Gotify: a message on the phone, through the package `gotify`."""

from __future__ import annotations

import asyncio
from typing import Final

import gotify
import httpx

from libs.common.domain.vocabulary import Level
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from services.monitoring.ports import Parcel

# Gotify's Android application: 4 to 7 makes a sound, 8 and more stays on the screen.
PRIORITIES: Final = {Level.INFO: 1, Level.WARNING: 4, Level.ERROR: 7, Level.CRITICAL: 10}
_PASSING: Final = frozenset({408, 425, 429})


class GotifyMessenger:
    """Sends to one application of a Gotify server; `timeout_s` bounds the whole exchange."""

    name = "gotify"

    def __init__(self, url: str, token: str, timeout_s: float) -> None:
        self._client = gotify.AsyncGotify(base_url=url, app_token=token)
        self._timeout_s = timeout_s

    async def send(self, parcel: Parcel) -> None:
        """Deliver. Raises UnavailableError to be tried again, InvalidInputError if refused."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.create_message(
                    parcel.message,
                    title=f"{parcel.level.value}: {parcel.title}",
                    priority=PRIORITIES[parcel.level],
                )
        except gotify.GotifyError as error:
            status = error.response.status_code
            text = f"gotify answered {status}: {error}"
            if status < 500 and status not in _PASSING:
                raise InvalidInputError(text) from error
            raise UnavailableError(text) from error
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"gotify is not there: {reason}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInputError(f"TRADEWIND_GOTIFY_URL: {error}") from error
        except ValueError as error:
            # The package reads every error as JSON; a proxy in between may answer with a page.
            raise UnavailableError(f"gotify answered with something else: {error}") from error
