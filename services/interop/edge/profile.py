"""What does one sender, of HL7 or FHIR, mean by its codes and identifiers?

The shape of ``policies/senders/*.yaml``. HL7's own tables stand in ``default.yaml``; a site's
file holds only what differs and is laid over it (:func:`layered`). A code that no table knows
is refused or passed as unknown, as the table says; either way it is seen: a note, or the
refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from libs.common.events import (
    AllergyCategory,
    Criticality,
    DiagnosisUse,
    Disposition,
    Gender,
    Interpretation,
    LinkScope,
    Relationship,
    ReportKind,
    ReportStatus,
    StaffRole,
    VerificationStatus,
    VisitClass,
)
from libs.common.events.base import Code, Language, Line, Word

T = TypeVar("T")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mode(StrEnum):
    """Whether messages that MSH-11 marks as training or debugging tell anybody."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class OnUnknown(StrEnum):
    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - to let pass


class LineStatus(StrEnum):
    """What OBX-11 (table 0085) makes of a report's line."""

    FINAL = "final"
    CORRECTED = "corrected"
    PENDING = "pending"  # not final yet
    ABSENT = "absent"  # a line without a result: not asked for, or cannot be had
    VOID = "void"  # taken back: of another patient, deleted


class OrderControl(StrEnum):
    """What ORC-1 (table 0119) makes of a prescription."""

    ISSUED = "issued"
    STOPPED = "stopped"
    ON_HOLD = "on_hold"  # stopped, for that reason
    RELEASED = "released"  # no longer on hold: it stays stopped
    BY_STATUS = "by_status"  # what ORC-5 says
    UNUSED = "unused"


class ExamControl(StrEnum):
    """What ORC-1 (table 0119) makes of an examination."""

    SCHEDULED = "scheduled"
    RESCHEDULED = "rescheduled"
    CANCELLED = "cancelled"
    BY_STATUS = "by_status"  # what ORC-5 says
    UNUSED = "unused"


class FillerStatus(StrEnum):
    """What SCH-25 (table 0278) says of an appointment."""

    BOOKED = "booked"
    NOT_YET = "not_yet"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    ENTERED_IN_ERROR = "entered_in_error"
    DISCONTINUED = "discontinued"


class Appointment(StrEnum):
    """What an appointment is for."""

    EXAM = "exam"
    VISIT = "visit"
    OTHER = "other"


class Availability(StrEnum):
    """What TXA-19 (table 0273) says of a document."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    GONE = "gone"


class AllergyStanding(StrEnum):
    """What IAM-17 (table 0438) says of an allergy."""

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    INACTIVE = "inactive"
    ERRONEOUS = "erroneous"


class Table(_Part, Generic[T]):
    """The sender's codes. ``unknown`` settles what happens to one that is missing."""

    unknown: OnUnknown = OnUnknown.PASS
    codes: Mapping[str, T] = Field(default_factory=dict)


class Identifier(_Part):
    """Which repetition of a CX field is the identifier: by type (CX-5), in this order, of
    these authorities (CX-4; none: of any)."""

    types: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    #: Never taken, not even for want of another: an id is part of keys and addresses.
    never: tuple[str, ...] = ()
    #: For a sender whose identifiers are all of one kind, whatever it calls them: of two kinds
    #: the first is now one, now the other.
    otherwise_first: bool = False


class DepartmentOf(_Part):
    code: Code
    name: Line | None = None


class Drug(_Part):
    """What a local drug code stands for: ATC, and the ingredient if it is not the same."""

    atc: Code
    ingredient: Code | None = None
    name: Line | None = None


class ExamOf(_Part):
    """What a site's code of a service stands for: an examination of a kind, under its name;
    without a kind, none."""

    kind: ReportKind | None
    title: Line | None = None


class DocumentKind(_Part):
    """What a type of documents is to patients: a report of a kind, under its name; without a
    kind, nothing that they are told of."""

    kind: ReportKind | None
    title: Line | None = None


class Sender(_Part):
    """HL7 v2: MSH-3 and MSH-4 (first components); absent: any. FHIR: whose token it is."""

    application: str | None = None
    facility: str | None = None
    #: ``sub`` of the token.
    subject: str | None = None

    @model_validator(mode="after")
    def _is_of_one_way_in(self) -> Sender:
        if self.subject is not None and (self.application or self.facility):
            raise ValueError("subject is of FHIR, application and facility of HL7 v2: not both")
        return self


