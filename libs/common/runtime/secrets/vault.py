"""Secret settings from HashiCorp Vault: a key-value store of version 2, read once at start."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, SettingsError

TIMEOUT_S: Final = 5.0
MOUNT: Final = "secret"
PATH: Final = "tradewind"

_MEANINGS: Final[Mapping[str, str]] = {
    "VaultDown": "is sealed or standing by (503); unseal it, then start again",
    "Forbidden": "refuses permission (403): the token is wrong, has expired, or no policy of it "
    "allows this path",
    "Unauthorized": "does not know us (401)",
    "InvalidRequest": "calls the request invalid (400): a wrong role id or secret id looks so",
    "RateLimitExceeded": "rations requests (429)",
    "VaultNotInitialized": "is not initialised (501)",
    "BadGateway": "cannot be reached through its proxy (502)",
    "InternalServerError": "has an error of its own (500); its log says which",
}


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and who we are to it; the secrets are not shown in its `repr`."""

    address: str
    token: str = field(default="", repr=False)
    role_id: str = field(default="", repr=False)
    secret_id: str = field(default="", repr=False)
    namespace: str = ""
    ca_file: str = ""
    mount: str = MOUNT
    paths: tuple[str, ...] = (PATH,)
    timeout_s: float = TIMEOUT_S

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> VaultAccess | None:
        """Return what the environment says, None without VAULT_ADDR. Raises SettingsError."""
        address = environment.get("VAULT_ADDR", "").strip()
        if not address:
            return None
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise SettingsError("VAULT_ADDR: must be an address like https://vault:8200")
        paths = environment.get("TRADEWIND_VAULT_PATH", PATH).split(",")
        access = cls(
            address=address,
            token=_value(environment, "VAULT_TOKEN"),
            role_id=_value(environment, "VAULT_ROLE_ID"),
            secret_id=_value(environment, "VAULT_SECRET_ID"),
            namespace=environment.get("VAULT_NAMESPACE", ""),
            ca_file=environment.get("VAULT_CACERT", ""),
            mount=environment.get("TRADEWIND_VAULT_MOUNT", MOUNT).strip("/ "),
            paths=tuple(path.strip("/ ") for path in paths if path.strip("/ ")),
            timeout_s=_seconds(environment.get("TRADEWIND_VAULT_TIMEOUT_S", str(TIMEOUT_S))),
        )
        if not access.token and not (access.role_id and access.secret_id):
            raise SettingsError(
                "VAULT_ADDR is set, so VAULT_TOKEN (or VAULT_TOKEN_FILE), or VAULT_ROLE_ID with "
                "VAULT_SECRET_ID (or VAULT_SECRET_ID_FILE), must be set too"
            )
        if not access.mount or not access.paths:
            raise SettingsError("TRADEWIND_VAULT_MOUNT and TRADEWIND_VAULT_PATH must not be empty")
        if access.ca_file and not Path(access.ca_file).is_file():
            raise SettingsError(f"VAULT_CACERT: {access.ca_file}: no such file")
        return access


class VaultSource(PydanticBaseSettingsSource):
    """Values of secret fields that no earlier source gave, from the keys named like the fields.

    Asks Vault only where VAULT_ADDR is set and a secret is still missing. A key that Vault does
    not hold leaves the field to its default.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the fields are read together."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the secrets that Vault holds for us. Raises SettingsError."""
        wanted = {
            name
            for name, info in self.settings_cls.model_fields.items()
            if is_secret(info) and name not in self.current_state
        }
        if not wanted:
            return {}
        access = VaultAccess.of(os.environ)
        return {} if access is None else read_secrets(access, wanted)


def is_secret(info: FieldInfo) -> bool:
    """Tell whether a settings field holds a secret."""
    return info.annotation is SecretStr or SecretStr in getattr(info.annotation, "__args__", ())


def read_secrets(access: VaultAccess, wanted: set[str]) -> dict[str, str]:
    """Return what Vault holds of `wanted`, the first path that has a key winning.

    Raises SettingsError, which names server, path and reason and never shows a secret: not even as
    its cause, because the client's errors quote answers.
    """
    import hvac  # here: only who uses Vault pays for its client
    import requests
    from hvac.exceptions import InvalidPath, VaultError

    session = requests.Session()
    session.trust_env = False
    client = hvac.Client(
        url=access.address,
        token=access.token,
        verify=access.ca_file or True,
        timeout=access.timeout_s,
        namespace=access.namespace or None,
        session=session,
    )
    found: dict[str, str] = {}
    step = f"Vault at {access.address}"
    try:
        if not access.token:
            step = f"Vault at {access.address}, login of the AppRole"
            client.auth.approle.login(role_id=access.role_id, secret_id=access.secret_id)
        for path in access.paths:
            step = f"Vault at {access.address}, {access.mount}/{path}"
            answer = client.secrets.kv.v2.read_secret_version(
                path, mount_point=access.mount, raise_on_deleted_version=True
            )
            data = answer["data"]["data"]
            for name in wanted & data.keys() - found.keys():
                found[name] = _text(step, name, data[name])
    except InvalidPath:
        raise SettingsError(
            f"{step} does not exist (404), or its newest version is deleted; the mount must be a "
            "key-value store of version 2"
        ) from None
    except VaultError as error:
        meaning = _MEANINGS.get(type(error).__name__, f"refuses ({type(error).__name__})")
        raise SettingsError(f"{step} {meaning}") from None
    except requests.exceptions.SSLError:
        raise SettingsError(f"{step}: its certificate cannot be trusted; VAULT_CACERT?") from None
    except requests.exceptions.Timeout:
        raise SettingsError(f"{step} did not answer within {access.timeout_s:g} s") from None
    except requests.exceptions.RequestException as error:
        raise SettingsError(f"{step} cannot be reached ({type(error).__name__})") from None
    except (TypeError, KeyError, AttributeError):
        raise SettingsError(f"{step} does not answer as Vault does") from None
    finally:
        session.close()
    return found


def _text(step: str, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{step}: {name} is not text")
    return value


def _value(environment: Mapping[str, str], name: str) -> str:
    """Return a variable's value, or the content of the file that `<name>_FILE` names."""
    path = environment.get(f"{name}_FILE", "")
    if environment.get(name) or not path:
        return environment.get(name, "").strip()
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: {path}: {error.strerror}") from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 60:
        raise SettingsError("TRADEWIND_VAULT_TIMEOUT_S: must be above 0 and at most 60")
    return value
