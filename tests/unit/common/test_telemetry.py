"""Are the spans right, cheap where they must be, and free of personal data?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from motor.frameworks import asyncio as motor_asyncio  # that it copies contexts is under test
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as PbSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as PbStatus
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from structlog.testing import capture_logs

from libs.common import metrics, otlp, telemetry
from libs.common.mongo.spans import MongoSpans
from libs.common.otlp import OtlpExporter
from libs.common.spans import Tracer, current_traceparent

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
TYPE, TOPIC = "hospital.report.ready.v1", "hospital.reports"


class Collector:
    """Takes what is posted and reads it with the official protobuf classes."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.answers: list[int | Exception] = []
        self.bodies: list[bytes] = []
        self.exporter = OtlpExporter(
            "http://127.0.0.1:9", {"service.name": "reports"}, post=self.take
        )
        self.tracer = Tracer("reports", ratio, self.exporter)
        self.mongo = MongoSpans(self.exporter)

    def take(self, body: bytes) -> int:
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer < 300:
            self.bodies.append(body)
        return answer

    def spans(self) -> list[PbSpan]:
        self.exporter.shutdown()
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self) -> PbSpan:
        (span,) = self.spans()
        return span


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.exporter.shutdown()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "INTERVAL_SECONDS", 0.005)


def attributes(span: PbSpan) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes}


def record(tracer: Tracer, traceparent: str | None, id: str = "e-1") -> telemetry.RecordSpan:
    return tracer.record(traceparent, type=TYPE, id=id, topic=TOPIC, offset=41)


def test_a_sampled_record_has_a_process_span_in_its_own_trace(collector: Collector) -> None:
    made = record(collector.tracer, SAMPLED)
    made.end("done")
    span = collector.span()
    assert span.trace_id.hex() == SAMPLED[3:35]
    assert span.parent_span_id.hex() == SAMPLED[36:52]
    assert made.traceparent == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
    assert (span.name, span.kind) == ("process hospital.reports", PbSpan.SPAN_KIND_CONSUMER)
    assert attributes(span) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": TOPIC,
        "messaging.consumer.group.name": "lianxin.reports",
        "messaging.kafka.offset": 41,
        "cloudevents.event_type": TYPE,
        "cloudevents.event_id": "e-1",
        "lianxin.outcome": "done",
    }
    assert span.status.code == PbStatus.STATUS_CODE_UNSET
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano


def test_an_unsampled_record_passes_its_context_on_unchanged_and_records_nothing(
    collector: Collector,
) -> None:
    made = record(collector.tracer, UNSAMPLED)
    made.end("done")
    assert made.traceparent == UNSAMPLED
    assert collector.spans() == []


@pytest.mark.parametrize(("ratio", "flag", "spans"), [(1.0, "01", 1), (0.0, "00", 0)])
def test_a_record_without_context_begins_a_trace_sampled_by_the_ratio(
    ratio: float, flag: str, spans: int
) -> None:
    collector = Collector(ratio)
    made = record(collector.tracer, None)
    made.end("done")
    assert made.traceparent.endswith(flag) and len(made.traceparent) == 55
    found = collector.spans()
    assert len(found) == spans
    assert all(s.parent_span_id == b"" for s in found)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "nonsense",
        SAMPLED + "0",
        SAMPLED.replace("0af7", "zzzz"),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_a_broken_traceparent_begins_a_new_trace(collector: Collector, broken: str) -> None:
    made = record(collector.tracer, broken)
    made.end("done")
    assert collector.span().parent_span_id == b""
    assert made.traceparent[3:35] not in broken


def test_without_an_exporter_contexts_still_pass_and_begin() -> None:
    tracer = Tracer("reports", 1.0, None)
    assert record(tracer, SAMPLED).traceparent == SAMPLED
    assert record(tracer, None).traceparent.endswith("-01")
    with tracer.batch("process batch", [SAMPLED]) as batch, tracer.span("x", SAMPLED) as below:
        assert not batch.sampled and below == SAMPLED


def test_a_batch_has_its_own_trace_and_is_linked_both_ways(collector: Collector) -> None:
    records = [record(collector.tracer, t, id=t[-2:]) for t in (SAMPLED, UNSAMPLED)]
    with collector.tracer.batch("process batch", [r.traceparent for r in records]) as batch:
        pass
    for r in records:
        r.end("done", batch=batch)
    whole, process = collector.spans()
    assert whole.name == "process batch" and whole.parent_span_id == b""
    assert whole.trace_id != process.trace_id
    assert [(li.trace_id, li.span_id) for li in whole.links] == [
        (process.trace_id, process.span_id)
    ]
    assert [(li.trace_id, li.span_id) for li in process.links] == [(whole.trace_id, whole.span_id)]


