"""What does the service keep?

The invariant (so many renewals since the last visit in person) lives in
the :class:`RenewalAccount` of one patient and one active ingredient: every decision that
takes, gives back or uses up a place writes it. What the hospital tells about a patient is
only read by those decisions and may be one event stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from pydantic import computed_field

from libs.common.decision import Document
from libs.common.events import (
    Department,
    FulfilmentMethod,
    Gender,
    LinkScope,
    Medication,
    Quantity,
    RefillStage,
    Sensitive,
)
from services.prescriptions.domain.assignment import Assignment
from services.prescriptions.domain.checks import Acknowledgement, ClinicalChecks
from services.prescriptions.domain.facts import Facts, Outcome, Value
from services.prescriptions.domain.transitions import Action, Status


class Link(Value):
    """That ``person_id`` may act for a patient, as one origin says it.

    ``origin`` is ``hospital`` or the membership that proves it. A link that ended stays,
    so that an older fact which comes later does not bring it back.
    """

    person_id: str
    origin: str
    scope: frozenset[LinkScope] = frozenset()
    since: datetime
    valid_until: datetime | None = None
    ended: bool = False


#: Before anything was told.
_NEVER = datetime.min.replace(tzinfo=UTC)


class Visit(Value):
    """A visit in person at one department. Without ``occurred_at`` only that it was taken back
    is known."""

    visit_id: str
    department_code: str = ""
    occurred_at: datetime | None = None
    #: When it was recorded so: what was recorded before it was taken back never was.
    told_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def took_place_at(self) -> datetime | None:
        """None: it was taken back."""
        stands = self.cancelled_at is None or self.cancelled_at < (self.told_at or _NEVER)
        return self.occurred_at if stands else None

    @property
    def place(self) -> tuple[datetime, str]:
        """In the order of time."""
        return self.occurred_at or self.cancelled_at or _NEVER, self.visit_id

    def united(self, other: Visit) -> Visit:
        """What two say of one visit, whichever was told first."""
        newest = max(self, other, key=lambda v: (v.told_at or _NEVER, v.place, v.department_code))
        ends = [v.cancelled_at for v in (self, other) if v.cancelled_at is not None]
        return newest.model_copy(update={"cancelled_at": max(ends, default=None)})


class PatientCare(Document):
    """What the hospital tells about one patient. ``aliases`` are all records merged into it."""

    COLLECTION: ClassVar[str] = "patient_care"
    SCHEMA: ClassVar[int] = 2

    birth_date: Sensitive[date | None] = None
    #: A prescription names its patient.
    name: Sensitive[str | None] = None
    gender: Sensitive[Gender | None] = None
    #: Since when the above is so, and which of the merged records says it.
    recorded_at: datetime | None = None
    recorded_as: str | None = None
    deceased_at: datetime | None = None
    merged_into: str | None = None
    aliases: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    #: In the order of time.
    visits: tuple[Visit, ...] = ()
    #: Codes that were told of one ingredient, by the first of which its account goes.
    alike: tuple[tuple[str, ...], ...] = ()
    #: The ingredients whose renewal was accepted on one day, the last on which one was.
    asked_on: date | None = None
    asked: tuple[str, ...] = ()


class Order(Value):
    """What was prescribed, as the hospital told it."""

    medication: Medication
    dosage: Sensitive[str]
    #: Whether nobody told it: then it is the sender's usual text.
    dosage_assumed: bool = False
    #: None: nobody told.
    quantity: Quantity | None = None
    days_supply: int | None = None
    prescriber_id: str
    department: Department
    authored_here: bool = True
    diagnoses: Sensitive[tuple[str, ...]] = ()
    issued_at: datetime
    based_on: str | None = None
    refill_id: str | None = None


class Changes(Value):
    """What a doctor prescribes otherwise than it was ordered; None: as it was.

    ``refills_allowed``: so many renewals after this one until the next visit in person, and
    fewer than the rules would allow.
    """

    quantity: Quantity | None = None
    days_supply: int | None = None
    dosage: Sensitive[str | None] = None
    strength: str | None = None
    refills_allowed: int | None = None

    @property
    def replaces(self) -> bool:
        """Whether the dosing is another: then it is a new prescription instead of the old."""
        return self.dosage is not None or self.strength is not None

    def of(self, order: Order) -> Order:
        """``order`` with the changes."""
        told = {"quantity": self.quantity, "days_supply": self.days_supply, "dosage": self.dosage}
        changed: dict[str, Any] = {k: v for k, v in told.items() if v is not None}
        if self.dosage is not None:
            changed["dosage_assumed"] = False
        if self.strength is not None:
            changed["medication"] = order.medication.model_copy(update={"strength": self.strength})
        return order.model_copy(update=changed)


class Prescription(Document):
    """One prescription of one medicine. Without an ``order`` only its end is known yet."""

    COLLECTION: ClassVar[str] = "prescriptions"

    patient_id: str
    order: Order | None = None
    #: As it was told last, to sort by; told again as it was, the order keeps its first one.
    issued_at: datetime | None = None
    #: When its sender wrote it so, if that was told, and when it was told: a correction may keep
    #: the time at which it was issued.
    updated_at: datetime | None = None
    told_at: datetime | None = None
    stopped_at: datetime | None = None


class Renewal(Value):
    """A renewal that became effective: it counts, at this time."""

    refill_id: str
    prescription_id: str  # the renewal's own
    #: The prescription that was renewed; None of those that were kept before.
    based_on: str | None = None
    effective_at: datetime
    #: What was renewed; None of those that were kept before.
    medication: Medication | None = None
    quantity: Quantity | None = None
    days_supply: int | None = None
    #: So many more may follow until the next visit in person, by the doctor who approved it.
    refills_allowed: int | None = None
    #: Whether it changed the dosing: what was prescribed before is no longer renewed.
    replaces: bool = False
    #: False: it lapsed or was withheld, so only what a pharmacy tells is a supply. It counts.
    supplied: bool = True


class RenewalAccount(Document):
    """One patient's renewals of one active ingredient, over all its prescriptions.

    ``open`` are the requests under way; each holds a place. There is one at most, save
    after a merge of patients. ``watched`` are those that took effect, until their days of
    supply are over or they are withheld: what the hospital tells may still concern them,
    however late a pharmacy tells where the medicine is.
    """

    COLLECTION: ClassVar[str] = "renewal_accounts"
    SCHEMA: ClassVar[int] = 2

    patient_id: str
    ingredient_code: str
    renewals: Sensitive[tuple[Renewal, ...]] = ()
    open: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()


class Step(Value):
    """One entry of a renewal's history: who did what, when, by which rules."""

    at: datetime
    action: Action
    from_status: Status | None
    to_status: Status
    person_id: str | None = None  # absent: a rule or a deadline
    role: str
    reason: str | None = None
    comment: Sensitive[str | None] = None
    #: What a doctor changed at this step.
    changes: Changes | None = None
    policy: str
    #: Of the request, event or timer that led to it: its traces and events have the same.
    correlation_id: str = ""
    #: What each rule said that was asked at this step, in the policy's order.
    outcomes: tuple[Outcome, ...] = ()
    #: What the clinical checks found for this step, and in spite of what it was taken.
    checks: ClinicalChecks | None = None
    acknowledged: tuple[Acknowledgement, ...] = ()


