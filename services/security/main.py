"""`security`: users, logins, sessions. `python -m services.security.main` runs it."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from libs.common.contracts.channels import SECURITY_KEY_USES
from libs.common.kernel.clock import Clock
from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener
from libs.common.runtime.rates import Rates, Streaks
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.secrets import SecretBox
from services.security import api, api_factors, api_users, key_api, secret_api
from services.security.events import Events
from services.security.first import FirstStart
from services.security.handlers import NAME, Desk
from services.security.key_handlers import KeyDesk, note_use
from services.security.key_store import PostgresKeyStore
from services.security.keyring import Keyring
from services.security.limits import LoginLimits
from services.security.passwords import Passwords
from services.security.proof import Prover
from services.security.secret_handlers import SecretDesk
from services.security.secret_store import PostgresSecretStore
from services.security.sessions import Sessions
from services.security.settings import SecuritySettings
from services.security.store import SecurityStore


def build(settings: SecuritySettings, clock: Clock | None = None) -> FastAPI:
    """Wire the service. Raises InvalidInputError without TRADEWIND_ENCRYPTION_KEYS.

    `clock` decides about lock-outs, codes and the life of tokens; None is the machine's.
    """
    # Who may come in does not depend on market time.
    runtime = Runtime.of(NAME, settings.model_copy(update={"clock_url": ""}))
    time = clock or runtime.clock
    box = SecretBox.of(settings)
    store, events, passwords = SecurityStore(runtime), Events(time), Passwords(settings)
    keyring = Keyring(store, box, time, events, settings, runtime.gate.authenticator.refresh)
    limits = LoginLimits(Rates(settings), Streaks(settings, settings.lock_out_s), settings)
    prover = Prover(store, passwords, limits, box, time, events, settings)
    desk = Desk(store, prover, Sessions(store, keyring, time, runtime.ids, events, settings))
    first = FirstStart(store, passwords, time, runtime.ids, events, settings)

    keys = KeyDesk(PostgresKeyStore(runtime, store), time, settings)

    async def stop() -> None:
        passwords.close()
        await limits.close()

    return create_app(
        runtime,
        routers=[
            api.router(desk, first),
            api_factors.router(desk),
            api_users.router(desk),
            key_api.router(keys),
            secret_api.router(SecretDesk(PostgresSecretStore(runtime, store), box, time)),
        ],
        listeners=[BroadcastListener(SECURITY_KEY_USES, partial(note_use, keys))],
        start=[keyring.load, first.run, passwords.warm_up],
        stop=[stop],
        tasks=[("signing keys", keyring.watch)],
    )


if __name__ == "__main__":
    run(NAME, SecuritySettings, build)