def test_a_batch_of_unsampled_records_records_nothing(collector: Collector) -> None:
    with collector.tracer.batch("process batch", [UNSAMPLED, None, "x"]) as batch:
        collector.mongo.command_started("find", "patients", 1)
        collector.mongo.command_succeeded(1)
    assert not batch.sampled
    assert collector.spans() == []


def test_an_exception_marks_the_batch_but_its_words_are_not_recorded(collector: Collector) -> None:
    with (
        pytest.raises(ValueError, match="张三"),
        collector.tracer.batch("process batch", [SAMPLED]),
    ):
        raise ValueError("张三")
    span = collector.span()
    assert span.status.code == PbStatus.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "ValueError"
    assert "张三".encode() not in b"".join(collector.bodies)


def test_a_send_is_linked_to_the_sampled_rows(collector: Collector) -> None:
    with collector.tracer.send("reports.events", [SAMPLED, UNSAMPLED], 2):
        pass
    span = collector.span()
    assert (span.name, span.kind) == ("send reports.events", PbSpan.SPAN_KIND_PRODUCER)
    assert attributes(span)["messaging.batch.message_count"] == 2
    assert [li.span_id.hex() for li in span.links] == [SAMPLED[36:52]]


def test_a_command_or_timer_has_a_span_without_messaging(collector: Collector) -> None:
    collector.tracer.record(SAMPLED, type="refill.request", id="c-1").end("refused")
    span = collector.span()
    assert span.name == "decide refill.request"
    assert not any(key.startswith("messaging.") for key in attributes(span))


def test_a_provider_call_is_a_child_in_the_records_trace(collector: Collector) -> None:
    with (
        pytest.raises(TimeoutError),
        collector.tracer.span("send email", SAMPLED, "client", {"lianxin.channel": "email"}) as own,
    ):
        assert own == current_traceparent()
        raise TimeoutError
    span = collector.span()
    assert span.parent_span_id.hex() == SAMPLED[36:52]
    assert own == f"00-{SAMPLED[3:35]}-{span.span_id.hex()}-01"
    assert span.status.code == PbStatus.STATUS_CODE_ERROR


async def test_database_commands_in_motors_threads_are_children_of_the_batch(
    collector: Collector,
) -> None:
    def command() -> None:
        collector.mongo.command_started("find", "reports", 7)
        collector.mongo.command_succeeded(7)
        collector.mongo.command_started("commitTransaction", None, 8)
        collector.mongo.command_failed(8, "OperationFailure")

    loop = asyncio.get_running_loop()
    in_thread: Any = motor_asyncio.run_on_executor
    await in_thread(loop, command)  # outside of any span: nothing
    with collector.tracer.batch("process batch", [SAMPLED]):
        await in_thread(loop, command)
    find, commit, batch = collector.spans()
    assert {find.parent_span_id, commit.parent_span_id} == {batch.span_id}
    assert {find.trace_id, commit.trace_id} == {batch.trace_id}
    assert (find.name, commit.name) == ("find reports", "commitTransaction")
    assert attributes(find) == {
        "db.system.name": "mongodb",
        "db.operation.name": "find",
        "db.collection.name": "reports",
    }
    assert commit.status.code == PbStatus.STATUS_CODE_ERROR


VALUES = st.one_of(
    st.text(max_size=300),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=5), min_size=1, max_size=3),
)


@given(
    name=st.text(min_size=1),
    attributes=st.dictionaries(st.text(min_size=1, max_size=40), VALUES, max_size=8),
    kind=st.sampled_from(trace.SpanKind),
    linked=st.booleans(),
    status=st.sampled_from(trace.StatusCode),
)
def test_our_bytes_mean_the_same_as_the_official_encoders(
    name: str,
    attributes: dict[str, Any],
    kind: trace.SpanKind,
    linked: bool,
    status: trace.StatusCode,
) -> None:
    flags = trace.TraceFlags(1)
    parent = trace.SpanContext(2**127 + 5, 2**63 + 1, True, flags)
    span = ReadableSpan(
        name,
        trace.SpanContext(2**127 + 5, 77, False, flags),
        parent if linked else None,
        attributes=attributes,
        links=[trace.Link(parent)] if linked else [],
        kind=kind,
        status=trace.Status(status),
        start_time=1_700_000_000_000_000_000,
        end_time=1_700_000_000_000_000_001,
    )
    request = encode_spans([span])
    expected = request.resource_spans[0].scope_spans[0].spans[0]
    expected.flags = 0
    if status is trace.StatusCode.UNSET:
        expected.ClearField("status")  # an empty one means the same as none
    for link in expected.links:
        link.flags |= 1  # ours says besides that the span it points to is sampled
    ours = otlp.sdk_span(span)
    assert ours[0] == 0x12
    actual = ExportTraceServiceRequest.FromString(
        otlp._field(0x0A, otlp._field(0x12, ours))
    ).resource_spans[0].scope_spans[0].spans[0]  # fmt: skip
    assert actual == expected


