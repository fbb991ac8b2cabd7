"""Does every request get what the platform promises around the answer itself?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from libs.common.http.access import PUBLIC
from libs.common.http.app import create_app
from libs.common.http.edge import MAX_BODY
from libs.common.logs import add_trace
from tests.support.access import client
from tests.support.http_sample import ACCESS, Sample, sample

NEEDS_A_TOKEN = [key for key, rule in ACCESS.items() if rule is not PUBLIC]


def one_route(endpoint: Callable[..., Any], path: str = "/v1/one", method: str = "GET") -> Sample:
    routes = APIRouter()
    routes.add_api_route(path, endpoint, methods=[method])
    return sample(routers=[routes], access={(method, path): PUBLIC})


async def get(s: Sample, path: str, **headers: str) -> httpx.Response:
    async with client(s.app, **headers) as c:
        return await c.get(path)


async def test_a_live_service_that_is_not_ready_says_why() -> None:
    s = sample(not_ready=lambda: ["database_unavailable"])
    live, ready = await get(s, "/livez"), await get(s, "/readyz")
    assert live.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["database_unavailable"]
    assert "Retry-After" in ready.headers


async def test_readiness_is_asked_anew_each_time() -> None:
    reasons = ["starting"]
    s = sample(not_ready=lambda: reasons)
    assert (await get(s, "/readyz")).status_code == 503
    reasons.clear()
    assert (await get(s, "/readyz")).status_code == 200


async def test_metrics_count_requests_by_the_routes_template() -> None:
    s = sample()
    await get(s, "/v1/orders/secret-id-in-the-path")
    await get(s, "/v1/nowhere-at-all")
    answer = await get(s, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "secret-id" not in answer.text
    assert "nowhere-at-all" not in answer.text
    routes = {
        sample_.labels["route"]
        for family in text_string_to_metric_families(answer.text)
        if family.name == "http_request_seconds"
        for sample_ in family.samples
    }
    assert {"/v1/orders/{id}", "unmatched"} <= routes
    assert "/metrics" not in routes


async def test_a_given_correlation_id_comes_back_and_a_wild_one_is_replaced() -> None:
    s = sample()
    kept = await get(s, "/livez", **{"X-Correlation-ID": "visit-7.a_B"})
    assert kept.headers["X-Correlation-ID"] == "visit-7.a_B"
    for wild in ("a b", "x" * 65, "<script>", "", "-a", "é"):
        async with client(s.app) as c:
            answer = await c.get("/livez", headers={b"X-Correlation-ID": wild.encode("latin-1")})
        assert answer.headers["X-Correlation-ID"].startswith("id-")


async def test_what_a_route_logs_carries_the_correlation_id_and_nothing_stays_behind() -> None:
    seen: list[dict[str, Any]] = []

    async def endpoint() -> str:
        seen.append(structlog.contextvars.get_contextvars())
        return "ok"

    s = one_route(endpoint)
    await get(s, "/v1/one", **{"X-Correlation-ID": "c1"})
    assert seen == [{"correlation_id": "c1"}]
    assert "correlation_id" not in structlog.contextvars.get_contextvars()


async def test_the_access_log_names_the_template_and_never_the_path_or_query() -> None:
    s = sample()
    with capture_logs() as logs:
        async with client(s.app) as c:
            await c.get("/v1/orders/patient-4711", params={"phone": "13800138000"})
            await c.get("/livez")
    (line,) = logs
    assert line["event"] == "http_answered"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/orders/{id}", 401)
    assert "4711" not in str(line)
    assert "138" not in str(line)


async def test_a_bug_of_ours_is_a_500_that_tells_nothing_and_is_logged_once() -> None:
    s = sample()
    with capture_logs() as logs:
        answer = await get(
            s, "/v1/broken/4711", **s.callers.headers("ops"), **{"X-Correlation-ID": "c9"}
        )
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["correlation_id"] == "c9"
    failed = [line for line in logs if line["event"] == "http_failed"]
    assert len(failed) == 1
    assert failed[0]["error"] == "ValueError"
    assert failed[0]["log_level"] == "error"


async def test_a_bug_in_the_middle_of_an_answer_breaks_it_off() -> None:
    async def endpoint() -> StreamingResponse:
        async def half() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError("secret")

        return StreamingResponse(half())

    s = one_route(endpoint)
    transport = httpx.ASGITransport(app=s.app)
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as c:
            with pytest.raises(Exception, match="ValueError") as broken:
                await c.get("/v1/one")
    # The server will log what it is given: neither the text nor its cause.
    assert "secret" not in str(broken.value)
    assert broken.value.__suppress_context__
    assert [line["event"] for line in logs] == ["http_failed", "http_answered"]


async def _echo(request: Request) -> int:
    return len(await request.body())


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413)])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_above_the_limit_is_413_announced_or_not(
    size: int, status: int, announced: bool
) -> None:
    s = one_route(_echo, method="POST")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024
        yield b"x" * (size % 1024)

    async with client(s.app) as c:
        answer = await c.post("/v1/one", content=b"x" * size if announced else pieces())
    assert answer.status_code == status
    if status == 413:
        problem = answer.json()
        assert (problem["reason"], problem["limit"]) == ("body_too_large", MAX_BODY)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
    else:
        assert answer.json() == size


async def test_an_announced_body_above_the_limit_is_refused_even_if_nobody_would_read_it() -> None:
    async def endpoint() -> str:
        raise AssertionError("reached")

    s = one_route(endpoint, method="POST")
    async with client(s.app) as c:
        answer = await c.post("/v1/one", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413


async def test_a_json_body_above_the_limit_is_413_too() -> None:
    s = sample()
    headers = {**s.callers.headers("patient"), "Idempotency-Key": "k"}

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"title": "'
        for _ in range(1025):
            yield b"x" * 1024

    async with client(s.app, **headers) as c:
        answer = await c.post(
            "/v1/orders", content=pieces(), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 413
    assert answer.json()["reason"] == "body_too_large"


async def test_answers_are_neither_cached_nor_guessed_at() -> None:
    s = sample()
    answer = await get(s, "/v1/orders", **s.callers.headers("doctor"))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


class Spans:
    """The application's spans, from a provider of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    return Spans(monkeypatch)


