"""Which spans have come in, and which traces do they make?

Spans arrive as OTLP/HTTP protobuf. A batch of the engine or the relay has a trace of its
own, linked with the records that it served; the list shows the records' traces, and a
trace brings the batches along that it is linked with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from libs.common.devstack.page.store import Store

KEPT_SPANS = 200_000
LINKED_TRACES = 60
KINDS = ("", "internal", "server", "client", "producer", "consumer")
_BATCH = "messaging.batch.message_count"


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One span; times in unix ns. ``links`` are pairs of trace id and span id."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list. ``event_type`` is what began the trace, if it was an event."""

    trace_id: str
    name: str
    event_type: str
    services: tuple[str, ...]
    start: int
    end: int
    spans: int
    errors: int


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(v) for v in value.array_value.values]
    return getattr(value, which) if which else None


def decode(body: bytes) -> list[SpanRow]:
    """The spans of an OTLP export request. Raises ``ValueError`` for anything else."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except Exception as error:  # protobuf's own, which comes without types
        raise ValueError("not an OTLP trace export request") from error
    rows = []
    for resource in request.resource_spans:
        of_resource = {a.key: _value(a.value) for a in resource.resource.attributes}
        service = str(of_resource.get("service.name", "unknown"))
        for scope in resource.scope_spans:
            for span in scope.spans:
                rows.append(
                    SpanRow(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        service,
                        span.name,
                        KINDS[span.kind] if span.kind < len(KINDS) else "",
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code == Status.STATUS_CODE_ERROR,
                        {a.key: _value(a.value) for a in span.attributes},
                        tuple((li.trace_id.hex(), li.span_id.hex()) for li in span.links),
                    )
                )
    return rows


class Traces:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, spans: Iterable[SpanRow]) -> None:
        spans = list(spans)
        with self._store.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO spans VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (
                        s.trace_id, s.span_id, s.parent_id, s.service, s.name,
                        KINDS.index(s.kind), s.start, s.end, s.error,
                        json.dumps(s.attributes, ensure_ascii=False), json.dumps(s.links),
                    )
                    for s in spans
                ],
            )  # fmt: skip
            db.executemany(
                "INSERT OR IGNORE INTO links VALUES (?,?,?,?)",
                [(t, s, span.trace_id, span.span_id) for span in spans for t, s in span.links],
            )
            for trace_id in {s.trace_id for s in spans}:
                db.execute(
                    "INSERT OR REPLACE INTO traces VALUES (?,?,?,?,?,?,?,?,?)",
                    self._summarised(trace_id),
                )
        self._forget()

    def _summarised(self, trace_id: str) -> tuple[Any, ...]:
        spans = self._spans(trace_id)
        ids = {s.span_id for s in spans}
        root = min(spans, key=lambda s: (s.parent_id in ids, s.start))
        return (
            trace_id,
            min(s.start for s in spans),
            max(s.end for s in spans),
            len(spans),
            sum(s.error for s in spans),
            json.dumps(list(dict.fromkeys(s.service for s in spans))),
            root.name,
            str(root.attributes.get("cloudevents.event_type", "")),
            _BATCH in root.attributes,
        )

    def _forget(self) -> None:
        (row,) = self._store.all("SELECT COUNT(*) AS n FROM spans")
        if row["n"] <= KEPT_SPANS:
            return
        with self._store.transaction() as db:
            old = (
                "SELECT trace_id FROM traces ORDER BY end LIMIT (SELECT COUNT(*) / 10 FROM traces)"
            )
            gone = [(r["trace_id"],) for r in db.execute(old)]
            db.executemany("DELETE FROM spans WHERE trace_id = ?", gone)
            db.executemany("DELETE FROM links WHERE to_trace = ?", gone)
            db.executemany("DELETE FROM traces WHERE trace_id = ?", gone)

    def latest(self, limit: int) -> list[Summary]:
        """Traces of records and requests, the newest first; not those of batches alone."""
        rows = self._store.all(
            "SELECT * FROM traces WHERE batch = 0 ORDER BY start DESC LIMIT ?", limit
        )
        return [
            Summary(
                r["trace_id"],
                r["name"],
                r["event_type"],
                tuple(json.loads(r["services"])),
                r["start"],
                r["end"],
                r["spans"],
                r["errors"],
            )
            for r in rows
        ]

    def get(self, trace_id: str) -> tuple[list[SpanRow], list[SpanRow]]:
        """The spans of a trace, and those of the batches that it is linked with."""
        own = self._spans(trace_id)
        linked = {t for s in own for t, _ in s.links}
        rows = self._store.all("SELECT DISTINCT trace_id FROM links WHERE to_trace = ?", trace_id)
        linked |= {r["trace_id"] for r in rows}
        linked.discard(trace_id)
        others = sorted(linked)[:LINKED_TRACES]
        return own, [s for other in others for s in self._batch(other)]

    def _batch(self, trace_id: str) -> list[SpanRow]:
        """Another record's trace may be linked too: only batches are brought along."""
        rows = self._store.all("SELECT batch FROM traces WHERE trace_id = ?", trace_id)
        return self._spans(trace_id) if rows and rows[0]["batch"] else []

    def _spans(self, trace_id: str) -> list[SpanRow]:
        return [
            SpanRow(
                r["trace_id"],
                r["span_id"],
                r["parent_id"],
                r["service"],
                r["name"],
                KINDS[r["kind"]],
                r["start"],
                r["end"],
                bool(r["error"]),
                json.loads(r["attributes"]),
                tuple((t, s) for t, s in json.loads(r["links"])),
            )
            for r in self._store.all(
                "SELECT * FROM spans WHERE trace_id = ? ORDER BY start", trace_id
            )
        ]
