"""Secrets that are kept encrypted in the database, for settings that nobody else gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
from pydantic import SecretStr

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.secrets.box import SecretBox
from libs.common.runtime.secrets.columns import STORED_SECRET

if TYPE_CHECKING:
    from libs.common.runtime.settings import ServiceSettings

S = TypeVar("S", bound="ServiceSettings")

BROKER: Final = ("broker_key", "broker_secret")
STORABLE: Final[Mapping[str, str]] = {
    "broker_key": "the broker's API key",
    "broker_secret": "the secret that belongs to it",
}
"""What may be stored, and what it is."""
WAYS: Final = (
    "give them by environment, by file (TRADEWIND_BROKER_KEY_FILE, TRADEWIND_BROKER_SECRET_FILE), "
    "by Vault (VAULT_ADDR), or store them encrypted (`tradewind secret set broker_key`, "
    "`tradewind secret set broker_secret`)"
)


def with_stored(settings: S, names: Sequence[str] = BROKER) -> S:
    """Return `settings` with those of `names` that are empty taken from the database.

    What is not stored either stays empty. Without keys of encrypted fields nothing is looked for.
    Raises UnavailableError where the database does not answer, UnreadableError for a value of
    another key.
    """
    missing = [name for name in names if not getattr(settings, name).get_secret_value()]
    if not missing or not settings.encryption_keys.get_secret_value():
        return settings
    box = SecretBox.of(settings)
    found = _read(settings, missing)
    plain = {
        name: SecretStr(box.decrypt(token, STORED_SECRET.purpose(name)).decode())
        for name, token in found.items()
    }
    return settings.model_copy(update=plain)


def _read(settings: ServiceSettings, names: Sequence[str]) -> Mapping[str, str]:
    scheme, _, rest = settings.database_url.get_secret_value().partition("://")
    timeout_s = max(2, round(settings.database_timeout_s))
    try:
        with psycopg.connect(
            f"{scheme.split('+')[0]}://{rest}",
            connect_timeout=timeout_s,
            options=f"-c statement_timeout={timeout_s * 1000}",
        ) as connection:
            rows = connection.execute(
                "SELECT name, ciphertext FROM stored_secrets WHERE name = ANY(%s)", (list(names),)
            ).fetchall()
    except psycopg.Error as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnavailableError(
            f"{' and '.join(names)}: not given, and the database, where they may be stored, "
            f"cannot be read: {first}"
        ) from error
    return dict(rows)
