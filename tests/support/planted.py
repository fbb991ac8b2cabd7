"""Records as a partner may publish them: right ones, and one for each thing that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.common.cloudevents import dataschema, partition_for
from libs.common.kafka.record import Record, Unreadable
from libs.common.undecodable import Reason
from tests.support.examples import BODIES, TRACEPARENT

TOPIC = "hospital.encounters"
TYPE = "hospital.encounter.discharged.v1"
PARTITIONS = 6
NOW = datetime.now(UTC).replace(microsecond=0)
#: Stands in every record; whoever prints it has printed something personal.
NAME = "林子涵"


@dataclass
class Sent:
    """A record as it is sent, and as it is read."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int
    offset: int = 0
    topic: str = TOPIC
    timestamp: int = int(NOW.timestamp() * 1000)


def sent(
    id: str = "d-1",
    /,
    *,
    key: bytes | None = b"h1/p-200870",
    partition: int | None = None,
    body: Mapping[str, Any] | None = None,
    value: bytes | None = b"-",
    **attributes: str | None,
) -> Sent:
    """A sound discharge, but for what is said otherwise; an attribute that is None is left out."""
    told = json.loads(BODIES[f"{TYPE}/child"]) | {"discharged_at": NOW.isoformat()} | (body or {})
    usual = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_source": "/hospitals/h1/his",
        "ce_type": TYPE,
        "ce_time": NOW.isoformat(),
        "ce_hospital": "h1",
        "ce_subject": told["encounter_id"],
        "ce_dataschema": dataschema(attributes.get("type") or TYPE),
        "ce_sequence": "1",
        "ce_traceparent": TRACEPARENT,
    }
    changes = {n if n == "content-type" else f"ce_{n}": v for n, v in attributes.items()}
    return Sent(
        key,
        json.dumps(told, ensure_ascii=False).encode() if value == b"-" else value,
        [(name, v.encode()) for name, v in (usual | changes).items() if v is not None],
        partition if partition is not None else partition_for(key or b"", PARTITIONS),
    )


def elsewhere() -> int:
    return (partition_for(b"h1/p-200870", PARTITIONS) + 1) % PARTITIONS


def merged(**more: Any) -> Sent:
    """An event of another topic."""
    type = "hospital.patient.merged.v1"
    body = BODIES[f"{type}/minimal"]
    patient = json.loads(body)["patient_id"]
    return sent(key=f"h1/{patient}".encode(), value=body, type=type, **more)


#: What is wrong -> the records with which it is, the last of them the wrong one.
WRONG: Mapping[str, Callable[[], list[Sent]]] = {
    Reason.EMPTY_BODY: lambda: [sent(value=None)],
    Reason.TOO_LARGE: lambda: [sent(body={"padding": "x" * 65536})],
    Reason.NOT_CLOUDEVENT: lambda: [replace(sent(), headers=[("content-type", b"text/plain")])],
    Reason.MISSING_ATTRIBUTE: lambda: [sent(time=None)],
    Reason.BAD_ATTRIBUTE: lambda: [sent(specversion="0.3")],
    Reason.BAD_TIME: lambda: [sent(time="yesterday")],
    Reason.TIME_AHEAD: lambda: [sent(time=(NOW + timedelta(hours=8)).isoformat())],
    Reason.UNKNOWN_MAJOR_VERSION: lambda: [sent(type="hospital.encounter.discharged.v9")],
    Reason.NOT_JSON: lambda: [sent(value=b'{"patient": ' + NAME.encode())],
    Reason.SCHEMA_VIOLATION: lambda: [sent(body={"patient": {"name": NAME, "birth_date": NAME}})],
    "unknown_type": lambda: [sent(type="hospital.stay.ended.v1")],
    "no_key": lambda: [sent(key=None)],
    "wrong_key": lambda: [sent(key=f"h1/{NAME}".encode())],
    "wrong_partition": lambda: [sent(partition=elsewhere())],
    "wrong_topic": lambda: [merged()],
    "reused_id": lambda: [sent(), sent(body={"disposition": "other"}, sequence="2")],
    "sequence_back": lambda: [sent("d-1", sequence="7"), sent("d-2", sequence="6")],
}
#: What could be better -> likewise.
ADVISABLE: Mapping[str, Callable[[], list[Sent]]] = {
    "repeated": lambda: [sent(), sent()],
    "long_past": lambda: [sent(time=(NOW - timedelta(days=8)).isoformat())],
    "other_dataschema": lambda: [sent(dataschema="https://his.example/discharge.json")],
    "unknown_field": lambda: [sent(body={"admittedAt": NAME})],
    "no_subject": lambda: [sent(subject=None)],
    "no_sequence": lambda: [sent(sequence=None)],
    "no_dataschema": lambda: [sent(dataschema=None)],
    "no_traceparent": lambda: [sent(traceparent=None)],
    "no_content-type": lambda: [sent(**{"content-type": None})],
}
UNREADABLE: Record = Unreadable(TOPIC, 0, 0)
