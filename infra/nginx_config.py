"""Nginx's configuration, rendered from the routes and the policy.

`render` is the file that is committed; `settings` is the small file beside it that holds what an
installation chooses, written by the job `certificate` where the stack starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from infra.gateway_policy import (
    CACHING,
    CIPHERS_12,
    CROSS_ORIGIN,
    FORWARDED,
    GOTIFY_POLICY,
    HEADERS,
    METHODS,
    ODD_PATH,
    PAGE_POLICY,
    PLAIN_PATH,
    STRICT_TRANSPORT,
    Limits,
    Rates,
    milliseconds,
)
from infra.routes import (
    CORRELATION_PATTERN,
    HEALTH,
    INSTANCE_PATTERN,
    PORTS,
    ROUTES,
    TITLES,
    Route,
    problem,
)

LISTEN = "8443 ssl"
LISTEN_PLAIN = "8080"
DOCKER_RESOLVER = "127.0.0.11"
SECRETS = "/run/secrets"
BOARDS = {"grafana": "grafana:3000", "gotify": "gotify:80"}
INNER = {400: 470, 431: 494, 505: 475}
"""By which number Nginx finds the page of a refusal. 494 is its own for a header too large; for 400
and 505 ours, because what it calls so itself has no path yet, without which there are no pages."""


def settings(
    *, names: Sequence[str], https_port: int, allow_tls_12: bool, rates: Rates | None = None
) -> str:
    """Return what an installation chooses: its names, the port clients see, TLS 1.2, rates."""
    rates = rates or Rates()
    hosts = "\n".join(f'    "{_host(name)}" 1;' for name in names)
    protocols = "TLSv1.2 TLSv1.3" if allow_tls_12 else "TLSv1.3"
    return f"""\
ssl_protocols {protocols};
map $host $known_host {{
    hostnames;
    default 0;
{hosts}
}}
map $host $https_port {{
    default {https_port};
}}
limit_req_zone $binary_remote_addr zone=address:2m rate={rates.requests_per_second}r/s;
limit_req_zone $caller zone=caller:2m rate={rates.caller_requests_per_second}r/s;
limit_req_zone $binary_remote_addr zone=login:1m rate={rates.logins_per_minute}r/m;
"""


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def render(
    *,
    listen: str = LISTEN,
    listen_plain: str = LISTEN_PLAIN,
    resolver: str = DOCKER_RESOLVER,
    upstream: Callable[[Route], str] = lambda route: f"{route.service}:{PORTS[route.service]}",
    directory: str = "/tmp",  # nosec B108 # a tmpfs of its own container
    secrets: str = SECRETS,
    routes: Sequence[Route] = ROUTES,
    limits: Limits | None = None,
) -> str:
    """Return nginx.conf. Names are resolved at each request: a service may come and go."""
    limits = limits or Limits()
    return f"""\
# Rendered by `python -m infra.gateway`; change infra/routes.py, not this file.
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;

events {{
    worker_connections 2048;
}}

http {{
    server_tokens off;
    absolute_redirect off;
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    resolver {resolver} valid=5s ipv6=off;
    resolver_timeout {milliseconds(limits.connect_s)};

{_maps()}
    include {secrets}/gateway.conf;
    limit_conn_zone $binary_remote_addr zone=at_once:2m;
    limit_req_status 429;
    limit_conn_status 429;

    client_header_timeout {milliseconds(limits.header_s)};
    client_body_timeout {milliseconds(limits.body_s)};
    send_timeout {milliseconds(limits.send_s)};
    keepalive_timeout {milliseconds(limits.idle_s)};
    keepalive_requests 100000;
    reset_timedout_connection on;
    client_header_buffer_size 2k;
    large_client_header_buffers 2 {limits.header_bytes};
    client_max_body_size {limits.body_bytes};

    ssl_certificate {secrets}/tls.crt;
    ssl_certificate_key {secrets}/tls.key;
    ssl_ciphers {":".join(CIPHERS_12)};
    ssl_session_cache shared:tls:4m;
    ssl_session_timeout 1h;
    ssl_session_tickets off;
    ssl_early_data off;

{_headers()}
    # Over HTTP there is one answer: where HTTPS is.
    server {{
        listen {listen_plain};
{_unset()}        if ($known_host = 0) {{
            return 421;
        }}
        return 308 https://$host:$https_port$request_uri;
    }}

    server {{
        listen {listen};
        limit_req zone=address burst={limits.requests_burst} nodelay;
        limit_req zone=caller burst={limits.caller_requests_burst} nodelay;
        limit_conn at_once {limits.at_once};

        proxy_http_version 1.1;
        proxy_connect_timeout {milliseconds(limits.connect_s)};
        proxy_read_timeout {milliseconds(limits.answer_s)};
        proxy_send_timeout {milliseconds(limits.answer_s)};
        proxy_next_upstream off;
        proxy_redirect off;
        proxy_set_header Host $http_host;
        proxy_set_header Connection $upgrade_connection;
        proxy_set_header Upgrade $upgrade;
        proxy_set_header X-Correlation-ID $correlation_id;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
{_lines(f"proxy_set_header {name} {quote('')};" for name in FORWARDED)}
{_lines(f"proxy_hide_header {name};" for name in (*HEADERS, *CROSS_ORIGIN))}
        proxy_hide_header Strict-Transport-Security;
        proxy_hide_header X-Powered-By;

        set $upgrade "";
        set $upgrade_connection "";
{_unset()}
{"".join(_error(status) for status in TITLES)}
        if ($known_host = 0) {{
            return 421;
        }}
        if ($server_protocol != HTTP/1.1) {{
            return {INNER[505]};
        }}
        if ($names_a_host) {{
            return {INNER[400]};
        }}
        if ($odd_path) {{
            return {INNER[400]};
        }}
        if ($request_method !~ ^({"|".join(METHODS)})$) {{
            return 405;
        }}
        if ($foreign_origin) {{
            return 403;
        }}

        location = {HEALTH} {{
            default_type application/json;
            return 200 '{{"status":"ok","service":"gateway"}}';
        }}
{"".join(_locations(route, upstream(route), limits) for route in routes)}
{_boards(limits)}
        location / {{
            return 404;
        }}
    }}
}}
"""


def quote(text: str) -> str:
    """Return `text` as Nginx reads it back."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(lines: Iterable[str], indent: int = 8) -> str:
    return "\n".join(" " * indent + line for line in lines)


