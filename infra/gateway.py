"""`python -m infra.gateway` writes the two gateway configurations from the routes."""

from __future__ import annotations

from pathlib import Path

from infra import caddy_config, nginx_config
from infra.routes import ROOT

NGINX_FILE = ROOT / "nginx" / "nginx.conf"
CADDY_FILE = ROOT / "infra" / "embedded" / "Caddyfile"


def files() -> dict[Path, str]:
    """Return what the two files should hold."""
    return {NGINX_FILE: nginx_config.render(), CADDY_FILE: caddy_config.render()}


def main() -> None:
    """Write both files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