class Defaults(_Part):
    """What holds where the sender says nothing; absent: refused as missing."""

    department: DepartmentOf | None = None
    disposition: Disposition | None = None
    visit_class: VisitClass | None = None
    report_kind: ReportKind | None = None
    prescriber_id: str | None = None
    days_supply: int | None = Field(default=None, ge=1, le=366)
    quantity_unit: Line | None = None
    #: FHIR: where a MedicationRequest says neither how to take it nor how much there is.
    dosage: Line | None = None
    quantity: float | None = Field(default=None, gt=0)


class Guardians(_Part):
    """Which of the persons in NK1 may act for the patient. Of an adult hardly anybody: who
    is only to be called in an emergency must not read findings. Who may for a child and not
    for an adult may until the child comes of age."""

    of_child: frozenset[Relationship]
    of_adult: frozenset[Relationship] = frozenset()
    scope: tuple[LinkScope, ...] = Field(default=(LinkScope.FULL,), min_length=1)
    verified_by: Word
    identifier: Identifier = Identifier()
    #: Without an identifier one is derived from patient, relationship and name; else left out.
    derive_id: bool = True


class Reports(_Part):
    """How reports are told apart and read."""

    #: Before OBR-3, where several laboratories count from 1.
    id_prefix: str = ""
    #: Whether the specimen (SPM-2) stands in a report's id: only where every message on the
    #: report has it, as a report that comes without it would be another one.
    id_with_specimen: bool = False
    #: OBX-3 of lines that are the finding in words, not one of its values.
    conclusion_codes: frozenset[str] = frozenset()
    #: OBX-8 that mean danger to life, besides those of table 0078.
    critical_flags: frozenset[str] = frozenset()


class Exams(_Part):
    """Which orders and appointments are examinations to come, and how they are told apart."""

    #: Kinds of orders (OBR-24) that a patient comes for; where the sender gives none, all are.
    kinds: frozenset[ReportKind] = frozenset()
    #: Whether an order's number (ORC-2, OBR-2, SCH-26) is one examination's alone, as HL7 has it.
    #: Else OBR-4 or AIS-3 stands in the examination's id, and must be the same in both.
    number_is_enough: bool = True
    #: What an appointment for a service (AIS) is if the tables do not know it.
    appointment: Appointment = Appointment.EXAM


class Documents(_Part):
    """How documents (MDM) are read."""

    #: TXA-18 of those that no patient sees until somebody releases them.
    held: frozenset[str] = frozenset()


class Clinical(_Part):
    """How conditions and allergies are read."""

    #: AL1-3 and IAM-3, code or text in upper case, that say that there is no allergy.
    no_allergy: frozenset[str] = frozenset()


class Prescriptions(_Part):
    """How prescriptions are told apart."""

    #: Whether an order's number (ORC-2) is one medicine's alone. Else the drug's code stands in
    #: the prescription's id, and an order that stops one has to name it, too.
    number_is_enough: bool = False
    #: HL7 v2: where the number that we gave a renewal comes back with the order that is a copy
    #: of it. What has not the form of our numbers is passed over.
    renewal_in: tuple[Annotated[str, Field(pattern=r"^(ORC-[2348]|RXE-15)$")], ...] = ("ORC-8",)


class Fhir(_Part):
    """What only FHIR has."""

    #: Addresses of code systems, by the names that ``systems`` and ``tables`` have for them.
    systems: Mapping[str, str] = Field(default_factory=dict)
    #: Which identifier is the platform's id; without one it is the resource's, which is one
    #: only among its sender's.
    encounter: Identifier = Identifier()
    report: Identifier = Identifier()
    prescription: Identifier = Identifier()
    dispense: Identifier = Identifier()
    practitioner: Identifier = Identifier()
    exam: Identifier = Identifier()
    #: Codes of a Practitioner's qualification from whose begin on they practise by themselves.
    licences: frozenset[str] = frozenset()
    #: Where an Encounter's department stands; the first that the table knows, else the first
    #: filled. Of an Organization or Location the first identifier counts, else its id.
    department_in: tuple[Literal["serviceProvider", "location", "serviceType", "type"], ...] = (
        "serviceProvider",
    )


class Systems(_Part):
    """Names of code systems as the sender writes them (CE-3), in upper case."""

    icd10: frozenset[str] = frozenset()
    atc: frozenset[str] = frozenset()
    loinc: frozenset[str] = frozenset()
    #: Where DG1-3.3 and DG1-2 are empty.
    diagnosis_if_absent: str = "I10"
    procedures: Mapping[str, Code] = Field(default_factory=dict)
    procedure_if_absent: Code = "ICD-9-CM-3"


