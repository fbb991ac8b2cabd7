"""What becomes of an event that a partner publishes over HTTP?

It is passed on as it is, with its own id, source and time. That it comes again, or under an
id that was used, is seen by the runtime's inbox, as with any other input.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Answer, Decision, Emit, Env, Input, Need, Original, State
from services.interop.domain.patient import Patient, completed


class Invalid(StrEnum):
    """Why events are not taken, besides what a partner may not do."""

    BATCH = "event_batch_invalid"
    EVENT = "event_invalid"
    HOSPITAL = "hospital_not_allowed"
    ID_REUSED = "event_id_reused"


class Publish(BaseModel):
    """An event that was read and may be written. ``event`` is its body."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    event: Any
    original: Original


def _key(data: Publish) -> str:
    return str(getattr(data.event, data.event.KEY))


def needs_publish(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Patient, "id", _key(input.data))


def decide_publish(input: Input, state: State, _env: Env) -> Answer:
    """One stream with what HL7 v2 and FHIR tell of the same patient, so that all of it leaves
    in the order in which it came."""
    data: Publish = input.data
    id = _key(data)
    stream = state.get(Patient, id) or Patient(id=id, hospital=input.hospital)
    _, after = completed(data.event, stream, frozenset())
    return Decision(
        changes=(after,),
        events=(Emit(data.event, about=after, original=data.original),),
        note="published",
    )
