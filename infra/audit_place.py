"""Where the audit log of this installation is, for commands that read it without its service."""

from __future__ import annotations

import os

from infra.embedded import state
from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from infra.embedded.plan import DATABASE
from infra.embedded.ports import LOOPBACK
from libs.common.runtime.app import load_settings
from services.audit.settings import AuditSettings

_NAMED = ("TRADEWIND_DATABASE_URL", "TRADEWIND_DATABASE_URL_FILE")


def settings_here(home: Home) -> AuditSettings:
    """Return the settings of the audit log: the environment's where it names a database, else
    those of the embedded run of `home`. Raises EmbeddedError, and LookupError where none runs."""
    given = load_settings(AuditSettings)
    if any(os.environ.get(name) for name in _NAMED):
        return given
    running = state.read(home)
    if running is None:
        raise LookupError("nothing runs here, and TRADEWIND_DATABASE_URL names no database")
    credentials = Credentials(home)
    password = credentials.secret("database_audit")
    port = running.ports["postgres"]
    return given.model_copy(
        update={
            "database_url": type(given.database_url)(
                f"postgresql://audit:{password}@{LOOPBACK}:{port}/{DATABASE}"
            ),
            "audit_key": type(given.audit_key)(credentials.key("audit_key")),
            "audit_anchors": str(Home(home.root, running.books).anchors),
        }
    )
