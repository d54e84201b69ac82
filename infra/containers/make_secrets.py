"""Make the secrets of the Compose stack, once, and lay each where only its reader can see it.

Runs as the first job of the stack with one volume a reader mounted under OUT. The volume `vault`
keeps the secrets themselves and is mounted by nobody else; the readers' files are written from it
at every start; with `--new-encryption-key` it puts a fresh key before those of encrypted fields
first. Files can be read by everybody inside a container, because each image runs as a
user of its own; what keeps them apart is that a container mounts its own volume only.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

OUT = Path("/out")
BYTES = 24
DATABASE = "postgres:5432/tradewind"
SERVICES = (
    "audit",
    "backtester",
    "broker_simulator",
    "data_collector",
    "monitoring",
    "portfolio",
    "risk_manager",
    "security",
    "strategy_engine",
    "trade_executor",
)
HEARS_THE_BROKER = ("broker_simulator", "data_collector", "trade_executor")
ENCRYPTS = ("audit", "data_collector", "security", "trade_executor")
"""Who keeps fields that are encrypted at rest, or reads such."""
ENCRYPTION_KEYS = "encryption_keys"
KEY_BYTES = 32
AUDIT_KEY = "audit_key"
"""The seed of the key that the audit log's anchors are signed with."""
SIGNERS = (*(name for name in SERVICES if name != "broker_simulator"), "operator")
"""Who signs tokens with a key of its own; `operator` is the person at the machine."""
NAMES = (
    *(f"database_{service}" for service in SERVICES),
    *(f"key_{signer}" for signer in SIGNERS),
    AUDIT_KEY,
    "broker_key",
    "broker_secret",
    ENCRYPTION_KEYS,
    "first_password",
    "gotify_admin",
    "grafana_admin",
    "postgres",
    "redis",
)
GOTIFY_USER = "tradewind"


def complete(known: Mapping[str, str]) -> dict[str, str]:
    """Return `known` with a fresh secret for every name that is missing."""
    return {**{name: fresh(name) for name in NAMES}, **known}


def fresh(name: str) -> str:
    """Return a new secret called `name`; a key of fields is 32 bytes in URL-safe base64, the seed
    of a signing key 64 hex digits."""
    if name in (AUDIT_KEY, ENCRYPTION_KEYS):
        return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    if name.startswith("key_"):
        return secrets.token_bytes(KEY_BYTES).hex()
    return secrets.token_urlsafe(BYTES)


def files(secret: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the files of every reader, by volume and name."""
    readers: dict[str, dict[str, str]] = {
        service: {
            "database_url": f"postgresql://{service}:{secret[f'database_{service}']}@{DATABASE}",
            "redis_url": f"redis://:{secret['redis']}@redis:6379/0",
        }
        for service in SERVICES
    }
    for service in HEARS_THE_BROKER:
        readers[service]["broker_key"] = secret["broker_key"]
        readers[service]["broker_secret"] = secret["broker_secret"]
    for service in readers.keys() & set(ENCRYPTS):
        readers[service][ENCRYPTION_KEYS] = secret[ENCRYPTION_KEYS]
    for service in readers.keys() & set(SIGNERS):
        readers[service]["service_key"] = secret[f"key_{service}"]
    readers["security"]["first_password"] = secret["first_password"]
    readers["audit"][AUDIT_KEY] = secret[AUDIT_KEY]
    roles = {f"role_{service}": secret[f"database_{service}"] for service in SERVICES}
    readers["migrate"] = {
        "database_url": f"postgresql://postgres:{secret['postgres']}@{DATABASE}",
        **roles,
        **{f"key_{signer}": secret[f"key_{signer}"] for signer in SIGNERS},
    }
    readers["postgres"] = {"password": secret["postgres"]}
    readers["redis"] = {
        "redis.conf": f'requirepass {secret["redis"]}\nsave ""\nappendonly no\n'
        "maxmemory 512mb\nmaxmemory-policy noeviction\n",
        "password": secret["redis"],
    }
    readers["grafana"] = {"admin_password": secret["grafana_admin"]}
    readers["gotify"] = {
        "config.yml": f"defaultuser:\n  name: {GOTIFY_USER}\n  pass: {secret['gotify_admin']}\n"
    }
    readers["gotify_token"] = {"admin_password": secret["gotify_admin"]}
    return readers


def write(path: Path, text: str, mode: int) -> None:
    """Replace `path` in one step."""
    partial = path.with_name(f".{path.name}")
    partial.unlink(missing_ok=True)
    partial.write_text(text)
    partial.chmod(mode)
    os.replace(partial, path)


def lay_out(out: Path, *, new_encryption_key: bool = False) -> int:
    """Complete the vault under `out` and write every reader's files; return how many readers.

    With `new_encryption_key` a fresh key comes before those that were there, which stay.
    """
    vault = out / "vault" / "secrets.json"
    known = json.loads(vault.read_text()) if vault.exists() else {}
    if new_encryption_key and ENCRYPTION_KEYS in known:
        known[ENCRYPTION_KEYS] = f"{fresh(ENCRYPTION_KEYS)},{known[ENCRYPTION_KEYS]}"
    secret = complete(known)
    write(vault, json.dumps(secret, indent=1) + "\n", 0o600)
    readers = files(secret)
    for reader, named in readers.items():
        for name, text in named.items():
            write(out / reader / name, text, 0o444)
    return len(readers)


def open_to_others(folder: Path) -> None:
    """Let a container that is not root write in the volume `folder`, which it alone mounts.

    A volume belongs to root where its image has no such folder, and this job may not give away
    what it owns.
    """
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def main() -> None:
    """Lay out the secrets of the stack."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--new-encryption-key", action="store_true")
    given = reader.parse_args()
    open_to_others(OUT / "gotify_data")
    readers = lay_out(OUT, new_encryption_key=given.new_encryption_key)
    print(f"secrets of {readers} readers are in place")


if __name__ == "__main__":
    main()
