"""What does the service keep, and which ways may a renewal go?

Four aggregates. The invariant (so many renewals since the last visit in person) lives in
the :class:`RenewalAccount` of one patient and one active ingredient: every decision that
takes, gives back or uses up a place writes it. What the hospital tells about a patient is
only read by those decisions and may be one event stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

from libs.common.decision import Document
from libs.common.events import (
    Department,
    Gender,
    LinkScope,
    Medication,
    Quantity,
    RefillStage,
    Sensitive,
)
from services.prescriptions.domain.facts import Facts, Outcome, Value


class Status(StrEnum):
    WAITING_DOCTOR = "waiting_doctor"
    WAITING_PHARMACIST = "waiting_pharmacist"
    RETURNED = "returned"  # by a pharmacist, to the doctor who signed
    EFFECTIVE = "effective"
    DECLINED = "declined"  # by the doctor
    REFUSED = "refused"  # by a rule or a pharmacist
    CANCELLED = "cancelled"  # by the patient's side
    EXPIRED = "expired"


class Action(StrEnum):
    REQUEST = "request"
    REFUSE = "refuse"  # a rule says no to a request
    APPROVE = "approve"
    DECLINE = "decline"
    PASS = "pass"  # noqa: S105 - a pharmacist's word
    RETURN = "return"
    REJECT = "reject"  # a pharmacist refuses
    CANCEL = "cancel"
    EXPIRE = "expire"
    CLOSE = "close"  # a rule says no to a request that was under way


S, A = Status, Action
#: Every way that a renewal may go; what is not here is refused as ``wrong_status``.
TABLE: dict[tuple[Status | None, Action], Status] = {
    (None, A.REQUEST): S.WAITING_DOCTOR,
    (None, A.REFUSE): S.REFUSED,
    (S.WAITING_DOCTOR, A.APPROVE): S.WAITING_PHARMACIST,
    (S.WAITING_DOCTOR, A.DECLINE): S.DECLINED,
    (S.WAITING_DOCTOR, A.CANCEL): S.CANCELLED,
    (S.WAITING_DOCTOR, A.EXPIRE): S.EXPIRED,
    (S.WAITING_DOCTOR, A.CLOSE): S.REFUSED,
    (S.RETURNED, A.APPROVE): S.WAITING_PHARMACIST,
    (S.RETURNED, A.DECLINE): S.DECLINED,
    (S.RETURNED, A.CANCEL): S.CANCELLED,
    (S.RETURNED, A.EXPIRE): S.EXPIRED,
    (S.RETURNED, A.CLOSE): S.REFUSED,
    (S.WAITING_PHARMACIST, A.PASS): S.EFFECTIVE,
    (S.WAITING_PHARMACIST, A.RETURN): S.RETURNED,
    (S.WAITING_PHARMACIST, A.REJECT): S.REFUSED,
    (S.WAITING_PHARMACIST, A.CANCEL): S.CANCELLED,
    (S.WAITING_PHARMACIST, A.EXPIRE): S.EXPIRED,
    (S.WAITING_PHARMACIST, A.CLOSE): S.REFUSED,
}

#: With whom a renewal lies while it is open; in any other status it is over.
STAGE: dict[Status, RefillStage] = {
    S.WAITING_DOCTOR: RefillStage.DOCTOR,
    S.RETURNED: RefillStage.DOCTOR,
    S.WAITING_PHARMACIST: RefillStage.PHARMACIST,
}


class Reason(StrEnum):
    """Why a rule says no. Texts: the policy's for its rules, ``api/acting.py`` for the others."""

    AGE_UNKNOWN = "age_unknown"
    GUARDIAN_NEEDED = "guardian_needed"
    OTHER_HOSPITAL = "other_hospital"
    PRESCRIPTION_STOPPED = "prescription_stopped"
    TOO_OLD = "too_old"
    NEVER_CLASS = "never_class"
    NOT_ON_LIST = "not_on_list"
    OPEN_REQUEST = "open_request"
    RENEWAL_LIMIT_REACHED = "renewal_limit_reached"
    PATIENT_DECEASED = "patient_deceased"
    SEPARATION_OF_DUTIES = "separation_of_duties"
    NOT_THE_SIGNING_DOCTOR = "not_the_signing_doctor"
    DEADLINE_PASSED = "deadline_passed"
    VALIDITY_TOO_LONG = "validity_too_long"
    REASON_MISSING = "reason_missing"
    CHILD_TOO_YOUNG = "child_too_young"
    TOO_EARLY = "too_early"
    TOO_MANY_MEDICINES = "too_many_medicines"
    SUPPLY_TOO_LONG = "supply_too_long"
    SUPPLY_REASON_MISSING = "supply_reason_missing"
    LONG_SUPPLY_CONDITIONS = "long_supply_conditions"
    DECLARATION_MISSING = "declaration_missing"
    SOMETHING_CHANGED = "something_changed"
    CONDITION_CHANGED = "condition_changed"
    PRACTICE_TOO_SHORT = "practice_too_short"
    ALLERGY_RECORDED = "allergy_recorded"
    DAYS_SUPPLY_MISSING = "days_supply_missing"
    DAYS_SUPPLY_FIXED = "days_supply_fixed"
    RECORD_MISSING = "record_missing"
    UNSIGNED = "unsigned"  # of a step that has to be signed
    UNSIGNED_BY_DOCTOR = "unsigned_by_doctor"  # approved before signatures were kept
    KEY_OF_ANOTHER = "key_of_another"
    # About what the hospital told:
    IN_THE_FUTURE = "in_the_future"
    ALREADY_MERGED = "already_merged"


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


