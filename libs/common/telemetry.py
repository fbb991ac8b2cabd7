"""How is one process's telemetry switched on and off?

Records and batches have spans of :mod:`libs.common.spans`, the database those of
:mod:`libs.common.mongo.spans`; elsewhere (HTTP) the OpenTelemetry API is used as usual,
with the global provider made here. All leave through one exporter, or nowhere if there
is no endpoint. Sampling follows the incoming flag, and the ratio where a trace begins.
"""

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from libs.common.mongo.spans import MongoSpans
from libs.common.otlp import OtlpExporter
from libs.common.spans import Batch, RecordSpan, Tracer, current_traceparent, is_sampled

__all__ = [
    "Batch",
    "MongoSpans",
    "RecordSpan",
    "Telemetry",
    "Tracer",
    "current_traceparent",
    "is_sampled",
    "setup",
]


class Telemetry:
    """The tracing of one process: ``tracer`` for records, ``mongo`` for the database."""

    def __init__(
        self,
        tracer: Tracer,
        mongo: MongoSpans,
        provider: TracerProvider,
        exporter: OtlpExporter | None,
    ) -> None:
        self.tracer, self.mongo, self.provider = tracer, mongo, provider
        self._exporter = exporter

    def shutdown(self) -> None:
        """Send what is left (3 s at most). Blocks: call it last, or from a thread."""
        if self._exporter is not None:
            self._exporter.shutdown()


def setup(
    service: str,
    *,
    endpoint: str | None = None,
    sample_ratio: float = 1.0,
    environment: str = "production",
    instance_id: str = "",
    install: bool = True,
) -> Telemetry:
    """Build tracing for ``service``; ``endpoint`` is an OTLP/HTTP base URL, or None for none.

    ``install`` also makes it the process's global OpenTelemetry provider, with W3C
    Trace Context as the only propagation.
    """
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "lianxin",
            "service.instance.id": instance_id or f"{service}-{os.getpid()}",
            "deployment.environment.name": environment,
        }
    )
    headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
    exporter = OtlpExporter(endpoint, resource.attributes, headers) if endpoint else None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=resource,
        shutdown_on_exit=False,
    )
    if exporter is not None:
        provider.add_span_processor(exporter)
    if install:
        trace.set_tracer_provider(provider)
        set_global_textmap(TraceContextTextMapPropagator())
    return Telemetry(
        Tracer(service, sample_ratio, exporter), MongoSpans(exporter), provider, exporter
    )
