"""Make the application in Gotify that monitoring writes to, once, and store its token.

A Gotify that does not let us (another server behind the name) is no reason to keep the system
from starting: the token file then stays empty, and monitoring keeps its alerts to itself.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

URL = "http://gotify:80"
USER = "tradewind"
PASSWORD_FILE = Path("/run/secrets/admin_password")
TOKEN_FILE = Path("/out/token")
WAIT_S = 60.0
TIMEOUT_S = 5.0


def await_server() -> None:
    """Return when Gotify answers, or after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{URL}/health", timeout=TIMEOUT_S):
                return
        except OSError:
            time.sleep(0.5)


def make_application(password: str) -> str:
    """Return the token of a new application; raises OSError or ValueError."""
    credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"{URL}/application",
        data=json.dumps({"name": "Tradewind", "description": "Alerts"}).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        token = json.load(answer).get("token")
    if not isinstance(token, str) or not token:
        raise ValueError("the answer holds no token")
    return token


def main() -> None:
    """Make the application unless that was done before."""
    if TOKEN_FILE.exists() and TOKEN_FILE.read_text().strip():
        print("the token is there already")
        return
    await_server()
    try:
        token = make_application(PASSWORD_FILE.read_text().strip())
    except (OSError, ValueError) as error:
        print(f"no token from {URL}: {error}; monitoring will not notify")
        token = ""
    TOKEN_FILE.write_text(token + "\n")
    TOKEN_FILE.chmod(0o444)


if __name__ == "__main__":
    main()