class Consent(Value):
    """What the patient's side signed for a long supply: ``text`` as it was shown."""

    person_id: str
    role: str
    at: datetime
    policy: str
    language: str
    text: str


class Signature(Value):
    """One signature of a form: a detached JWS by the key ``kid``."""

    role: str
    person_id: str
    at: datetime
    kid: str
    jws: str
    #: As the hospital told it when it was signed: a paper names people.
    name: Sensitive[str | None] = None


class SignedForm(Value):
    """A prescription as it was signed, byte by byte (see ``domain/form.py``)."""

    text: Sensitive[str]
    digest: str
    signatures: tuple[Signature, ...]


class SigningKey(Document):
    """A public key (JWK), from its first signature on and for ever: keys are replaced, what
    was signed stays verifiable. A key is one person's."""

    COLLECTION: ClassVar[str] = "signing_keys"

    person_id: str
    jwk: Mapping[str, str]
    first_used_at: datetime


class Chosen(Value):
    """How the patient's side wants the medicine. The address is deleted when it has served."""

    method: FulfilmentMethod
    pharmacy_id: str
    address: Sensitive[str | None] = None
    telephone: Sensitive[str | None] = None
    chosen_by: str
    chosen_at: datetime
    #: When that pharmacy said that it will not dispense it.
    declined_at: datetime | None = None