async def test_a_request_is_one_server_span_named_by_its_template(spans: Spans) -> None:
    s = sample()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await get(
        s,
        "/v1/orders/patient-4711?phone=138",
        traceparent=f"00-{trace_id}-b7ad6b7169203331-01",
        baggage="phone=138",
    )
    await get(s, "/livez")
    (span,) = spans.exporter.get_finished_spans()
    assert span.name == "GET /v1/orders/{id}"
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == trace_id
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/v1/orders/{id}",
        "http.response.status_code": 401,
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_a_request_and_its_line_in_the_log_name_their_trace(spans: Spans) -> None:
    s = sample()
    trace_id = "11f7651916cd43dd8448eb211c80319c"
    with capture_logs(processors=[add_trace]) as lines:
        await get(s, "/v1/orders/o1", traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
    told = await get(s, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert f'# {{trace_id="{trace_id}"}}' in told.text
    (line,) = [x for x in lines if x["event"] == "http_answered"]
    assert line["trace_id"] == trace_id


async def test_the_span_of_a_bug_is_an_error_without_its_text(spans: Spans) -> None:
    s = sample()
    with capture_logs():
        await get(s, "/v1/broken/4711", **s.callers.headers("ops"))
    (span,) = spans.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert not span.events


async def test_a_command_carries_on_the_requests_own_span(spans: Spans) -> None:
    s = sample()
    async with client(s.app, **s.callers.headers("patient")) as c:
        await c.post("/v1/orders/o1/cancellation", headers={"Idempotency-Key": "k"})
    (span,) = spans.exporter.get_finished_spans()
    assert span.context is not None
    (input,) = s.commands.inputs
    assert input.traceparent is not None
    assert input.traceparent.split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]


async def test_an_odd_method_does_not_become_a_label_or_a_span(spans: Spans) -> None:
    s = sample()
    async with client(s.app) as c:
        answer = await c.request("BREW-13800138000", "/v1/orders")
        text = (await c.get("/metrics")).text
    assert answer.status_code == 405
    assert spans.exporter.get_finished_spans()[0].name == "_OTHER"
    assert "BREW" not in text


async def test_the_lifespan_of_the_service_runs_around_its_requests() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        events.append("up")
        yield
        events.append("down")

    s = sample(lifespan=lifespan)
    async with s.app.router.lifespan_context(s.app):
        assert (await get(s, "/livez")).status_code == 200
        assert events == ["up"]
    assert events == ["up", "down"]


async def test_a_slow_request_does_not_hold_up_the_others() -> None:
    let_go = asyncio.Event()

    async def endpoint() -> str:
        await let_go.wait()
        return "late"

    s = one_route(endpoint)
    slow = asyncio.create_task(get(s, "/v1/one"))
    assert (await get(s, "/livez")).status_code == 200
    let_go.set()
    assert (await slow).json() == "late"


async def test_the_documents_name_roles_tokens_and_problems() -> None:
    s = sample()
    found = (await get(s, "/openapi.json")).json()
    assert found["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for method, path in NEEDS_A_TOKEN:
        operation = found["paths"][path][method.lower()]
        assert operation["security"] == [{"bearer": []}]
        assert operation["x-roles"] == sorted(ACCESS[(method, path)])  # type: ignore[arg-type]
        assert {"401", "403", "503"} <= set(operation["responses"])
    assert found["paths"]["/v1/welcome"]["post"]["security"] == []
    assert "/livez" not in found["paths"]
    placed = found["paths"]["/v1/orders"]["post"]
    (key,) = [p for p in placed["parameters"] if p["name"] == "Idempotency-Key"]
    assert key["required"]
    assert list(placed["responses"]["422"]["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in found["components"]["schemas"]


async def test_the_documents_can_be_opened_without_a_token() -> None:
    s = sample()
    answer = await get(s, "/docs")
    assert answer.status_code == 200
    assert "swagger" in answer.text


def test_a_service_may_give_its_own_title_and_version() -> None:
    s = sample()
    app = create_app(
        title="enrollment",
        version="0.1.0",
        routers=[],
        access={},
        verifier=s.callers.verifier,
        ports=s.app.state.ports,
    )
    assert (app.title, app.openapi()["info"]["version"]) == ("enrollment", "0.1.0")
