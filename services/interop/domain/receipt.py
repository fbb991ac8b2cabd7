"""What becomes of another system's message, and what do we keep of it?

A message is read and mapped before it comes here, so that there is nothing left that could
fail between its journal and its events: both are written in one transaction, and only then
is it acknowledged. What was refused is kept, too, for whoever mends its sender or profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property, partial
from hashlib import blake2b
from typing import Any, ClassVar, Final

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
from libs.common.events import Event
from libs.common.events.base import Sensitive
from services.interop.domain.document import DocumentOf, StoredDocument
from services.interop.domain.exam import Booking, Exam, ExamEvent, planned
from services.interop.domain.kept import Kept
from services.interop.domain.patient import Patient, completed, repeats
from services.interop.domain.stay import Stay, StayEvent, followed


class Standing(StrEnum):
    """What became of a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_PRODUCTION = "not_production"  # MSH-11 says training or debugging: kept, tells nobody


class Format(StrEnum):
    """In which language a message is written."""

    HL7 = "hl7"
    FHIR = "fhir"


class Fault(BaseModel):
    """What is wrong, and where, in the words of the message's format; ``text`` holds no value
    of the message.

    HL7 v2 (ERR-2, ERR-3, ERR-8): segment, its sequence, field, a code of table 0357.
    FHIR (OperationOutcome.issue): expression (FHIRPath) and a code of its IssueType.
    """

    model_config = ConfigDict(frozen=True)

    segment: str = ""
    sequence: int = 1
    field: int = 0
    expression: str = ""
    code: str
    text: str


class Receipt(Document):
    """One message as it came in. Its id follows from sender, control id and content."""

    COLLECTION: ClassVar[str] = "messages"

    format: Format = Format.HL7
    #: Sender and control id: what the sender takes for unique.
    control: str
    sender: str
    type: str
    received_at: datetime
    standing: Standing
    patient_id: str = ""
    #: By what names its sender's certificate was known when it came.
    certificate: frozenset[str] = frozenset()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    #: Types and ids of the events that it gave.
    events: tuple[tuple[str, str], ...] = ()


class Cut(BaseModel):
    """A part that is kept elsewhere, by the SHA-256 of its content, which stands in its place
    (``at``, in hexadecimal). ``base64``: the part is the content's encoding, else itself."""

    model_config = ConfigDict(frozen=True)

    at: int
    sha256: str
    base64: bool


class Body(Document):
    """A message, apart from its receipt: lists need not read it. With its ``cuts`` put back it
    is what came, byte for byte."""

    COLLECTION: ClassVar[str] = "bodies"

    raw: Sensitive[bytes]
    received_at: datetime
    cuts: tuple[Cut, ...] = ()
    #: What else its sender said beside it (FHIR: method, path, condition), as JSON.
    request: Sensitive[str] = ""


class Control(Document):
    """The first message under a sender's control id, by which another one is noticed."""

    COLLECTION: ClassVar[str] = "controls"

    receipt_id: str
    received_at: datetime


class Received(BaseModel):
    """A message, read and mapped; ``faults`` if that was not possible."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    format: Format = Format.HL7
    sender: str
    control_id: str
    type: str
    raw: bytes
    cuts: tuple[Cut, ...] = ()
    #: Of the whole message, if parts of it are cut.
    digest: str = ""
    request: str = ""
    production: bool = True
    certificate: frozenset[str] = frozenset()
    patient_id: str = ""
    #: Fields of the patient's record of which the message says nothing.
    left_out: frozenset[str] = frozenset()
    #: Of which appointment of an examination it is.
    booking: Booking | None = None
    #: In the order of their occurrence. A ``DischargeCancelled`` names no discharge yet.
    events: tuple[Any, ...] = ()
    documents: tuple[DocumentOf, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    #: By SHA-256, what has to be stored before this is decided: cut parts and documents.
    blobs: dict[str, bytes] = Field(default_factory=dict, repr=False)
    #: Resources that differ from what is kept of them, each with the version that was read.
    kept: tuple[Kept, ...] = ()
    #: Ids and versions (0: none) of the resources that it was read with.
    seen: tuple[tuple[str, int], ...] = ()

    @property
    def control(self) -> str:
        return f"{self.sender}|{self.control_id}"

    def kept_aside(self, faults: tuple[Fault, ...]) -> Received:
        """The same message as one that can't be handled."""
        return self.model_copy(update={"events": (), "faults": faults})

    @property
    def control_key(self) -> str | None:
        return derived_id("control", self.control) if self.control_id else None

    @cached_property
    def receipt_id(self) -> str:
        """The same control id with another content is another message: senders reuse them."""
        digest = self.digest or digest_of(self.raw + self.request.encode())
        return derived_id("message", self.control, digest)


