"""Why do a doctor and a pharmacist say no, and is every version kept?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from libs.common.decision import Answer, Refusal
from libs.common.events import (
    PractitionerRegistered,
    RefillVisitNeeded,
    StaffRole,
)
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.form import PrescriptionForm
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.answering import (
    asked,
    form_of,
    replace,
    tablets,
    view,
)
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAY,
    NOW,
    Hospital,
    hospital,
    policies,
    prescription,
    reason,
)

# -- needs a visit, and coded reasons ------------------------------------------------------


def test_who_has_to_be_seen_is_told_to_come_and_why_and_the_place_is_given_back() -> None:
    case, id = asked()
    assert reason(case.doctor(id, "visit_needed", reason="examination_due", comment="ECG")) is None
    [fact] = case.events(RefillVisitNeeded)
    assert (fact.reason, fact.doctor_id) == ("examination_due", "dr1")
    assert case.told()[-1] == ("p1", "refill.visit_needed")
    refill = case.refill(id)
    assert (refill.status, case.account().open) == (Status.VISIT_NEEDED, ())
    seen = view(refill)
    assert seen.reason_text == "An examination or a laboratory test is due before it is renewed."
    assert seen.history[-1].reason_text == seen.reason_text
    assert seen.prescribed is None  # nobody signed


def test_a_rules_no_is_said_in_the_rules_words() -> None:
    case = Hospital()
    case.event(prescription(code="N05BA12"))
    case.ask()
    [refill] = case.docs(Refill)
    assert (view(refill).reason_text or "").startswith("Medicines of this class")


ANSWERS: dict[str, Callable[[Hospital, str, str], Answer]] = {
    "decline": lambda case, id, why: case.doctor(id, "decline", reason=why),
    "visit_needed": lambda case, id, why: case.doctor(id, "visit_needed", reason=why),
    "return": lambda case, id, why: case.pharmacist(id, "return", reason=why),
    "refuse": lambda case, id, why: case.pharmacist(id, "refuse", reason=why),
}


@pytest.mark.parametrize("no", sorted(ANSWERS))
def test_every_no_has_a_reason_of_the_closed_list(no: str) -> None:
    codes = policies().at(NOW).answers.codes
    for name, code in codes.items():
        case = hospital()
        id = case.asked()
        if no in ("return", "refuse"):
            case.doctor(id, "approve")
        before = case.refill(id)
        answer = ANSWERS[no](case, id, name)
        if no in code.of and not code.needs_comment:
            assert reason(answer) is None, name
            seen = view(case.refill(id)).reason_text
            assert seen == code.text["en"]
        else:
            expected = Reason.COMMENT_MISSING if no in code.of else Reason.REASON_UNKNOWN
            assert reason(answer) == expected, name
            assert case.refill(id) == before


def test_an_unknown_reason_is_answered_with_those_there_are() -> None:
    case, id = asked()
    answer = case.doctor(id, "decline", reason="bad_mood")
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.extra["field"]) == (Reason.REASON_UNKNOWN, "reason")
    assert "too_soon" in answer.extra["codes"] and "dose" not in answer.extra["codes"]
    assert reason(case.doctor(id, "decline", reason="other")) == Reason.COMMENT_MISSING
    assert reason(case.doctor(id, "decline", reason="other", comment="moved away")) is None


# -- both versions -------------------------------------------------------------------------


def test_a_return_keeps_both_versions_and_what_was_changed_in_each() -> None:
    case, id = asked()
    case.doctor(id, "change", quantity=tablets(14))
    case.pharmacist(id, "return", reason="quantity")
    replace(case, id)
    case.pharmacist(id, "return", reason="dose")
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    refill = case.refill(id)
    forms = [PrescriptionForm.model_validate_json(f.text) for f in refill.forms]
    assert [f.days_supply for f in forms] == [14, 14, 28]
    assert [f.replaces for f in forms] == [None, "rx1", None]
    assert [f.version for f in forms] == [1, 2, 3]
    assert [len(f.signatures) for f in refill.forms] == [1, 1, 2]
    changed = [
        step.changes.model_dump(exclude_none=True) if step.changes is not None else None
        for step in view(refill).history
        if step.role == "doctor"
    ]
    assert changed == [
        {"quantity": tablets(14), "days_supply": 14},
        {"dosage": "two tablets in the morning", "days_supply": 14},
        None,
    ]
    assert refill.prescribed == refill.order
    assert case.account().renewals[-1].replaces is False
    # The forms tell them apart without their numbers, too.
    assert len({json.dumps(json.loads(f.text)["dosage"]) for f in refill.forms}) == 2


def test_a_colleague_may_change_but_not_what_another_has_signed() -> None:
    case, id = asked()
    assert reason(case.doctor(id, "change", COLLEAGUE, quantity=tablets(14))) is None
    case.pharmacist(id, "return")
    for decision in ("change", "visit_needed"):
        fields: dict[str, Any] = {"quantity": tablets(7)} if decision == "change" else {}
        assert reason(case.doctor(id, decision, **fields)) == Reason.NOT_THE_SIGNING_DOCTOR
    assert reason(replace(case, id)) == Reason.NOT_THE_SIGNING_DOCTOR


# -- names ---------------------------------------------------------------------------------


def test_a_prescription_names_who_signed_it_as_the_hospital_told() -> None:
    case, id = asked()
    for person, name in (("dr1", "王一"), ("ph1", "赵一")):
        told = PractitionerRegistered(
            practitioner_id=person, name=name, roles=(StaffRole.DOCTOR,), updated_at=NOW - DAY
        )
        case.event(told)
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    refill = case.refill(id)
    assert form_of(refill).doctor_name == "王一"
    assert [s.name for s in refill.forms[-1].signatures] == ["王一", "赵一"]
    assert "赵一" not in "".join(e.data.model_dump_json() for e in case.emitted)


def test_a_comment_on_a_no_is_read_by_the_patients_side_and_any_other_by_colleagues_only() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve", comment="for the pharmacist")
    case.pharmacist(id, "return", reason="dose", comment="for the doctor")
    case.doctor(id, "decline", comment="for the patient")
    refill = case.refill(id)
    said = [None, "for the pharmacist", "for the doctor", "for the patient"]
    assert [step.comment for step in view(refill, "staff").history] == said
    assert [step.comment for step in view(refill).history] == [None, None, None, said[-1]]
