"""Caddy's configuration, rendered from the routes."""

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

LISTEN = "{$TRADEWIND_GATEWAY_PORT:8000}"


def _default_upstream(route: Route) -> str:
    variable = f"TRADEWIND_{route.service.upper()}_PORT"
    return f"127.0.0.1:{{${variable}:{PORTS[route.service]}}}"


def render(*, listen: str = LISTEN, upstream: Callable[[Route], str] = _default_upstream) -> str:
    """Return a Caddyfile; ports come from the environment, so one file serves every run."""
    handlers = "\n".join(_handler(route, upstream(route)) for route in ROUTES)
    errors = "\n".join(_error(status) for status in TITLES)
    return f"""\
# Rendered by `python -m infra.gateway`; change infra/routes.py, not this file.
{{
	admin off
	auto_https off
	persist_config off
	grace_period 5s
	log {{
		output stderr
		level WARN
	}}
	servers {{
		timeouts {{
			read_body {ANSWER_TIMEOUT_S}s
			read_header {ANSWER_TIMEOUT_S}s
		}}
	}}
}}

http://:{listen} {{
	bind 127.0.0.1
	header {{
		X-Content-Type-Options nosniff
		-Server
	}}
	map {{header.X-Correlation-ID}} {{correlation_id}} {{
		~^({CORRELATION_PATTERN})$ "${{1}}"
		default {{http.request.uuid}}
	}}
	map {{http.request.orig_uri.path}} {{instance}} {{
		~^({INSTANCE_PATTERN}).*$ "${{1}}"
		default /
	}}
	request_header X-Correlation-ID {{correlation_id}}
	request_body {{
		max_size {BODY_BYTES_MAX}
	}}

	handle {HEALTH} {{
		header Content-Type application/json
		respond `{{"status":"ok","service":"gateway"}}` 200
	}}
{handlers}
	handle {{
		error 404
	}}

	handle_errors {{
{errors}
	}}
}}
"""


def _handler(route: Route, upstream: str) -> str:
    return f"""
	@{route.area} path {route.path} {route.path}/*
	handle @{route.area} {{
		reverse_proxy {upstream} {{
			header_up X-Forwarded-For {{remote_host}}
			transport http {{
				dial_timeout {CONNECT_TIMEOUT_S}s
				response_header_timeout {ANSWER_TIMEOUT_S}s
				compression off
			}}
		}}
	}}
"""


def _error(status: int) -> str:
    return f"""\
		@problem_{status} expression `{{http.error.status_code}} == {status}`
		handle @problem_{status} {{
			header Content-Type application/problem+json
			header X-Correlation-ID {{correlation_id}}
			respond `{problem(status, "{instance}", "{correlation_id}")}` {status}
		}}"""
