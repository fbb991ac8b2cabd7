"""How does a finished span become bytes, and how do the bytes leave the process?

The SDK's own encoder costs about 70 us a span, which is most of what tracing costs and
nearly as much as handling a whole event. The few fields that a span of ours has are
written here by hand in 2-4 us; ``opentelemetry-proto`` is the oracle in the tests.
Exceptions' messages and stack traces are left out: they quote personal data.

A collector that is slow, away or refuses never disturbs the service: spans wait in a
bounded queue, the newest are dropped when it is full, drops are counted, and the log
says so once when it begins and once when it ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

import httpx
import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Span, StatusCode

from libs.common import metrics

log = structlog.get_logger(__name__)

QUEUE_SPANS = 20_000
BATCH_SPANS = 2_000
INTERVAL_SECONDS = 0.5
REQUEST_SECONDS = 5.0
RETRY_SECONDS_MAX = 30.0

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5

_TIMES = Struct("<BQBQ")  # start_time_unix_nano = 7, end_time_unix_nano = 8 (fixed64)
_DOUBLE = Struct("<Bd")
_ERROR_STATUS = b"\x7a\x02\x18\x02"  # status = 15: code = 3: STATUS_CODE_ERROR
_OK_STATUS = b"\x7a\x02\x18\x01"


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,)) if value >= 0 else varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + varint(len(content)) + content


def _any_value(value: Any) -> bytes:
    if isinstance(value, str):
        return _field(0x0A, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return _DOUBLE.pack(0x21, value)
    if isinstance(value, Sequence):
        return _field(0x2A, b"".join(_field(0x0A, _any_value(v)) for v in value))
    return _field(0x0A, str(value).encode())


def attribute(key: str, value: Any) -> bytes:
    """One attribute of a span (field 9: KeyValue)."""
    return _field(0x4A, _key_value(key, value))


def text_attribute(key: str) -> Callable[[str], bytes]:
    """The same for one ``key`` with many values, without doing the key again each time."""
    key_field = _field(0x0A, key.encode())

    def encode(value: str) -> bytes:
        raw = value.encode()
        size = len(raw)
        whole = len(key_field) + size + 4
        if whole > 0x7F:
            return attribute(key, value)
        return b"\x4a%c%b\x12%c\x0a%c%b" % (whole, key_field, size + 2, size, raw)

    return encode


def _key_value(key: str, value: Any) -> bytes:
    return _field(0x0A, key.encode()) + _field(0x12, _any_value(value))


def head(name: str, kind: int, attributes: Mapping[str, Any]) -> bytes:
    """The part of a span that all spans of its sort share; made once and kept."""
    return (
        _field(0x2A, name.encode())
        + bytes((0x30, kind))
        + b"".join(attribute(k, v) for k, v in attributes.items())
    )


def link(trace_id: bytes, span_id: bytes) -> bytes:
    """A link to a sampled span elsewhere (field 13; its flags: sampled, known to be remote)."""
    return b"\x6a\x21\x0a\x10%b\x12\x08%b\x35\x01\x03\x00\x00" % (trace_id, span_id)


def span(
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    head: bytes,
    start: int,
    end: int,
    tail: bytes = b"",
    error: bool = False,
) -> bytes:
    """A whole span, framed as an element of ``ScopeSpans.spans``; times in unix ns."""
    body = b"\x0a\x10%b\x12\x08%b%b%b%b%b%b" % (
        trace_id,
        span_id,
        b"\x22\x08" + parent_id if parent_id else b"",
        head,
        _TIMES.pack(0x39, start, 0x41, end),
        tail,
        _ERROR_STATUS if error else b"",
    )
    size = len(body)
    if 0x7F < size < 0x4000:  # nearly always: its varint has two bytes
        return b"\x12%c%c%b" % (size & 0x7F | 0x80, size >> 7, body)
    return _field(0x12, body)


_KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}


def sdk_span(finished: ReadableSpan) -> bytes:
    """A span made with the OpenTelemetry API, without its events and status text."""
    context = finished.context
    links = b"".join(
        link(li.context.trace_id.to_bytes(16, "big"), li.context.span_id.to_bytes(8, "big"))
        for li in finished.links
    )
    status = finished.status.status_code
    return span(
        context.trace_id.to_bytes(16, "big"),
        context.span_id.to_bytes(8, "big"),
        finished.parent.span_id.to_bytes(8, "big") if finished.parent else b"",
        head(finished.name, _KINDS[finished.kind.name], finished.attributes or {}),
        finished.start_time or 0,
        finished.end_time or 0,
        links + (_OK_STATUS if status is StatusCode.OK else b""),
        status is StatusCode.ERROR,
    )


class OtlpExporter(SpanProcessor):
    """Queues finished spans and posts them to ``<endpoint>/v1/traces`` from its own thread."""

    def __init__(
        self,
        endpoint: str,
        resource: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        post: Callable[[bytes], int] | None = None,
    ) -> None:
        self._client = httpx.Client(
            timeout=REQUEST_SECONDS,
            headers=dict(headers or {}),
            # Whatever proxy the machine names, it is not for what runs beside us.
            mounts={"all://127.0.0.1": None, "all://localhost": None},
        )
        self._url = endpoint.rstrip("/") + "/v1/traces"
        self._post = post or self._post_http
        self._resource = _field(
            0x0A, b"".join(_field(0x0A, _key_value(k, v)) for k, v in resource.items())
        )
        self._scope = _field(0x0A, _field(0x0A, b"lianxin"))
        self._queue: deque[bytes] = deque()
        self._unsent: list[bytes] = []
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="otlp-exporter", daemon=True)
        self._thread.start()

    def put(self, finished: bytes) -> None:
        if len(self._queue) >= QUEUE_SPANS:
            metrics.SPANS_LOST.inc()
        else:
            self._queue.append(finished)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do before a span has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self.put(sdk_span(span))

    def shutdown(self, timeout: float = 3.0) -> None:
        """Send what is left, but never hold up the process longer than ``timeout`` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        self._client.close()

    def force_flush(self, timeout_millis: int = 3_000) -> bool:
        deadline = time.monotonic() + timeout_millis / 1000
        while (self._queue or self._unsent) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not (self._queue or self._unsent)

    def _work(self) -> None:
        wait = INTERVAL_SECONDS
        while not self._stop.wait(wait):
            sent = self._send_all()
            wait = INTERVAL_SECONDS if sent else min(wait * 2, RETRY_SECONDS_MAX)
        self._send_all()

    def _send_all(self) -> bool:
        while self._queue or self._unsent:
            while self._queue and len(self._unsent) < BATCH_SPANS:
                self._unsent.append(self._queue.popleft())
            scope_spans = _field(0x12, self._scope + b"".join(self._unsent))
            status = self._try(_field(0x0A, self._resource + scope_spans))
            if status == 0 or status == 429 or status >= 500:
                return False
            if status >= 300:  # the collector will never take these
                metrics.SPANS_LOST.inc(len(self._unsent))
            self._unsent.clear()
        return True

    def _try(self, body: bytes) -> int:
        try:
            status = self._post(body)
        except Exception as error:  # an exporter's thread must survive anything
            status, reason = 0, type(error).__name__
        else:
            reason = str(status)
        failing = not 200 <= status < 300
        if failing and not self._failing:
            log.warning("trace_export_failing", reason=reason)
        if self._failing and not failing:
            log.info("trace_export_recovered")
        self._failing = failing
        return status

    def _post_http(self, body: bytes) -> int:
        headers = {"content-type": "application/x-protobuf"}
        return self._client.post(self._url, content=body, headers=headers).status_code
