"""What the running stack lets in and out, and what its containers may do."""

from __future__ import annotations

import http.client
import re
import urllib.error
from typing import Final

from infra.compose_check.conditions import JOBS
from infra.compose_check.stack import Stack
from infra.embedded.ports import LOOPBACK
from infra.routes import PORTS

CLOSED: Final = ("/metrics", "/docs", "/openapi.json", "/ready", "/sim/clock", "/api/v1/query")
NO_ADDRESS_OF_OURS: Final = "192.0.2.1"
"""RFC 5737: where a way out exists, a connection to it is silent; where none does, impossible."""
TRY: Final = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(target, "answers")
    except TimeoutError:
        print(target, "is not answered, but sent")
    except OSError:
        pass
"""
UNREACHABLE: Final = {
    "broker_simulator": ("gateway:8443", "grafana:3000", "gotify:80"),
    "trade_executor": ("grafana:3000", "gotify:80"),
    "monitoring": ("grafana:3000",),
}
"""Examples of who shares no network with whom."""


def wide_open(stack: Stack) -> str:
    """Return what is published beside the gateway, or not on the loopback interface."""
    rows = stack.compose("ps", "--format", "{{.Service}} {{.Ports}}").splitlines()
    return ", ".join(
        f"{service} {address}"
        for service, _, ports in (row.partition(" ") for row in rows)
        for address in re.findall(r"(\S+):\d+->", ports)
        if service != "gateway" or address != LOOPBACK
    )


def loose(stack: Stack) -> str:
    """Return which containers have rights, by the engine's own account, that they are not to."""
    complaints = []
    for name, facts in stack.inspected().items():
        user, host = facts["Config"]["User"], facts["HostConfig"]
        if user.split(":")[0] in ("", "0", "root") and name not in JOBS:
            complaints.append(f"{name} runs as root")
        if not host["ReadonlyRootfs"]:
            complaints.append(f"{name} can write its root file system")
        if host["CapDrop"] != ["ALL"] or host["CapAdd"] or host["Privileged"]:
            complaints.append(f"{name} has capabilities")
        if "no-new-privileges:true" not in (host["SecurityOpt"] or []):
            complaints.append(f"{name} may gain privileges")
        if not host["Memory"] or not host["PidsLimit"]:
            complaints.append(f"{name} has no limits")
    return ", ".join(complaints)


def reachable(stack: Stack) -> str:
    """Return to whom connections are possible that there should not be, outwards included."""
    complaints = []
    for name in PORTS:
        targets = (*UNREACHABLE.get(name, ()), f"{NO_ADDRESS_OF_OURS}:443")
        said = stack.compose("exec", "-T", name, "python", "-c", TRY, *targets)
        complaints += [f"from {name}: {line}" for line in said.splitlines()]
    return ", ".join(complaints)


def unhardened(stack: Stack) -> str:
    """Return a complaint unless HTTP leads to HTTPS and what must not be reached is not."""
    connection = http.client.HTTPConnection(LOOPBACK, stack.plain_port, timeout=10)
    connection.request("GET", "/api/v1/orders?limit=1")
    answer = connection.getresponse()
    leads_to = answer.getheader("Location")
    connection.close()
    wanted = f"https://{LOOPBACK}:{stack.port}/api/v1/orders?limit=1"
    if answer.status != 308 or leads_to != wanted:
        return f"HTTP answers {answer.status} {leads_to}"
    for path in CLOSED:
        try:
            stack.get(path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue
            return f"{path} answers {error.code}"
        return f"{path} is open"
    return ""
