"""What happens to every request, whatever it asks for?

It gets a correlation id, a span, a limit to its body, one line in the log and one entry
in the histogram, all by the route's template: the path and the query may name a
patient. It is also the last place that turns a problem, or a bug of ours, into an
answer. Plain ASGI, because Starlette's ``BaseHTTPMiddleware`` breaks streams and costs
a task for each request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common import exemplars, metrics
from libs.common.clock import Ports
from libs.common.http import problems, words
from libs.common.http.access import ROUTE, Route, RouteTable
from libs.common.http.dialect import DIALECT, Dialect
from libs.common.http.problems import Problem

log = structlog.get_logger()

MAX_BODY: Final = 1024 * 1024
CORRELATION_HEADER: Final = "X-Correlation-ID"
#: What the platform's own probes ask for; they would drown everything else.
QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})
#: nginx's code for a client that left before the answer began; it is never sent.
CLIENT_GONE: Final = 499

_CORRELATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Not the global propagator: baggage from outside has no business here.
_PROPAGATOR = TraceContextTextMapPropagator()
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)


class _Broken(Exception):
    """Our bug struck after the answer had begun: the connection must not end well."""


class _Exchange:
    """One request and its answer, as far as they have come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.limit = limit
        self._taken = 0
        self.correlation_id = ""
        self.status = CLIENT_GONE
        self.started = False
        self.streams = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self.limit:
                raise _too_large(self.limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[CORRELATION_HEADER] = self.correlation_id
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Content-Type-Options"] = "nosniff"
            kind = headers.get("content-type", "")
            self.streams = kind.startswith("text/event-stream")
            if self.status == 413 or self._scope["app"].state.leaving:
                headers["Connection"] = "close"  # the rest of the body is not read, or we stop
        await self._send(message)


class Edge:
    """The outermost of our ASGI middlewares."""

    def __init__(
        self,
        app: ASGIApp,
        routes: RouteTable,
        ports: Ports,
        texts: words.Texts,
        max_body: int = MAX_BODY,
        dialects: Sequence[Dialect] = (),
    ) -> None:
        self._app = app
        self._routes = routes
        self._ports = ports
        self._texts = texts
        self._max_body = max_body
        self._dialects = tuple(dialects)
        self._tracer = trace.get_tracer("libs.common.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._ports.clock.monotonic()
        route = scope[ROUTE] = self._routes.find(scope["method"], scope["path"])
        template = route.template if isinstance(route, Route) else ""
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        dialect = next((d for d in self._dialects if d.covers(scope["path"])), None)
        scope[DIALECT] = dialect
        limit = self._max_body if dialect is None else dialect.max_body
        exchange = _Exchange(scope, receive, send, limit)
        exchange.correlation_id = self._correlation_id(scope)
        scope.setdefault("state", {})["correlation_id"] = exchange.correlation_id
        with structlog.contextvars.bound_contextvars(correlation_id=exchange.correlation_id):
            if template in QUIET:
                await self._answer(scope, exchange)
                return
            await self._traced(scope, exchange, method, template, began)

    def _record(self, exchange: _Exchange, method: str, route: str, began: float) -> None:
        seconds = self._ports.clock.monotonic() - began
        if not exchange.streams:  # an event stream lasts as long as its reader likes
            metrics.HTTP_REQUEST_SECONDS.labels(
                route=route, method=method, status=str(exchange.status)
            ).observe(seconds, exemplars.current())
        log.info(
            "http_answered",
            method=method,
            route=route,
            status=exchange.status,
            ms=round(seconds * 1000, 1),
        )

    async def _traced(
        self, scope: Scope, exchange: _Exchange, method: str, template: str, began: float
    ) -> None:
        headers = Headers(scope=scope)
        carrier = {n: headers[n] for n in ("traceparent", "tracestate") if n in headers}
        attributes = {"http.request.method": method}
        if template:
            attributes["http.route"] = template
        # No url.path or url.query, against the convention: they may name a patient.
        with self._tracer.start_as_current_span(
            f"{method} {template}".strip(),
            context=_PROPAGATOR.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._answer(scope, exchange)
            finally:
                span.set_attribute("http.response.status_code", exchange.status)
                if exchange.status >= 500:
                    span.set_status(StatusCode.ERROR)
                # Still within the span: the line and the histogram name its trace.
                self._record(exchange, method, template or "unmatched", began)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            announced = Headers(scope=scope).get("content-length", "")
            if announced.isdecimal() and int(announced) > exchange.limit:
                raise _too_large(exchange.limit)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if isinstance(error, Problem):
                problem = error
            else:
                log.exception("http_failed", error=type(error).__name__)
                problem = Problem(500, "unexpected")
            if exchange.started:
                # "from None": the server logs what it is given, and a text may quote data.
                raise _Broken(type(error).__name__) from None
            answer = problems.response(problem, scope, self._texts)
            await answer(scope, exchange.receive, exchange.send)

    def _correlation_id(self, scope: Scope) -> str:
        given = Headers(scope=scope).get(CORRELATION_HEADER, "")
        return given if _CORRELATION.fullmatch(given) else self._ports.ids.new()


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", extra={"limit": limit})
