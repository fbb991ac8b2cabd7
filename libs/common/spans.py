"""How does what happens to one record become spans, at a price that a busy consumer can pay?

Two kinds of trace meet in a batch. Each sampled record has a *process* span in the trace
that its ``traceparent`` names, so that one discharge is one trace through all services.
The batch has a span in a trace of its own with the database's spans below it, because
one query serves 500 records. They are linked both ways. A record whose flag says "not
sampled" costs one comparison and passes its ``traceparent`` on unchanged.

Spans carry ids, types and counts; never a Kafka key, a query or an exception's text.
Their times and ids are the machine's own, even where the platform runs under simulated
time: a span measures the program.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from time import time_ns
from types import TracebackType
from typing import Any, Final, Literal, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from libs.common import otlp

_ODD: Final = frozenset("13579bdf")
_SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)
_KIND: Final = {
    "internal": otlp.INTERNAL,
    "client": otlp.CLIENT,
    "producer": otlp.PRODUCER,
    "consumer": otlp.CONSUMER,
}
Kind = Literal["internal", "client", "producer", "consumer"]

# random.getrandbits as in the SDK's generator: ids must be unlike, not unguessable.
_bits = random.getrandbits


def is_sampled(traceparent: str | None) -> bool:
    """Whether a version-00 ``traceparent`` (W3C Trace Context) says "sampled"."""
    return traceparent is not None and len(traceparent) == 55 and traceparent[54] in _ODD


def _ids(traceparent: str) -> tuple[bytes, bytes] | None:
    try:
        trace_id = bytes.fromhex(traceparent[3:35])
        span_id = bytes.fromhex(traceparent[36:52])
    except ValueError:
        return None
    usable = len(trace_id) == 16 and len(span_id) == 8 and any(trace_id) and any(span_id)
    return (trace_id, span_id) if usable else None


def current_traceparent() -> str | None:
    """The ``traceparent`` of the span we are in (an HTTP request's, above all)."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


class RecordSpan(Protocol):
    """The processing of one input. ``traceparent`` goes into what it emits."""

    @property
    def traceparent(self) -> str: ...

    def end(self, outcome: str, *, error: bool = False, batch: Batch | None = None) -> None:
        """Record it as ended now; ``outcome`` is a word from a closed list."""
        ...


class _Passing:
    """A record that is not sampled: only its context travels on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def end(self, outcome: str, *, error: bool = False, batch: Batch | None = None) -> None:
        pass


class _Sampled:
    __slots__ = ("_event_id", "_exporter", "_head", "_offset", "_parent", "_span", "_start",
                 "_trace", "traceparent")  # fmt: skip

    def __init__(
        self,
        exporter: otlp.OtlpExporter,
        trace_id: bytes,
        parent_id: bytes,
        head: bytes,
        event_id: str,
        offset: int | None,
    ) -> None:
        self._exporter, self._head = exporter, head
        self._trace, self._parent, self._span = trace_id, parent_id, _bits(64).to_bytes(8, "big")
        self._event_id, self._offset = event_id, offset
        self._start = time_ns()
        self.traceparent = f"00-{trace_id.hex()}-{self._span.hex()}-01"

    def end(self, outcome: str, *, error: bool = False, batch: Batch | None = None) -> None:
        tail = _outcome(outcome) + _event_id(self._event_id)
        if self._offset is not None:
            tail += _offset(self._offset)
        if batch is not None:
            tail += batch.link
        self._exporter.put(
            otlp.span(
                self._trace, self._span, self._parent, self._head, self._start, time_ns(), tail,
                error,
            )
        )  # fmt: skip


_event_id: Final = otlp.text_attribute("cloudevents.event_id")


def _offset(offset: int) -> bytes:
    return otlp.attribute("messaging.kafka.offset", offset)


@lru_cache(maxsize=256)
def _outcome(outcome: str) -> bytes:
    return otlp.attribute("lianxin.outcome", outcome)


class Batch:
    """One span for many records, in a trace of its own, with links to those sampled.

    A context manager: inside it the database's spans become its children. It exists
    only if at least one of the records is sampled. An exception marks it as failed.
    """

    __slots__ = ("_exporter", "_head", "_links", "_start", "_token", "link", "sampled",
                 "span_id", "trace_id")  # fmt: skip

    def __init__(
        self,
        exporter: otlp.OtlpExporter | None,
        traceparents: Iterable[str | None],
        name: str,
        kind: Kind,
        attributes: Mapping[str, Any],
    ) -> None:
        self._exporter = exporter
        links = [t for t in traceparents if t and len(t) == 55 and t[54] in _ODD]
        self.sampled = exporter is not None and bool(links)
        self.link = b""
        if self.sampled:
            self._links = b"".join([otlp.link(*ids) for t in links if (ids := _ids(t))])
            self._head = otlp.head(name, _KIND[kind], attributes)
            self.trace_id = _bits(128).to_bytes(16, "big")
            self.span_id = _bits(64).to_bytes(8, "big")
            self.link = otlp.link(self.trace_id, self.span_id)
            self._start = time_ns()

    def __enter__(self) -> Batch:
        if self.sampled:
            self._token = otel_context.attach(_context_of(self.trace_id, self.span_id))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        if self.sampled and self._exporter is not None:
            otel_context.detach(self._token)
            tail = self._links + (otlp.attribute("error.type", kind.__name__) if kind else b"")
            self._exporter.put(
                otlp.span(
                    self.trace_id, self.span_id, b"", self._head, self._start, time_ns(), tail,
                    kind is not None,
                )
            )  # fmt: skip


def _context_of(trace_id: bytes, span_id: bytes) -> otel_context.Context:
    span_context = trace.SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), False, _SAMPLED
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(span_context), otel_context.Context())


class Tracer:
    """Makes the spans of one service. ``exporter=None`` records nothing, contexts still pass."""

    def __init__(self, service: str, ratio: float, exporter: otlp.OtlpExporter | None) -> None:
        self._service, self._exporter = service, exporter
        self._bound = TraceIdRatioBased.get_bound_for_rate(ratio)
        self._heads: dict[tuple[str, str | None], bytes] = {}

    def record(
        self,
        traceparent: str | None,
        *,
        type: str,
        id: str,
        topic: str | None = None,
        offset: int | None = None,
    ) -> RecordSpan:
        """Begin the span of one input: an event of ``topic``, a command or a timer (no topic).

        Without a usable ``traceparent`` a new trace begins here, sampled by the ratio.
        ``type`` must be one that we know, not whatever came in.
        """
        if traceparent is not None and len(traceparent) == 55:
            if traceparent[54] not in _ODD or self._exporter is None:
                return _Passing(traceparent)
            ids = _ids(traceparent)
            if ids is not None:
                head = self._heads.get((type, topic)) or self._head(type, topic)
                return _Sampled(self._exporter, ids[0], ids[1], head, id, offset)
        trace_id = _bits(128)
        sampled = trace_id & 0xFFFF_FFFF_FFFF_FFFF < self._bound
        if self._exporter is None or not sampled:
            return _Passing(f"00-{trace_id:032x}-{_bits(64):016x}-{sampled:02x}")
        root = trace_id.to_bytes(16, "big")
        return _Sampled(self._exporter, root, b"", self._head(type, topic), id, offset)

    def batch(
        self,
        name: str,
        traceparents: Iterable[str | None],
        kind: Kind = "consumer",
        attributes: Mapping[str, Any] | None = None,
    ) -> Batch:
        """A span over many records, linked to those of ``traceparents`` that are sampled."""
        return Batch(self._exporter, traceparents, name, kind, attributes or {})

    def send(self, topic: str | None, traceparents: Iterable[str | None], count: int) -> Batch:
        """The span of one send of ``count`` records to ``topic``; ``None``: to several."""
        attributes: dict[str, Any] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.batch.message_count": count,
        }
        if topic is None:
            return self.batch("send", traceparents, "producer", attributes)
        attributes["messaging.destination.name"] = topic
        return self.batch(f"send {topic}", traceparents, "producer", attributes)

    @contextmanager
    def span(
        self,
        name: str,
        traceparent: str | None,
        kind: Kind = "internal",
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[str | None]:
        """A span below ``traceparent`` (a provider call, say); yields its own ``traceparent``."""
        ids = _ids(traceparent) if traceparent and is_sampled(traceparent) else None
        if ids is None or self._exporter is None:
            yield traceparent
            return
        span_id, start = _bits(64).to_bytes(8, "big"), time_ns()
        token = otel_context.attach(_context_of(ids[0], span_id))
        failed: str = ""
        try:
            yield f"00-{ids[0].hex()}-{span_id.hex()}-01"
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            otel_context.detach(token)
            tail = otlp.attribute("error.type", failed) if failed else b""
            head = otlp.head(name, _KIND[kind], attributes or {})
            self._exporter.put(
                otlp.span(ids[0], span_id, ids[1], head, start, time_ns(), tail, bool(failed))
            )

    def _head(self, type: str, topic: str | None) -> bytes:
        self._heads[type, topic] = head = self._new_head(type, topic)
        return head

    def _new_head(self, type: str, topic: str | None) -> bytes:
        if topic is None:
            return otlp.head(f"decide {type}", otlp.INTERNAL, {"lianxin.input": type})
        return otlp.head(
            f"process {topic}",
            otlp.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": topic,
                "messaging.consumer.group.name": f"lianxin.{self._service}",
                "cloudevents.event_type": type,
            },
        )