class Refill(Document):
    """One request to renew a prescription, from the asking to its end."""

    COLLECTION: ClassVar[str] = "refills"
    SCHEMA: ClassVar[int] = 3

    patient_id: str
    prescription_id: str
    ingredient_code: str
    department_code: str
    requested_by: str
    requested_at: datetime
    note: Sensitive[str | None] = None
    #: What is renewed, as it was when asked for.
    order: Order
    #: What the doctor's last answer changed of it.
    changes: Changes | None = None
    #: Of the order, beside it because lists ask for it.
    prescriber_id: str | None = None
    status: Status
    #: What the rules looked at when it was asked for.
    facts: Facts | None = None
    #: The newest clinical checks.
    checks: ClinicalChecks | None = None
    #: With whom it lies and since when: the work lists go by these two.
    stage: RefillStage | None = None
    waiting_since: datetime | None = None
    #: Decided by then, or once it is in effect dispensed by then.
    deadline: datetime | None = None
    #: Who decides on it alone, until then.
    holder_id: str | None = None
    held_until: datetime | None = None
    #: Claims, hand-overs and reminders; only ever added to.
    assignments: tuple[Assignment, ...] = ()
    reason: str | None = None
    number: int | None = None
    remaining: int | None = None
    doctor_id: str | None = None
    #: The doctor who signed it, as long as it is open and they work here: if it comes back,
    #: only they decide. None: any doctor of the department.
    bound_to: str | None = None
    signed_at: datetime | None = None
    valid_on: date | None = None
    #: For how many days the doctor approved it.
    days_supply: int | None = None
    #: Where a signature on paper is kept; ``consents`` are those that were given here.
    patient_signature: str | None = None
    consents: tuple[Consent, ...] = ()
    pharmacist_id: str | None = None
    effective_at: datetime | None = None
    new_prescription_id: str | None = None
    fulfilment: Chosen | None = None
    #: The pharmacy where it lies ready, else the last one that handed it out, chosen or not.
    dispensed_by: str | None = None
    #: What is wrong with how it was dispensed (see ``domain/fulfilment.py``).
    irregular: tuple[str, ...] = ()
    #: One for each approval; the last one holds.
    forms: tuple[SignedForm, ...] = ()
    history: tuple[Step, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def changed_at(self) -> datetime:
        """When it was last changed; stored, since live lists ask what changed since."""
        steps = [step.at for step in self.history[-1:]]
        return max((*steps, *(a.at for a in self.assignments[-1:])), default=self.requested_at)

    @property
    def withheld_at(self) -> datetime | None:
        """Since when nothing may be dispensed on it, whatever a pharmacy told after that."""
        return next((s.at for s in self.history if s.to_status is Status.WITHHELD), None)

    @property
    def paper_status(self) -> Status:
        """How it stands on paper: what was withheld stays void."""
        return self.status if self.withheld_at is None else Status.WITHHELD

    @property
    def prescribed(self) -> Order:
        """What is signed and dispensed: the order, as the doctor changed it."""
        return self.order if self.changes is None else self.changes.of(self.order)
