"""What becomes of another system's message, and what do we keep of it?

A message is read and mapped before it comes here, so that there is nothing left that could
fail between its journal and its events: both are written in one transaction, and only then
is it acknowledged. What was refused is kept, too, for whoever mends its sender or profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    derived_id,
    unchanged,
)
from libs.common.events import DischargeCancelled, EncounterDischarged, Event
from libs.common.events.base import Sensitive


class Standing(StrEnum):
    """What became of a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_PRODUCTION = "not_production"  # MSH-11 says training or debugging: kept, tells nobody


class Fault(BaseModel):
    """What is wrong, and where: HL7's own way to say it (ERR-2, ERR-3, ERR-8).

    ``code`` is of table 0357; ``text`` holds no value of the message.
    """

    model_config = ConfigDict(frozen=True)

    segment: str
    sequence: int = 1
    field: int = 0
    code: str
    text: str


#: A visit of which no discharge is known has none to cancel.
UNKNOWN_KEY = "204"


class Receipt(Document):
    """One message as it came in. Its id is the input's that brought it."""

    COLLECTION: ClassVar[str] = "messages"

    #: Sender and control id: what the sender takes for unique.
    control: str
    sender: str
    type: str
    received_at: datetime
    body_hash: str
    standing: Standing
    raw: Sensitive[bytes]
    patient_id: str = ""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    #: Types and ids of the events that it gave.
    events: tuple[tuple[str, str], ...] = ()


class Patient(Document):
    """In whose stream one patient's facts are numbered, so that they leave in order."""

    COLLECTION: ClassVar[str] = "patients"


class Stay(Document):
    """Which discharge of a stay a cancellation takes back: the last one."""

    COLLECTION: ClassVar[str] = "stays"

    discharge_event_id: str | None = None


class Received(BaseModel):
    """A message, read and mapped; ``faults`` if that was not possible."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    sender: str
    control_id: str
    type: str
    raw: bytes
    body_hash: str
    production: bool = True
    patient_id: str = ""
    #: In the order of their occurrence. A ``DischargeCancelled`` names no discharge yet.
    events: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def control(self) -> str:
        return f"{self.sender}|{self.control_id}"


class Result(BaseModel):
    """What the sender is told; kept for the same message coming again."""

    model_config = ConfigDict(frozen=True)

    standing: Standing
    faults: tuple[Fault, ...] = Field(default=())


class Reprocess(BaseModel):
    """Take a refused message up again, read and mapped with today's profile."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    receipt_id: str
    again: Received


def needs_received(input: Input, _state: State) -> Iterator[Need]:
    yield from _needs(input.data, input.id)


def decide_received(input: Input, state: State, env: Env) -> Answer:
    data: Received = input.data
    notes = list(data.notes)
    others = state.where(Receipt, "control", data.control)
    if any(other.body_hash != data.body_hash for other in others):
        notes.append("control_id_reused")
    receipt = Receipt(
        id=input.id,
        hospital=input.hospital,
        control=data.control,
        sender=data.sender,
        type=data.type,
        received_at=env.now,
        body_hash=data.body_hash,
        standing=Standing.REFUSED,
        raw=data.raw,
    )
    return _settled(input, state, data, receipt.but(notes=tuple(notes)))


def needs_reprocess(input: Input, _state: State) -> Iterator[Need]:
    yield from _needs(input.data.again, input.data.receipt_id)


def decide_reprocess(input: Input, state: State, _env: Env) -> Answer:
    """As if it had come right the first time. What told something tells nothing again."""
    command: Reprocess = input.data
    receipt = state.get(Receipt, command.receipt_id)
    if receipt is None:
        return Refusal(Common.NOT_FOUND)
    if receipt.standing is not Standing.REFUSED:
        return Refusal(Common.WRONG_STATUS)
    if not unchanged(input, receipt):
        return Refusal(Common.CHANGED)
    return _settled(input, state, command.again, receipt.but(notes=command.again.notes))


def _needs(data: Received, receipt_id: str) -> Iterator[Need]:
    yield Need(Receipt, "id", receipt_id)
    yield Need(Receipt, "control", data.control)
    if data.patient_id:
        yield Need(Patient, "id", data.patient_id)
    for event in data.events:
        if isinstance(event, EncounterDischarged | DischargeCancelled):
            yield Need(Stay, "id", event.encounter_id)


def _settled(input: Input, state: State, data: Received, receipt: Receipt) -> Decision:
    """``receipt`` with what became of the message, and what the message tells."""
    faults, events, changes = list(data.faults), list[Event](), dict[str, Document]()
    if data.production and not faults:
        events, faults = _events(input, state, data.events, changes)
    standing = Standing.ACCEPTED if data.production else Standing.NOT_PRODUCTION
    if faults:
        standing, events, changes = Standing.REFUSED, [], {}
    emits: list[Emit] = []
    if events:
        known = state.get(Patient, data.patient_id)
        about = known or Patient(id=data.patient_id, hospital=input.hospital)
        emits = [Emit(e, about=about, subject=str(getattr(e, e.SUBJECT))) for e in events]
        changes["patient"] = about
    kept = receipt.but(
        standing=standing,
        patient_id=data.patient_id,
        faults=tuple(faults),
        events=tuple((e.TYPE, _event_id(input, n)) for n, e in enumerate(events)),
    )
    return Decision(
        changes=(kept, *changes.values()),
        events=tuple(emits),
        result=Result(standing=standing, faults=tuple(faults)).model_dump(mode="json"),
        note=standing,
    )


def _events(
    input: Input, state: State, mapped: Iterable[Event], changes: dict[str, Document]
) -> tuple[list[Event], list[Fault]]:
    """``mapped`` with what it takes from what was before; the stays go to ``changes``."""
    events: list[Event] = []
    for n, event in enumerate(mapped):
        if isinstance(event, EncounterDischarged | DischargeCancelled):
            id = event.encounter_id
            stay = changes.get(id) or state.get(Stay, id) or Stay(id=id, hospital=input.hospital)
            assert isinstance(stay, Stay)
            if isinstance(event, EncounterDischarged):
                changes[id] = stay.but(discharge_event_id=_event_id(input, n))
            elif stay.discharge_event_id is None:
                fault = Fault(
                    segment="PV1",
                    field=19,
                    code=UNKNOWN_KEY,
                    text="no discharge of this visit is known that could be cancelled",
                )
                return [], [fault]
            else:
                event = event.model_copy(update={"discharge_event_id": stay.discharge_event_id})
                changes[id] = stay.but(discharge_event_id=None)
        events.append(event)
    return events, []


def _event_id(input: Input, n: int) -> str:
    """The id that the runtime gives to the ``n``-th event of an input."""
    return derived_id(input.hospital, input.source, input.id, n)
