"""What becomes of another system's message, and what do we keep of it?

A message is read and mapped before it comes here, so that there is nothing left that could
fail between its journal and its events: both are written in one transaction, and only then
is it acknowledged. What was refused is kept, too, for whoever mends its sender or profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    State,
    derived_id,
)
from libs.common.events import DischargeCancelled, EncounterDischarged, Event
from libs.common.events.base import Sensitive
from services.interop.domain.patient import Patient, completed


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
    """One message as it came in. Its id follows from sender, control id and content."""

    COLLECTION: ClassVar[str] = "messages"

    #: Sender and control id: what the sender takes for unique.
    control: str
    sender: str
    type: str
    received_at: datetime
    standing: Standing
    raw: Sensitive[bytes]
    patient_id: str = ""
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    #: Types and ids of the events that it gave.
    events: tuple[tuple[str, str], ...] = ()


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
    production: bool = True
    patient_id: str = ""
    #: Fields of the patient's record of which the message says nothing.
    left_out: frozenset[str] = frozenset()
    #: In the order of their occurrence. A ``DischargeCancelled`` names no discharge yet.
    events: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def control(self) -> str:
        return f"{self.sender}|{self.control_id}"

    @cached_property
    def receipt_id(self) -> str:
        """The same control id with another content is another message: senders reuse them."""
        return derived_id("message", self.control, blake2b(self.raw, digest_size=16).hexdigest())


class Result(BaseModel):
    """What the sender is told. ``id`` is that of the receipt."""

    model_config = ConfigDict(frozen=True)

    id: str
    standing: Standing
    faults: tuple[Fault, ...] = Field(default=())


def needs_received(input: Input, _state: State) -> Iterator[Need]:
    data: Received = input.data
    yield Need(Receipt, "id", data.receipt_id)
    yield Need(Receipt, "control", data.control)
    if data.patient_id:
        yield Need(Patient, "id", data.patient_id)
    for event in data.events:
        if isinstance(event, EncounterDischarged | DischargeCancelled):
            yield Need(Stay, "id", event.encounter_id)


def decide_received(input: Input, state: State, env: Env) -> Answer:
    """Once accepted, the same message is answered and tells nothing again; after a refusal
    it is tried afresh, whether its sender sends it again or staff take it up."""
    data: Received = input.data
    before = state.get(Receipt, data.receipt_id)
    if before is not None and before.standing is not Standing.REFUSED:
        return Decision(result=_result(before), note="repeated")
    notes = list(data.notes)
    if any(other.id != data.receipt_id for other in state.where(Receipt, "control", data.control)):
        notes.append("control_id_reused")
    receipt = before or Receipt(
        id=data.receipt_id,
        hospital=input.hospital,
        control=data.control,
        sender=data.sender,
        type=data.type,
        received_at=env.now,
        standing=Standing.REFUSED,
        raw=data.raw,
    )
    return _settled(input, state, data, receipt.but(notes=tuple(notes)))


def _result(receipt: Receipt) -> dict[str, Any]:
    found = Result(id=receipt.id, standing=receipt.standing, faults=receipt.faults)
    return found.model_dump(mode="json")


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
        for n, event in enumerate(events):
            events[n], about = completed(event, about, data.left_out)
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
        result=_result(kept),
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
