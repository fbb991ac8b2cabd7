"""Can the rules have made this stored renewal?

Its history is replayed through the table, and what is stored beside it is compared with what
its steps must have left. The checker shares the table and the words with the rules and
nothing else, so that it finds what a mistake of theirs, or a hand in the database, has done.
Whether the signatures hold is arithmetic and asked elsewhere. A fault names steps and fields,
never persons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.documents import Refill, SignedForm, Step
from services.prescriptions.domain.facts import Verdict
from services.prescriptions.domain.following import ROLE as PHARMACY
from services.prescriptions.domain.form import PrescriptionForm, digest, own_prescription
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.steps import SYSTEM, deadline
from services.prescriptions.domain.transitions import FULFILLED, STAGE, TABLE, Action, Status

#: By so much the clocks of two replicas may differ.
SKEW: Final = timedelta(seconds=5)
#: So late a timer may be that ends what is overdue.
LATE: Final = timedelta(minutes=15)

_PATIENT_SIDE = frozenset({"patient", "guardian"})
_DOCTOR, _PHARMACIST = frozenset({doctor.ROLE}), frozenset({pharmacist.ROLE})
_NOBODY = frozenset({SYSTEM})
#: A pharmacy tells of itself as a whole, and of what has happened, in time or not.
_NO_PERSON = frozenset({SYSTEM, PHARMACY})
_BY_TIME = frozenset({Action.EXPIRE, Action.LAPSE})
#: In which role each step is taken; ``system`` is a rule or a deadline, and no person.
BY: Final[Mapping[Action, frozenset[str]]] = {
    Action.REQUEST: _PATIENT_SIDE,
    Action.REFUSE: _PATIENT_SIDE,  # of what they asked for
    Action.CANCEL: _PATIENT_SIDE,
    Action.APPROVE: _DOCTOR,
    Action.CHANGE: _DOCTOR,
    Action.REPLACE: _DOCTOR,
    Action.DECLINE: _DOCTOR,
    Action.NEED_VISIT: _DOCTOR,
    Action.PASS: _PHARMACIST,
    Action.RETURN: _PHARMACIST,
    Action.REJECT: _PHARMACIST,
    Action.EXPIRE: _NOBODY,
    Action.CLOSE: _NOBODY,
    **dict.fromkeys(FULFILLED, frozenset({PHARMACY})),
    Action.SUSPEND: _NOBODY,
    Action.LAPSE: _NOBODY,
    Action.WARN: _NOBODY,
}


class Wrong(StrEnum):
    NO_HISTORY = "no_history"
    GAP = "gap"  # a step does not begin where the one before it ended
    NOT_IN_TABLE = "not_in_table"
    TIME_GOES_BACK = "time_goes_back"
    STATUS_DIFFERS = "status_differs"  # from the last step's
    NO_PERSON = "no_person"
    PERSON_OF_NO_STEP = "person_of_no_step"  # of one that a rule or a deadline took
    ROLE = "role"  # in which nobody may take the step
    OWN_REQUEST = "own_request"  # decided on by who asked
    NOT_APPROVED = "not_approved"  # passed, and no doctor's approval stands
    ONE_PERSON = "one_person"  # approved and passed it
    RULE_SAID_NO = "rule_said_no"  # and the step was taken
    AFTER_DEADLINE = "after_deadline"
    BEFORE_DEADLINE = "before_deadline"  # expired too early
    OVERDUE = "overdue"
    POLICY_UNKNOWN = "policy_unknown"  # its file is gone, so deadlines can't be checked
    FORM = "form"  # missing, changed, or of something else
    SIGNATURES = "signatures"  # not exactly those of who approved and passed
    FIELD = "field"  # is not what the steps have left


class Fault(NamedTuple):
    wrong: Wrong
    step: int | None = None  # counted from 1
    field: str | None = None

    def __str__(self) -> str:
        where = f" at step {self.step}" if self.step else ""
        return f"{self.wrong}{where}{f': {self.field}' if self.field else ''}"


def faults(
    refill: Refill, policies: RenewalPolicies, now: datetime | None = None
) -> Iterator[Fault]:
    """What is wrong with ``refill``; with ``now`` also whether it should be over."""
    if not refill.history:
        yield Fault(Wrong.NO_HISTORY)
        return
    yield from _replayed(refill)
    yield from _taken_by(refill)
    yield from _in_time(refill, policies)
    yield from _signed(refill)
    for field, value in _left(refill, policies).items():
        if getattr(refill, field) != value:
            yield Fault(Wrong.FIELD, field=field)
    if now is not None and refill.deadline is not None and refill.deadline + LATE < now:
        yield Fault(Wrong.OVERDUE)


def _replayed(refill: Refill) -> Iterator[Fault]:
    before: Status | None = None
    at = refill.history[0].at
    for n, step in enumerate(refill.history, 1):
        if step.from_status != before:
            yield Fault(Wrong.GAP, n)
        if TABLE.get((step.from_status, step.action)) != step.to_status:
            yield Fault(Wrong.NOT_IN_TABLE, n)
        if step.at < at - SKEW:
            yield Fault(Wrong.TIME_GOES_BACK, n)
        before, at = step.to_status, step.at
    if before != refill.status:
        yield Fault(Wrong.STATUS_DIFFERS)


def _taken_by(refill: Refill) -> Iterator[Fault]:
    approved: Step | None = None
    for n, step in enumerate(refill.history, 1):
        if step.role not in BY[step.action]:
            yield Fault(Wrong.ROLE, n)
        elif (step.person_id is None) != (step.role in _NO_PERSON):
            wrong = Wrong.PERSON_OF_NO_STEP if step.role in _NO_PERSON else Wrong.NO_PERSON
            yield Fault(wrong, n)
        if step.role in _DOCTOR | _PHARMACIST and step.person_id == refill.requested_by:
            yield Fault(Wrong.OWN_REQUEST, n)
        if step.action is Action.PASS:
            if approved is None:
                yield Fault(Wrong.NOT_APPROVED, n)
            elif approved.person_id == step.person_id:
                yield Fault(Wrong.ONE_PERSON, n)
        refused = any(o.verdict is Verdict.REFUSED for o in step.outcomes)
        if refused and step.role != SYSTEM and step.action is not Action.REFUSE:
            yield Fault(Wrong.RULE_SAID_NO, n)
        approved = step if step.to_status is Status.WAITING_PHARMACIST else None


def _approvals(refill: Refill) -> list[Step]:
    return [s for s in refill.history if s.to_status is Status.WAITING_PHARMACIST]


def _effective(refill: Refill) -> Step | None:
    return next((s for s in refill.history if s.to_status is Status.EFFECTIVE), None)


def _read(form: SignedForm | None) -> PrescriptionForm | None:
    try:
        return None if form is None else PrescriptionForm.model_validate_json(form.text)
    except ValidationError:
        return None


def _in_time(refill: Refill, policies: RenewalPolicies) -> Iterator[Fault]:
    """Persons before the deadline that the step before has set, and expiry not before it."""
    forms = iter(refill.forms)
    due: datetime | None = None
    valid_on: date | None = None
    for n, step in enumerate(refill.history, 1):
        if due is not None and step.role not in _NO_PERSON and step.at >= due:
            yield Fault(Wrong.AFTER_DEADLINE, n)
        if step.action in _BY_TIME and (due is None or step.at < due - SKEW):
            yield Fault(Wrong.BEFORE_DEADLINE, n)
        policy = policies.version(step.policy)
        if policy is None:
            yield Fault(Wrong.POLICY_UNKNOWN, n)
            due = None
            continue
        if step.to_status is Status.WAITING_PHARMACIST:
            form = _read(next(forms, None))
            valid_on = form.valid_on if form is not None else None
        due = deadline(step.to_status, valid_on, step.at, policy)


def _signed(refill: Refill) -> Iterator[Fault]:
    """One form for each approval; who approved has signed it, who passed it the last one."""
    approvals, passed = _approvals(refill), _effective(refill)
    for n, (form, step) in enumerate(zip_longest(refill.forms, approvals), 1):
        content = _read(form)
        if form is None or content is None or step is None or digest(form.text) != form.digest:
            yield Fault(Wrong.FORM, field=f"forms.{n}")
            continue
        said = (content.hospital, content.refill_id, content.prescription_id, content.doctor_id)
        is_of = (refill.hospital, refill.id, own_prescription(refill), step.person_id)
        if said != is_of or content.version != n:
            yield Fault(Wrong.FORM, field=f"forms.{n}")
        signers = [(doctor.ROLE, step.person_id)]
        if passed is not None and n == len(approvals):
            signers.append((pharmacist.ROLE, passed.person_id))
        if [(s.role, s.person_id) for s in form.signatures] != signers:
            yield Fault(Wrong.SIGNATURES, field=f"forms.{n}")


def _left(refill: Refill, policies: RenewalPolicies) -> Mapping[str, Any]:
    """What the fields must be after these steps."""
    last, passed = refill.history[-1], _effective(refill)
    stage = STAGE.get(last.to_status)
    left: dict[str, Any] = {
        "stage": stage,
        "waiting_since": last.at if stage is not None else None,
        "reason": last.reason,
        "effective_at": passed.at if passed is not None else None,
        "new_prescription_id": own_prescription(refill) if passed is not None else None,
        "changes": next((s.changes for s in reversed(_approvals(refill))), None),
        **_deciders(refill),
    }
    form = _read(refill.forms[-1]) if refill.forms else None
    if form is not None:
        left |= {"valid_on": form.valid_on, "days_supply": form.days_supply}
    policy = policies.version(last.policy)
    # Where pharmacies report nothing, what was in effect is past its date, and no more.
    past = last.to_status is Status.EFFECTIVE and refill.deadline is None
    if policy is not None and not past:
        left["deadline"] = deadline(last.to_status, left.get("valid_on"), last.at, policy)
    decided_by = policies.version(passed.policy) if passed is not None else None
    if decided_by is not None:
        limit = decided_by.rules.limit.parameters.renewals
        number = refill.number if refill.number in range(1, limit + 1) else None
        # Fewer may be left, by this doctor or an earlier one.
        capped = form.refills_allowed if form is not None else None
        most = min(limit - (number or limit), limit if capped is None else capped)
        remaining = refill.remaining if refill.remaining in range(most + 1) else most
        left |= {"number": number or limit, "remaining": remaining}
    return left


def _deciders(refill: Refill) -> Mapping[str, Any]:
    """The last doctor, and the last pharmacist since the last approval."""
    by: dict[str, str | None] = {"doctor_id": None, "pharmacist_id": None}
    for step in refill.history:
        if step.role == doctor.ROLE:
            by["doctor_id"] = step.person_id
        if step.to_status is Status.WAITING_PHARMACIST:
            by["pharmacist_id"] = None
        if step.role == pharmacist.ROLE:
            by["pharmacist_id"] = step.person_id
    return by