def digest_of(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


class Result(BaseModel):
    """What the sender is told. ``id`` is that of the receipt."""

    model_config = ConfigDict(frozen=True)

    id: str
    standing: Standing
    faults: tuple[Fault, ...] = Field(default=())


class Outdated(BaseModel):
    """Nothing was decided: what the message was read with is no more as it was. Read again."""

    outdated: bool = True


OUTDATED: Final = "outdated"


def needs_received(input: Input, _state: State) -> Iterator[Need]:
    data: Received = input.data
    yield Need(Receipt, "id", data.receipt_id)
    yield Need(Body, "id", data.receipt_id)
    if data.control_key:
        yield Need(Control, "id", data.control_key)
    for document in data.documents:
        yield Need(StoredDocument, "id", document.id)
    for id in {id for id, _ in data.seen} | {kept.id for kept in data.kept}:
        yield Need(Kept, "id", id)
    for event in data.events:
        yield Need(Patient, "id", _patient_of(event))
        if isinstance(event, StayEvent):
            yield Need(Stay, "id", event.encounter_id)
        if isinstance(event, ExamEvent):
            yield Need(Exam, "id", event.exam_id)


def decide_received(input: Input, state: State, env: Env) -> Answer:
    """Once accepted, the same message is answered and tells nothing again; before that it is
    tried afresh, whether its sender sends it again or staff take it up. A FHIR request that
    changes what is kept is no repetition: a resource may become again what it was."""
    data: Received = input.data
    if _is_outdated(data, state):
        return Decision(result=Outdated().model_dump(), note=OUTDATED)
    before = state.get(Receipt, data.receipt_id)
    if before is not None and before.standing is Standing.ACCEPTED and not data.kept:
        return Decision(result=_result(before), note="repeated")
    changes: dict[str, Document] = {f"kept/{kept.id}": kept for kept in data.kept}
    if before is None:
        known = state.get(Body, data.receipt_id)  # a body outlives its receipt by a day
        body = Body(
            id=data.receipt_id,
            hospital=input.hospital,
            raw=data.raw,
            cuts=data.cuts,
            request=data.request,
            received_at=env.now,
        )
        changes["body"] = known.but(received_at=env.now) if known else body
    notes = [*data.notes, *_reused(input, state, env, changes)]
    standing = Standing.ACCEPTED if data.production else Standing.NOT_PRODUCTION
    emits: list[Emit] = []
    if data.faults:
        standing = Standing.REFUSED
    elif data.production:
        emits = _told(input, state, changes, notes)
        for found in data.documents:
            changes[f"document/{found.id}"] = _document(input, state, found)
    receipt = before or Receipt(
        id=data.receipt_id,
        hospital=input.hospital,
        format=data.format,
        control=data.control,
        sender=data.sender,
        type=data.type,
        received_at=env.now,
        standing=standing,
    )
    receipt = receipt.but(
        standing=standing,
        patient_id=data.patient_id,
        certificate=data.certificate,
        faults=data.faults,
        notes=tuple(notes),
        events=(
            *receipt.events,
            *((e.data.TYPE, _event_id(input, n)) for n, e in enumerate(emits)),
        ),
    )
    return Decision(
        changes=(receipt, *changes.values()),
        events=tuple(emits),
        result=_result(receipt),
        note=standing,
    )


def _document(input: Input, state: State, found: DocumentOf) -> StoredDocument:
    known = state.get(StoredDocument, found.id)
    said = found.model_dump()
    return known.but(**said) if known else StoredDocument(hospital=input.hospital, **said)


def _is_outdated(data: Received, state: State) -> bool:
    """Whether somebody changed a resource between its reading and now."""
    kept = [(kept.id, kept.version) for kept in data.kept]
    now = ((state.get(Kept, id), version) for id, version in (*data.seen, *kept))
    return any((found.version if found else 0) != version for found, version in now)


def _reused(input: Input, state: State, env: Env, changes: dict[str, Document]) -> Iterator[str]:
    data: Received = input.data
    if data.control_key is None:
        return
    first = state.get(Control, data.control_key)
    if first is None:
        changes["control"] = Control(
            id=data.control_key,
            hospital=input.hospital,
            receipt_id=data.receipt_id,
            received_at=env.now,
        )
    elif first.receipt_id != data.receipt_id:
        yield "control_id_reused"


def _result(receipt: Receipt) -> dict[str, Any]:
    found = Result(id=receipt.id, standing=receipt.standing, faults=receipt.faults)
    return found.model_dump(mode="json")


def _told(input: Input, state: State, changes: dict[str, Document], notes: list[str]) -> list[Emit]:
    """What the message tells, each fact in its patient's stream, with what was known before."""
    data: Received = input.data
    emits: list[Emit] = []

    def patient(id: str) -> Patient:
        found = changes.get(f"patient/{id}") or state.get(Patient, id)
        assert found is None or isinstance(found, Patient)
        return found or Patient(id=id, hospital=input.hospital)

    for mapped in data.events:
        events: Sequence[Event] = [mapped]
        if isinstance(mapped, StayEvent):
            id = mapped.encounter_id
            stay = state.get(Stay, id) or Stay(id=id, hospital=input.hospital)
            ids = partial(_event_id, input, len(emits))
            events, changes[f"stay/{id}"] = followed(stay, mapped, ids)
            if not events:
                notes.append("no_discharge_to_cancel")
        elif isinstance(mapped, ExamEvent):
            id = mapped.exam_id
            exam = changes.get(f"exam/{id}") or state.get(Exam, id)
            assert exam is None or isinstance(exam, Exam)
            exam = exam or Exam(id=id, hospital=input.hospital)
            event, changes[f"exam/{id}"] = planned(exam, mapped, data.booking)
            events = [event] if event is not None else []
            if not events:
                notes.append("another_appointment_stands")
        for event in events:
            before = patient(_patient_of(event))
            if repeats(event, before):
                continue
            whole, about = completed(event, before, data.left_out)
            changes[f"patient/{about.id}"] = about
            emits.append(Emit(whole, about=about, subject=str(getattr(whole, whole.SUBJECT))))
    return emits


def _patient_of(event: Event) -> str:
    """Every event of a hospital system is about a patient, who is its key."""
    return str(getattr(event, event.KEY))


def _event_id(input: Input, first: int, n: int = 0) -> str:
    """The id that the runtime gives to the ``n``-th event after the ``first`` of an input."""
    return derived_id(input.hospital, input.source, input.id, first + n)
