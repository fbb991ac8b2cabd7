"""Of which trace is a measured time an example?

An exemplar is a trace's id beside one measurement of a histogram's bucket: a click in
Grafana leads from a slow bucket to a request that was slow. Only a sampled trace is named,
since no other can be looked at.
"""

from __future__ import annotations

import re
from typing import Final

from opentelemetry import trace

from libs.common.spans import is_sampled

Exemplar = dict[str, str] | None

#: What a partner writes there is shown to whoever reads the metrics: an id, and nothing else.
_TRACE_ID: Final = re.compile("[0-9a-f]{32}")


def of(traceparent: str | None) -> Exemplar:
    """The trace that a ``traceparent`` names."""
    if traceparent is None or not is_sampled(traceparent):
        return None
    trace_id = traceparent[3:35]
    return {"trace_id": trace_id} if _TRACE_ID.fullmatch(trace_id) else None


def current() -> Exemplar:
    """The trace of the span that we are in."""
    context = trace.get_current_span().get_span_context()
    sampled = context.is_valid and context.trace_flags.sampled
    return {"trace_id": f"{context.trace_id:032x}"} if sampled else None
