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


def await_server(url: str, wait_s: float) -> None:
    """Return when Gotify answers, or after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=TIMEOUT_S):  # nosec B310 # Compose says it
                return
        except OSError:
            time.sleep(0.5)


def make_application(url: str, password: str) -> str:
    """Return the token of a new application; raises OSError or ValueError."""
    credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"{url}/application",
        data=json.dumps({"name": "Tradewind", "description": "Alerts"}).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # nosec B310 # as above
        token = json.load(answer).get("token")
    if not isinstance(token, str) or not token:
        raise ValueError("the answer holds no token")
    return token


def store_token(url: str, password_file: Path, token_file: Path, wait_s: float) -> None:
    """Make the application at `url` and store its token, unless that was done before."""
    if token_file.exists() and token_file.read_text().strip():
        print("the token is there already")
        return
    await_server(url, wait_s)
    try:
        token = make_application(url, password_file.read_text().strip())
    except (OSError, ValueError) as error:
        print(f"no token from {url}: {error}; monitoring will not notify")
        token = ""
    # Replaced, not rewritten: the file is read-only, and this job may not override that.
    partial = token_file.with_name(".token")
    partial.unlink(missing_ok=True)
    partial.write_text(token + "\n")
    partial.chmod(0o444)
    partial.replace(token_file)


def main() -> None:
    """Store the token of the stack's Gotify."""
    store_token(URL, PASSWORD_FILE, TOKEN_FILE, WAIT_S)


if __name__ == "__main__":
    main()