class Tables(_Part):
    sex: Table[Gender]
    relationship: Table[Relationship | None]
    disposition: Table[Disposition]
    #: PV1-2; null: known, and neither a stay nor a visit.
    visit_class: Table[VisitClass | None]
    result_status: Table[ReportStatus]
    line_status: Table[LineStatus]
    interpretation: Table[Interpretation | None]
    report_kind: Table[ReportKind]
    diagnosis_use: Table[DiagnosisUse]
    order_control: Table[OrderControl]
    #: ORC-5 (0038) of a prescription, where ORC-1 says that it counts; that it is stopped or
    #: on hold always does.
    prescription_status: Table[OrderControl]
    exam_control: Table[ExamControl]
    #: The same of an examination.
    order_status: Table[ExamControl]
    filler_status: Table[FillerStatus]
    #: SCH-8.
    appointment: Table[Appointment] = Table[Appointment]()
    #: OBR-4 and AIS-3: keys ``SYSTEM|code``, or the code alone.
    exam: Table[ExamOf] = Table[ExamOf]()
    document_kind: Table[DocumentKind]
    document_status: Table[ReportStatus]
    document_availability: Table[Availability]
    allergy_category: Table[AllergyCategory | None]
    allergy_severity: Table[Criticality | None]
    allergy_status: Table[AllergyStanding]
    #: DG1-6: how sure a diagnosis of this type is.
    diagnosis_certainty: Table[VerificationStatus]
    frequency: Table[str] = Table[str]()
    language: Table[Language] = Table[Language]()
    department: Table[DepartmentOf] = Table[DepartmentOf]()
    #: What a PractitionerRole's code makes of somebody; null: nobody who has a part here.
    staff_role: Table[StaffRole | None] = Table[StaffRole | None]()
    #: Keys ``SYSTEM|code``, or the code alone where the sender names no system.
    drug: Table[Drug] = Table[Drug]()
    diagnosis: Table[Code] = Table[Code]()


def _certificate(name: str) -> str:
    """As ``edge/tls.py`` writes what a certificate says."""
    kind, _, digits = name.lower().partition(":")
    if kind != "sha256":
        return name.lower()
    digits = digits.replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("a fingerprint is sha256: and 64 hexadecimal digits")
    return f"sha256:{digits}"


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no IANA time zone") from None
    return name


class Profile(_Part):
    """All that is particular to one sender. Build it with :func:`layered`."""

    name: Word
    senders: tuple[Sender, ...] = ()
    mode: Mode = Mode.PRODUCTION
    #: Whose messages these are by their client certificate: a common name, a DNS name or
    #: ``sha256:`` and its fingerprint; none: that of anybody who may connect.
    certificates: frozenset[Annotated[Line, AfterValidator(_certificate)]] = frozenset()
    #: The zone of times without an offset; absent: the hospital's.
    zone: Annotated[str, AfterValidator(_is_zone)] | None = None
    patient: Identifier
    #: The visit's number; what follows is tried where the one before is empty.
    visit_number: tuple[Annotated[str, Field(pattern=r"^(PV1-19|PV1-50|PID-18)$")], ...] = (
        "PV1-19",
    )
    #: Where the department stands; the first that the table knows, else the first filled.
    department_in: tuple[Annotated[str, Field(pattern=r"^PV1-(3|10)$")], ...] = (
        "PV1-3",
        "PV1-10",
    )
    #: Whether PID-30 (death indicator) is believed; PV1-36 (disposition) is, either way.
    deaths: bool = False
    defaults: Defaults = Defaults()
    guardians: Guardians
    reports: Reports = Reports()
    prescriptions: Prescriptions = Prescriptions()
    exams: Exams = Exams()
    documents: Documents = Documents()
    clinical: Clinical = Clinical()
    systems: Systems = Systems()
    fhir: Fhir = Fhir()
    tables: Tables


def layered(*files: Mapping[str, Any]) -> dict[str, Any]:
    """The files laid over one another, the last on top: mappings are joined key by key,
    anything else is replaced."""
    whole: dict[str, Any] = {}
    for file in files:
        for key, value in file.items():
            below = whole.get(key)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                value = layered(below, value)
            whole[key] = value
    return whole
