"""Which database commands become spans?

A client span for each command below a sampled span (a batch's or a request's), none
otherwise. It holds the command's name and the collection, never the command itself.
"""

from __future__ import annotations

import random
from functools import lru_cache
from time import time_ns

from opentelemetry import trace

from libs.common import otlp

_bits = random.getrandbits


class MongoSpans:
    """Called from the driver's command listener, which runs in Motor's threads: Motor copies
    the caller's context into them (tested), so the current span is known there.
    """

    def __init__(self, exporter: otlp.OtlpExporter | None) -> None:
        self._exporter = exporter
        self._open: dict[int, tuple[bytes, bytes, bytes, int]] = {}

    def command_started(self, name: str, collection: str | None, request_id: int) -> None:
        if self._exporter is None:
            return
        parent = trace.get_current_span().get_span_context()
        if not (parent.is_valid and parent.trace_flags.sampled):
            return
        self._open[request_id] = (
            parent.trace_id.to_bytes(16, "big"),
            parent.span_id.to_bytes(8, "big"),
            _command_head(name, collection),
            time_ns(),
        )

    def command_succeeded(self, request_id: int) -> None:
        self._end(request_id, b"", False)

    def command_failed(self, request_id: int, error_type: str) -> None:
        self._end(request_id, otlp.attribute("error.type", error_type), True)

    def _end(self, request_id: int, tail: bytes, error: bool) -> None:
        begun = self._open.pop(request_id, None)
        if begun is not None and self._exporter is not None:
            trace_id, parent_id, head, start = begun
            span_id = _bits(64).to_bytes(8, "big")
            self._exporter.put(
                otlp.span(trace_id, span_id, parent_id, head, start, time_ns(), tail, error)
            )


@lru_cache(maxsize=1024)
def _command_head(name: str, collection: str | None) -> bytes:
    attributes = {"db.system.name": "mongodb", "db.operation.name": name}
    if collection:
        attributes["db.collection.name"] = collection
    return otlp.head(f"{name} {collection}" if collection else name, otlp.CLIENT, attributes)
