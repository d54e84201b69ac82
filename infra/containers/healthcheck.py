"""Exit 0 if the service in this container says that it is ready, 1 with its reasons otherwise."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 3.0


def main() -> int:
    """Ask /ready."""
    url = f"http://127.0.0.1:{os.environ['TRADEWIND_PORT']}/ready"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # nosec B310 # ourselves
            return 0 if answer.status == 200 else 1
    except urllib.error.HTTPError as error:
        print(error.read(2000).decode(errors="replace"))
    except OSError as error:
        print(f"{url}: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