class Visit(Value):
    """The newest visit in person at one department; only the newest ever counts."""

    department_code: str
    visit_id: str
    occurred_at: datetime


class PatientCare(Document):
    """What the hospital tells about one patient. ``aliases`` are all records merged into it."""

    COLLECTION: ClassVar[str] = "patient_care"

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
    visits: tuple[Visit, ...] = ()
    #: The ingredients whose renewal was accepted on one day, the last on which one was.
    asked_on: date | None = None
    asked: tuple[str, ...] = ()


class Order(Value):
    """What was prescribed, as the hospital told it."""

    medication: Medication
    dosage: Sensitive[str]
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


class Prescription(Document):
    """One prescription of one medicine. Without an ``order`` only its end is known yet."""

    COLLECTION: ClassVar[str] = "prescriptions"

    patient_id: str
    order: Order | None = None
    issued_at: datetime | None = None  # of the order, to sort by
    stopped_at: datetime | None = None


class Renewal(Value):
    """A renewal that became effective: it counts, at this time."""

    refill_id: str
    prescription_id: str  # the renewal's own
    effective_at: datetime
    days_supply: int | None = None


class RenewalAccount(Document):
    """One patient's renewals of one active ingredient, over all its prescriptions.

    ``open`` are the requests under way; each holds a place. There is one at most, save
    after a merge of patients.
    """

    COLLECTION: ClassVar[str] = "renewal_accounts"

    patient_id: str
    ingredient_code: str
    renewals: tuple[Renewal, ...] = ()
    open: tuple[str, ...] = ()


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
    policy: str
    #: What each rule said that was asked at this step, in the policy's order.
    outcomes: tuple[Outcome, ...] = ()


class Signature(Value):
    """One signature of a form: a detached JWS by the key ``kid``."""

    role: str
    person_id: str
    at: datetime
    kid: str
    jws: str


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


class Refill(Document):
    """One request to renew a prescription, from the asking to its end."""

    COLLECTION: ClassVar[str] = "refills"

    patient_id: str
    prescription_id: str
    ingredient_code: str
    department_code: str
    requested_by: str
    requested_at: datetime
    note: Sensitive[str | None] = None
    #: What is renewed, as it was when asked for: this is what doctor and pharmacist sign.
    order: Order
    status: Status
    #: What the rules looked at when it was asked for.
    facts: Facts | None = None
    #: With whom it lies and since when: the work lists go by these two.
    stage: RefillStage | None = None
    waiting_since: datetime | None = None
    deadline: datetime | None = None
    reason: str | None = None
    number: int | None = None
    remaining: int | None = None
    doctor_id: str | None = None
    signed_at: datetime | None = None
    valid_on: date | None = None
    #: For how many days the doctor approved it.
    days_supply: int | None = None
    patient_signature: str | None = None
    pharmacist_id: str | None = None
    effective_at: datetime | None = None
    new_prescription_id: str | None = None
    #: One for each approval; the last one holds.
    forms: tuple[SignedForm, ...] = ()
    history: tuple[Step, ...] = ()