def _maps() -> str:
    return f"""\
    map $http_x_correlation_id $correlation_id {{
        "~^{CORRELATION_PATTERN}$" $http_x_correlation_id;
        default $request_id;
    }}

    map $request_uri $instance {{
        "~^(?<fit>{INSTANCE_PATTERN})" $fit;
        default "/";
    }}

    map $request_uri $odd_path {{
        {quote("~" + ODD_PATH)} 1;
        {quote("~" + PLAIN_PATH)} 0;
        default 1;
    }}

    map $request $names_a_host {{
        "~^[^ ]+ /" 0;
        default 1;
    }}

    # A page may ask where it came from; what is no page tells no origin.
    map "$http_origin|https://$http_host" $foreign_origin {{
        "~^\\|" 0;
        "~^(?<origin>[^|]+)\\|\\k<origin>$" 0;
        default 1;
    }}

    map $http_upgrade $websocket {{
        "~*^websocket$" websocket;
        default "";
    }}

    map $http_upgrade $websocket_connection {{
        "~*^websocket$" upgrade;
        default "";
    }}

    # The end of a token is its signature, the end of a key its secret: either tells it apart.
    map "$http_authorization$http_x_api_key" $caller {{
        "~(?<end>.{{16,43}})$" $end;
        default "";
    }}

    map $host $strict_transport {{
        localhost "";
        default "{STRICT_TRANSPORT}";
    }}

    # What a service says of its own pages stands.
    map $upstream_http_content_security_policy $policy {{
        "" $page_policy;
        default "";
    }}

    map $upstream_http_cache_control $caching {{
        "" {CACHING};
        default "";
    }}
"""


def _unset() -> str:
    """Return what the headers' variables begin with."""
    return f"""\
        set $error_id "";
        set $retry_after "";
        set $allow "";
        set $page_policy "{PAGE_POLICY}";
"""


def _headers() -> str:
    fixed = [f'add_header {name} "{value}" always;' for name, value in HEADERS.items()]
    variable = [
        "add_header Strict-Transport-Security $strict_transport always;",
        "add_header Content-Security-Policy $policy always;",
        "add_header Cache-Control $caching always;",
        "add_header X-Correlation-ID $error_id always;",
        "add_header Retry-After $retry_after always;",
        "add_header Allow $allow always;",
    ]
    return _lines([*fixed, *variable], 4) + "\n"


def _locations(route: Route, upstream: str, limits: Limits) -> str:
    streams = "".join(
        f"""
        location ~ ^{route.path}{pattern}$ {{
            set $upgrade $websocket;
            set $upgrade_connection $websocket_connection;
            proxy_buffering off;
            proxy_read_timeout {milliseconds(limits.stream_s)};
            proxy_send_timeout {milliseconds(limits.stream_s)};
            set $upstream {upstream};
            proxy_pass http://$upstream;
        }}
"""
        for pattern in route.streams
    )
    logins = "".join(
        f"""
        location ~ ^{route.path}{pattern}$ {{
            limit_req zone=address burst={limits.requests_burst} nodelay;
            limit_req zone=login burst={limits.logins_burst} nodelay;
            client_max_body_size {limits.login_body_bytes};
            set $upstream {upstream};
            proxy_pass http://$upstream;
        }}
"""
        for pattern in route.logins
    )
    return f"""{streams}{logins}
        location ~ ^{route.path}(/|$) {{
            set $upstream {upstream};
            proxy_pass http://$upstream;
        }}
"""


def _boards(limits: Limits) -> str:
    """Return Grafana and Gotify; both are asked without the prefix that they are under."""
    return f"""\
        location ^~ /grafana/ {{
            set $upgrade $websocket;
            set $upgrade_connection $websocket_connection;
            proxy_read_timeout {milliseconds(limits.stream_s)};
            set $upstream {BOARDS["grafana"]};
            rewrite ^/grafana(/.*)$ $1 break;
            proxy_pass http://$upstream;
        }}

        location ^~ /gotify/ {{
            set $upgrade $websocket;
            set $upgrade_connection $websocket_connection;
            set $page_policy "{GOTIFY_POLICY}";
            proxy_read_timeout {milliseconds(limits.stream_s)};
            set $upstream {BOARDS["gotify"]};
            rewrite ^/gotify(/.*)$ $1 break;
            proxy_pass http://$upstream;
        }}
"""


def _error(status: int) -> str:
    retry = '\n            set $retry_after "1";' if status == 429 else ""
    allow = f'\n            set $allow "{", ".join(METHODS)}";' if status == 405 else ""
    return f"""
        error_page {INNER.get(status, status)} ={status} @problem_{status};
        location @problem_{status} {{
            default_type application/problem+json;
            set $error_id $correlation_id;{retry}{allow}
            return {status} '{problem(status, "$instance", "$correlation_id")}';
        }}
"""
