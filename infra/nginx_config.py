"""Nginx's configuration, rendered from the routes."""

from __future__ import annotations

from collections.abc import Callable

from infra.routes import (
    ANSWER_TIMEOUT_S,
    BODY_BYTES_MAX,
    CONNECT_TIMEOUT_S,
    CORRELATION_PATTERN,
    HEALTH,
    INSTANCE_PATTERN,
    PORTS,
    ROUTES,
    TITLES,
    Route,
    problem,
)

LISTEN = "8080"
DOCKER_RESOLVER = "127.0.0.11"


def render(
    *,
    listen: str = LISTEN,
    resolver: str = DOCKER_RESOLVER,
    upstream: Callable[[Route], str] = lambda route: f"{route.service}:{PORTS[route.service]}",
    directory: str = "/tmp",
) -> str:
    """Return nginx.conf. Names are resolved at each request: a service may come and go."""
    locations = "\n".join(_location(route, upstream(route)) for route in ROUTES)
    errors = "\n".join(_error(status) for status in TITLES)
    return f"""\
# Rendered by `python -m infra.gateway`; change infra/routes.py, not this file.
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 1024;
}}

http {{
    server_tokens off;
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    resolver {resolver} valid=5s ipv6=off;
    resolver_timeout {CONNECT_TIMEOUT_S}s;

    map $http_x_correlation_id $correlation_id {{
        "~^{CORRELATION_PATTERN}$" $http_x_correlation_id;
        default $request_id;
    }}

    map $request_uri $instance {{
        "~^(?<fit>{INSTANCE_PATTERN})" $fit;
        default "/";
    }}

    server {{
        listen {listen};
        client_max_body_size {BODY_BYTES_MAX};
        client_body_timeout {ANSWER_TIMEOUT_S}s;
        client_header_timeout {ANSWER_TIMEOUT_S}s;

        proxy_http_version 1.1;
        proxy_connect_timeout {CONNECT_TIMEOUT_S}s;
        proxy_read_timeout {ANSWER_TIMEOUT_S}s;
        proxy_send_timeout {ANSWER_TIMEOUT_S}s;
        proxy_next_upstream off;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Correlation-ID $correlation_id;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;

{errors}

        location = {HEALTH} {{
            default_type application/json;
            add_header X-Content-Type-Options nosniff always;
            return 200 '{{"status":"ok","service":"gateway"}}';
        }}
{locations}
        location / {{
            return 404;
        }}
    }}
}}
"""


def _location(route: Route, upstream: str) -> str:
    return f"""
        location ~ ^{route.path}(/|$) {{
            set $upstream {upstream};
            proxy_pass http://$upstream;
            add_header X-Content-Type-Options nosniff always;
        }}
"""


def _error(status: int) -> str:
    return f"""\
        error_page {status} @problem_{status};
        location @problem_{status} {{
            default_type application/problem+json;
            add_header X-Correlation-ID $correlation_id always;
            add_header X-Content-Type-Options nosniff always;
            return {status} '{problem(status, "$instance", "$correlation_id")}';
        }}"""
