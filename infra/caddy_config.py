"""Caddy's configuration, rendered from the routes and the policy.

What an installation chooses (ports, certificate, names, TLS 1.2) comes from the environment, so
one file serves every run. Caddy knows no rates: those the services keep behind it
(`libs/common/runtime/rates.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra.gateway_policy import (
    CACHING,
    FORWARDED,
    HEADERS,
    METHODS,
    ODD_PATH,
    PAGE_POLICY,
    PLAIN_PATH,
    STRICT_TRANSPORT,
    Limits,
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

LISTEN = "{$TRADEWIND_GATEWAY_PORT:8443}"
LISTEN_PLAIN = "{$TRADEWIND_GATEWAY_HTTP_PORT:8000}"
NAMES = "{$TRADEWIND_GATEWAY_HOSTS:localhost 127.0.0.1 ::1}"
NOT_BY_CADDY = frozenset({429})
"""Caddy has no rates; a 429 behind it is a service's own answer."""


def _default_upstream(route: Route) -> str:
    variable = f"TRADEWIND_{route.service.upper()}_PORT"
    return f"127.0.0.1:{{${variable}:{PORTS[route.service]}}}"


def render(
    *,
    listen: str = LISTEN,
    listen_plain: str = LISTEN_PLAIN,
    upstream: Callable[[Route], str] = _default_upstream,
    routes: Sequence[Route] = ROUTES,
    limits: Limits | None = None,
) -> str:
    """Return a Caddyfile."""
    limits = limits or Limits()
    handlers = "".join(_handlers(route, upstream(route), limits) for route in routes)
    errors = "\n".join(_error(status) for status in TITLES if status not in NOT_BY_CADDY)
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
		protocols h1
		max_header_size {limits.header_bytes}
		timeouts {{
			read_header {milliseconds(limits.header_s)}
			read_body {milliseconds(limits.body_s_total)}
			write_idle {milliseconds(limits.send_s)}
			idle {milliseconds(limits.idle_s)}
		}}
	}}
}}

{_headers()}
# Over HTTP there is one answer: where HTTPS is.
http://:{listen_plain} {{
	bind 127.0.0.1
	@named not host localhost
	import headers
	@foreign_host not host {NAMES}
	route {{
		respond @foreign_host 421
		redir https://{{host}}:{listen}{{http.request.orig_uri}} 308
	}}
}}

https://:{listen} {{
	bind 127.0.0.1
	tls {{$TRADEWIND_TLS_CERT}} {{$TRADEWIND_TLS_KEY}} {{
		protocols {{$TRADEWIND_TLS_MIN:tls1.3}} tls1.3
	}}
	@named not host localhost
	import headers
	map {{header.X-Correlation-ID}} {{correlation_id}} {{
		~^({CORRELATION_PATTERN})$ "${{1}}"
		default {{http.request.uuid}}
	}}
	map {{http.request.orig_uri.path}} {{instance}} {{
		~^({INSTANCE_PATTERN}).*$ "${{1}}"
		default /
	}}

	@foreign_host not host {NAMES}
	@old_protocol not expression `{{http.request.proto}} == "HTTP/1.1"`
	@odd_path {{
		vars_regexp {{http.request.orig_uri}} `{ODD_PATH}`
	}}
	@no_path {{
		not vars_regexp {{http.request.orig_uri}} `{PLAIN_PATH}`
	}}
	@odd_method not method {" ".join(METHODS)}
	# A page may ask where it came from; what is no page tells no origin.
	@foreign_origin {{
		header Origin *
		not expression `{{http.request.header.Origin}} == "https://" + {{http.request.hostport}}`
	}}

	route {{
		request_header X-Correlation-ID {{correlation_id}}
		request_header -X-Forwarded-*
{_removed()}
		request_body {{
			max_size {limits.body_bytes}
		}}
		error @foreign_host 421
		error @old_protocol 505
		error @odd_path 400
		error @no_path 400
		error @odd_method 405
		error @foreign_origin 403

		handle {HEALTH} {{
			header Content-Type application/json
			respond `{{"status":"ok","service":"gateway"}}` 200
		}}
{handlers}
		handle {{
			error 404
		}}
	}}

	handle_errors {{
		import headers
		# Else what is left of a body would be awaited before the refusal is sent.
		header Connection close
{errors}
	}}
}}
"""


def _headers() -> str:
    """Return the snippet with the headers of every answer; a service's own policy stands."""
    lines = "\n".join(f'\t\t{name} "{value}"' for name, value in HEADERS.items())
    return f"""\
(headers) {{
	header @named >Strict-Transport-Security "{STRICT_TRANSPORT}"
	header {{
{lines}
		-Server
		-X-Powered-By
		-Access-Control-*
		defer
	}}
	header ?Content-Security-Policy "{PAGE_POLICY}"
	header ?Cache-Control {CACHING}
}}
"""


def _removed() -> str:
    return "\n".join(
        f"\t\trequest_header -{name}" for name in FORWARDED if not name.startswith("X-Forwarded-")
    )


def _handlers(route: Route, upstream: str, limits: Limits) -> str:
    streams = "".join(
        f"""
		@{route.area}_stream_{number} path_regexp ^{route.path}{pattern}$
		handle @{route.area}_stream_{number} {{
			reverse_proxy {upstream} {{
				flush_interval -1
				stream_timeout 24h
				stream_close_delay 1s
				transport http {{
					dial_timeout {milliseconds(limits.connect_s)}
					response_header_timeout {milliseconds(limits.answer_s)}
					read_timeout {milliseconds(limits.stream_s)}
					compression off
				}}
			}}
		}}
"""
        for number, pattern in enumerate(route.streams, 1)
    )
    logins = "".join(
        f"""
		@{route.area}_login_{number} path_regexp ^{route.path}{pattern}$
		request_body @{route.area}_login_{number} {{
			max_size {limits.login_body_bytes}
		}}
"""
        for number, pattern in enumerate(route.logins, 1)
    )
    return f"""{streams}{logins}
		@{route.area} path_regexp ^{route.path}(/|$)
		handle @{route.area} {{
			request_header -Upgrade
			reverse_proxy {upstream} {{
				transport http {{
					dial_timeout {milliseconds(limits.connect_s)}
					response_header_timeout {milliseconds(limits.answer_s)}
					compression off
				}}
			}}
		}}
"""


def _error(status: int) -> str:
    allow = f'\n\t\t\theader Allow "{", ".join(METHODS)}"' if status == 405 else ""
    return f"""\
		@problem_{status} expression `{{http.error.status_code}} == {status}`
		handle @problem_{status} {{
			header Content-Type application/problem+json
			header X-Correlation-ID {{correlation_id}}{allow}
			respond `{problem(status, "{instance}", "{correlation_id}")}` {status}
		}}"""
