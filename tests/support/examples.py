"""The hand-kept examples of ``contracts/examples``, as events to test with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from libs.common.cloudevents import CloudEvent
from libs.common.events import EVENT_TYPES, Event

FOLDER = Path(__file__).resolve().parents[2] / "contracts" / "examples"

#: ``<type>/<name>`` -> the body's bytes.
BODIES: dict[str, bytes] = {
    f"{path.parent.name}/{path.stem}": path.read_bytes() for path in sorted(FOLDER.glob("*/*.json"))
}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def example(name: str) -> Event:
    """The event of the example ``<type>/<name>``."""
    return EVENT_TYPES[name.partition("/")[0]].model_validate_json(BODIES[name], strict=True)


def cloud_event(name: str = "hospital.encounter.discharged.v1/child") -> CloudEvent:
    """The example with every context attribute that an event can have."""
    data = example(name)
    return CloudEvent(
        id="5d0c1f7e-8a1b-4c1e-9b52-0d6f3a9c7e11",
        source="/hospitals/h1/his",
        type=data.TYPE,
        subject=getattr(data, data.SUBJECT),
        time=datetime(2026, 11, 18, 2, 5, 1, 120_000, tzinfo=UTC),
        hospital="h1",
        data=data,
        sequence=7,
        correlationid="c-1",
        causationid="c-0",
        traceparent=TRACEPARENT,
        tracestate="vendor=1",
        dataschema=f"https://lianxin.example/schemas/{data.TYPE}.json",
    )