@given(st.text(max_size=200))
def test_the_short_way_of_an_attribute_is_the_long_way(value: str) -> None:
    assert otlp.text_attribute("cloudevents.event_id")(value) == otlp.attribute(
        "cloudevents.event_id", value
    )


def test_spans_of_the_opentelemetry_api_take_the_same_way_without_exceptions_words(
    collector: Collector,
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(collector.exporter)
    with (
        pytest.raises(ValueError, match="张三"),
        provider.get_tracer("http").start_as_current_span("GET /v1/reports/{id}"),
    ):
        collector.mongo.command_started("find", "reports", 1)
        collector.mongo.command_succeeded(1)
        raise ValueError("张三")
    find, request = collector.spans()
    assert find.parent_span_id == request.span_id
    assert request.status.code == PbStatus.STATUS_CODE_ERROR
    assert "张三".encode() not in b"".join(collector.bodies)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failure", [ConnectionError(), 503, 429])
def test_a_collector_that_is_away_loses_nothing_and_is_logged_once(
    failure: int | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "RETRY_SECONDS_MAX", 0.01)
    with capture_logs() as lines:
        collector = Collector()
        collector.answers = [failure] * 5
        record(collector.tracer, SAMPLED).end("done")
        assert collector.exporter.force_flush()
        assert len(collector.spans()) == 1
    assert [line["event"] for line in lines] == [
        "trace_export_failing",
        "trace_export_recovered",
    ]


def lost() -> float:
    return metrics.REGISTRY.get_sample_value("spans_lost_total") or 0.0


@pytest.mark.usefixtures("quick")
def test_what_the_collector_refuses_for_good_is_dropped_and_counted() -> None:
    before = lost()
    collector = Collector()
    collector.answers = [400]
    record(collector.tracer, SAMPLED).end("done")
    assert collector.exporter.force_flush()
    assert collector.spans() == []
    assert lost() == before + 1


def test_a_full_queue_drops_the_newest_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "QUEUE_SPANS", 3)
    before = lost()
    collector = Collector()
    for i in range(5):
        record(collector.tracer, SAMPLED, id=f"e-{i}").end("done")
    kept = [attributes(s)["cloudevents.event_id"] for s in collector.spans()]
    assert kept == ["e-0", "e-1", "e-2"]
    assert lost() == before + 2


@pytest.mark.usefixtures("quick")
def test_a_collector_that_hangs_does_not_hold_up_the_shutdown() -> None:
    hangs, release = threading.Event(), threading.Event()

    def post(_body: bytes) -> int:
        hangs.set()
        release.wait(30)
        return 200

    exporter = OtlpExporter("http://127.0.0.1:9", {}, post=post)
    record(Tracer("reports", 1.0, exporter), SAMPLED).end("done")
    assert hangs.wait(5)
    stopper = threading.Thread(target=exporter.shutdown, args=(0.05,), daemon=True)
    stopper.start()
    stopper.join(5)
    assert not stopper.is_alive()
    release.set()


def test_setup_without_an_endpoint_starts_no_thread_and_records_nothing() -> None:
    before = set(threading.enumerate())
    made = telemetry.setup("reports", install=False)
    assert set(threading.enumerate()) <= before
    assert made.tracer.record(SAMPLED, type=TYPE, id="e-1").traceparent == SAMPLED
    made.shutdown()


def test_setup_names_the_service_in_what_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    def post(_self: OtlpExporter, body: bytes) -> int:
        bodies.append(body)
        return 200

    monkeypatch.setattr(OtlpExporter, "_post_http", post)
    made = telemetry.setup(
        "reports", endpoint="http://127.0.0.1:9", environment="development", install=False
    )
    record(made.tracer, SAMPLED).end("done")
    made.shutdown()
    resource = ExportTraceServiceRequest.FromString(bodies[0]).resource_spans[0].resource
    found = {a.key: a.value.string_value for a in resource.attributes}
    assert found["service.name"] == "reports"
    assert found["service.namespace"] == "lianxin"
    assert found["deployment.environment.name"] == "development"
