"""When may a doctor change the dosing without seeing the patient?"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.common.decision import Refusal
from libs.common.events import (
    Medication,
    RefillDoctorReplaced,
)
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.answering import (
    LONG,
    MEDICINE,
    asked,
    form_of,
    replace,
    view,
)
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    hospital,
    prescription,
    reason,
    visit,
)
from tests.unit.prescriptions.happenings import copy
from tests.unit.prescriptions.test_policy import eighteen, file


def test_a_replacement_is_signed_with_both_dosings_and_counts_as_a_renewal() -> None:
    case, id = asked()
    assert reason(replace(case, id, strength="10 mg", comment="pressure high")) is None
    refill = case.refill(id)
    assert refill.order.dosage == "one tablet in the morning"
    form = form_of(refill)
    assert form.before is not None
    assert (form.dosage, form.before.dosage) == (
        "two tablets in the morning",
        "one tablet in the morning",
    )
    assert (form.medication.strength, form.before.strength) == ("10 mg", "5 mg")
    assert (form.replaces, form.days_supply, form.before.days_supply) == ("rx1", 14, 28)
    assert (form.before.quantity, form.quantity) == (None, form.quantity)  # as many as before
    [fact] = case.events(RefillDoctorReplaced)
    assert (fact.new_prescription_id, fact.dosage) == (form.prescription_id, form.dosage)
    assert (fact.strength, fact.days_supply) == ("10 mg", 14)
    for audience in ("patient", "staff"):
        seen = view(refill, audience)
        assert seen.prescribed is not None and seen.prescribed.replaces
        assert (seen.dosage, seen.prescribed.dosage) == (form.before.dosage, form.dosage)
        assert seen.prescribed.medication.strength == "10 mg"
    assert case.told()[-1] == ("p1", "refill.replaced")
    case.pharmacist(id, "pass")
    assert (case.refill(id).number, case.refill(id).remaining) == (1, 2)
    assert case.account().renewals[-1].replaces


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dosage": None}, Reason.DOSAGE_MISSING),
        ({"quantity": None}, Reason.QUANTITY_MISSING),
        ({"days_supply": None}, Reason.DAYS_SUPPLY_MISSING),
        ({"dosage": "one tablet in the morning"}, Reason.NO_CHANGE),
        ({"dosage": "one tablet in the morning", "strength": "10 mg"}, None),
        ({"refills_allowed": 3}, Reason.REFILLS_TOO_MANY),
        ({"refills_allowed": 0}, None),
        ({"days_supply": 28}, None),
        ({"days_supply": 29, **LONG}, Reason.REPLACEMENT_NOT_ALLOWED),
    ],
)
def test_a_replacement_says_all_of_the_new_dosing_and_is_for_four_weeks_at_most(
    fields: dict[str, Any], expected: Reason | None
) -> None:
    case, id = asked()
    assert reason(replace(case, id, **fields)) == expected


@pytest.mark.parametrize(
    "medication",
    [
        MEDICINE.model_copy(update={"strength": None}),
        MEDICINE.model_copy(update={"name": "Amlodipine 5 mg"}),
    ],
)
def test_a_strength_that_the_name_says_is_not_changed_beside_it(medication: Medication) -> None:
    case, id = asked(medication=medication)
    assert reason(replace(case, id, strength="10 mg")) == Reason.STRENGTH_FIXED


def test_the_dosing_is_changed_once_until_the_next_visit() -> None:
    case = hospital()
    first = case.asked()
    replace(case, first, days_supply=7)
    case.pharmacist(first, "pass")
    own = str(case.refill(first).new_prescription_id)
    case.event(copy(case.refill(first), case.now))
    case.advance(HOUR)
    second = case.asked(own)
    answer = replace(case, second, dosage="three tablets", days_supply=7)
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.REPLACEMENT_NOT_ALLOWED
    assert "visit_needed" in answer.detail
    assert answer.extra["rule"] == "replacement"
    assert case.refill(second).status is Status.WAITING_DOCTOR  # for another answer
    case.event(visit(case.now, "v2"))
    assert reason(replace(case, second, dosage="three tablets", days_supply=7)) is None


def never_replaced() -> RenewalPolicies:
    rules = file()
    rules["rules"]["replacement"]["parameters"]["replacements"] = 0
    return RenewalPolicies([rules], ZoneInfo("Asia/Shanghai"), eighteen)


def test_a_hospital_may_see_everybody_whose_dosing_changes() -> None:
    case, id = asked()
    case.policy = never_replaced()
    assert reason(replace(case, id)) == Reason.REPLACEMENT_NOT_ALLOWED
    assert reason(case.doctor(id, "visit_needed", reason="dosing_review")) is None


def test_what_the_rules_no_longer_allow_is_not_passed_either() -> None:
    case, id = asked()
    replace(case, id)
    case.policy = never_replaced()
    assert reason(case.pharmacist(id, "pass")) == Reason.REPLACEMENT_NOT_ALLOWED
    assert reason(case.pharmacist(id, "return", reason="dose")) is None
    assert reason(case.doctor(id, "approve")) is None
    assert reason(case.pharmacist(id, "pass")) is None


def test_what_was_replaced_is_no_longer_renewed_and_the_new_prescription_is() -> None:
    case = hospital()
    case.event(prescription("older", at=NOW - 50 * DAY))
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    own = str(case.refill(id).new_prescription_id)
    for rx in ("rx1", "older"):
        answer = case.ask(rx)
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.extra["rule"]) == ("prescription_replaced", "not_replaced")
    # Issued in its name, whatever its own time and id are.
    case.event(copy(case.refill(id), NOW - HOUR, "his-1"))
    case.event(copy(case.refill(id), NOW - HOUR, refill_id=None))
    case.cancel(case.asked("his-1"))
    case.cancel(case.asked(own))
    case.advance(HOUR)
    case.event(prescription("rx9", at=case.now))  # by a doctor since
    case.asked("rx9")


def test_a_replacement_is_no_way_round_the_limit() -> None:
    case = hospital()
    for _ in range(2):
        case.renewed()
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    assert (case.refill(id).number, case.refill(id).remaining) == (3, 0)
    own = str(case.refill(id).new_prescription_id)
    case.advance(HOUR)
    case.event(copy(case.refill(id), case.now))
    assert reason(case.ask(own)) == Reason.RENEWAL_LIMIT_REACHED
