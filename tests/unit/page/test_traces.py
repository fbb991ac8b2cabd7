"""Are spans put together to traces, with the batches that served them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.devstack.page import traces as module
from libs.common.devstack.page.store import Store
from libs.common.devstack.page.traces import Traces, decode
from libs.common.otlp import OtlpExporter
from libs.common.spans import Tracer
from tests.unit.page.given import TRACE, TRACEPARENT, span

BATCH = "b" * 32


@pytest.fixture
def traces() -> Traces:
    return Traces(Store())


def test_what_our_exporter_sends_is_read() -> None:
    bodies: list[bytes] = []

    def post(body: bytes) -> int:
        bodies.append(body)
        return 200

    exporter = OtlpExporter("http://127.0.0.1:9", {"service.name": "reports"}, post=post)
    tracer = Tracer("reports", 1.0, exporter)
    record = tracer.record(TRACEPARENT, type="t.v1", id="e-1", topic="hospital.reports", offset=3)
    with tracer.batch("process batch", [TRACEPARENT], attributes={"x": [1, 2.5, True]}) as batch:
        pass
    record.end("done", error=True, batch=batch)
    exporter.shutdown()
    whole, process = decode(bodies[0])
    assert (process.service, process.name, process.kind) == (
        "reports",
        "process hospital.reports",
        "consumer",
    )
    assert process.trace_id == TRACE and process.parent_id == TRACEPARENT[36:52]
    assert process.error and not whole.error
    assert process.links == ((whole.trace_id, whole.span_id),)
    assert process.attributes["messaging.kafka.offset"] == 3
    assert whole.attributes["x"] == [1, 2.5, True]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"{}"])
def test_what_is_no_export_request_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="OTLP"):
        decode(body)


def test_a_trace_is_listed_by_its_root_in_whatever_order_it_arrives(traces: Traces) -> None:
    traces.add([span("child", 5, 90, parent="root")])
    traces.add([span("root", 10, 20, parent="elsewhere")])
    (summary,) = traces.latest(10)
    assert (summary.name, summary.spans, summary.start, summary.end) == ("root", 2, 5, 90)


def test_a_span_that_is_sent_twice_is_one_span(traces: Traces) -> None:
    traces.add([span("root")])
    traces.add([span("root")])
    assert traces.latest(10)[0].spans == 1


def test_batches_are_not_listed_but_brought_along(traces: Traces) -> None:
    process = span("process", links=((BATCH, "batch"),))
    traces.add([process])
    traces.add(
        [
            span("batch", trace=BATCH, links=((TRACE, "outside"),), batch=True),
            span("find", trace=BATCH, parent="batch"),
            span("send", trace="c" * 32, links=((TRACE, "process"),), batch=True),
            span("foreign", trace="d" * 32, links=((TRACE, "process"),)),
        ]
    )
    assert TRACE in [t.trace_id for t in traces.latest(10)]
    assert BATCH not in [t.trace_id for t in traces.latest(10)]
    own, linked = traces.get(TRACE)
    assert own == [process]
    assert {s.name for s in linked} == {"batch", "find", "send"}


def test_an_unknown_trace_is_empty(traces: Traces) -> None:
    assert traces.get("0" * 32) == ([], [])


def test_the_oldest_traces_are_forgotten(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_SPANS", 20)
    for n in range(21):
        traces.add([span("root", n, n + 1, trace=f"{n:032x}")])
    kept = [t.trace_id for t in traces.latest(100)]
    assert f"{20:032x}" in kept and f"{0:032x}" not in kept
    assert len(kept) == 19
    assert traces.get(f"{0:032x}") == ([], [])


def test_traces_outlive_the_page(tmp_path: Path) -> None:
    file = tmp_path / "page" / "page.sqlite3"
    store = Store(file)
    Traces(store).add([span("root")])
    store.close()
    again = Store(file)
    assert [t.name for t in Traces(again).latest(10)] == ["root"]
    again.close()
