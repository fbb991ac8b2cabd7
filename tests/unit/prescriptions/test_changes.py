"""May a doctor alter how much is dispensed, and nothing more?"""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.decision import Refusal
from libs.common.events import (
    Quantity,
    RefillDoctorChanged,
    RefillEffective,
)
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.answering import (
    LONG,
    asked,
    form_of,
    replace,
    tablets,
    view,
)
from tests.unit.prescriptions.given import (
    reason,
)


def test_a_changed_quantity_is_what_is_signed_published_shown_and_counted() -> None:
    four_weeks, two_weeks = (Quantity(value=n, unit="tablet") for n in (28, 14))
    case, id = asked()
    assert reason(case.doctor(id, "change", quantity=tablets(14))) is None
    refill = case.refill(id)
    assert (refill.order.quantity, refill.order.days_supply) == (
        Quantity(value=28, unit="tablet"),
        28,
    )
    [fact] = case.events(RefillDoctorChanged)
    assert (fact.quantity, fact.days_supply) == (two_weeks, 14)
    form = form_of(refill)
    assert (
        form.quantity is not None and form.before is not None and form.before.quantity is not None
    )
    assert (form.quantity.value, form.days_supply) == ("14", 14)
    assert (form.before.quantity.value, form.before.days_supply) == ("28", 28)
    assert (form.before.dosage, form.replaces) == (None, None)
    seen = view(refill)
    assert seen.prescribed is not None
    assert (seen.quantity, seen.prescribed.quantity) == (four_weeks, two_weeks)
    assert (seen.days_supply, seen.prescribed.days_supply) == (28, 14)
    assert seen.prescribed.changed == ("quantity", "days_supply")
    assert case.told()[-1] == ("p1", "refill.changed")
    case.pharmacist(id, "pass")
    [effective] = case.events(RefillEffective)
    assert effective.days_supply == 14
    assert case.account().renewals[-1].days_supply == 14  # by which the next is not too early


@pytest.mark.parametrize(
    ("quantity", "given", "days"),
    [
        (14, None, 14),
        (56, None, 56),
        (14, 14, 14),
        (30, None, 30),
        (14, 28, None),  # half as much for as long is another dosing
        (56, 28, None),  # and so is twice as much
        (14, 15, None),
        (28, 14, None),
        (28, 28, None),
    ],
)
def test_the_days_follow_from_the_quantity_at_the_prescribed_dosing(
    quantity: float, given: int | None, days: int | None
) -> None:
    case, id = asked()
    answer = case.doctor(id, "change", quantity=tablets(quantity), days_supply=given, **LONG)
    if days is None:
        expected = Reason.NO_CHANGE if given == quantity == 28 else Reason.DAYS_OF_QUANTITY
        assert reason(answer) == expected
        assert case.refill(id).status is Status.WAITING_DOCTOR
    else:
        assert reason(answer) is None
        assert case.refill(id).days_supply == days


@pytest.mark.parametrize(("given", "expected"), [(None, 21), (21, 21), (22, 22), (20, None)])
def test_a_pack_that_does_not_come_out_even_may_be_rounded(
    given: int | None, expected: int | None
) -> None:
    case, id = asked(days=14, quantity=Quantity(value=20, unit="tablet"))  # 10 in 7 days
    answer = case.doctor(id, "change", quantity=tablets(31), days_supply=given)  # 21.7 days
    assert reason(answer) == (None if expected else Reason.DAYS_OF_QUANTITY)
    assert case.refill(id).days_supply == expected


def test_a_tablet_that_lasts_less_than_a_day_is_for_one() -> None:
    case, id = asked(days=7, quantity=Quantity(value=28, unit="tablet"))
    case.doctor(id, "change", quantity=tablets(1))
    assert case.refill(id).days_supply == 1


@pytest.mark.parametrize(
    ("days", "fields", "expected"),
    [
        (7, {}, None),
        (8, {}, Reason.SUPPLY_REASON_MISSING),
        (8, {"comment": "chronic"}, None),
        (28, {"comment": "chronic"}, None),
        (29, {"comment": "chronic"}, Reason.LONG_SUPPLY_CONDITIONS),
        (29, LONG, None),
        (84, LONG, None),
        (85, LONG, Reason.SUPPLY_TOO_LONG),
    ],
)
def test_the_rules_of_supply_are_asked_of_the_new_days(
    days: int, fields: dict[str, Any], expected: Reason | None
) -> None:
    case, id = asked(days=10, quantity=Quantity(value=10, unit="tablet"), diagnoses=())
    answer = case.doctor(id, "change", quantity=tablets(days), **fields)
    assert reason(answer) == expected
    assert case.refill(id).status is (
        Status.WAITING_PHARMACIST if expected is None else Status.WAITING_DOCTOR
    )


def test_the_unit_is_that_of_the_prescription() -> None:
    case, id = asked()
    answer = case.doctor(id, "change", quantity=tablets(2, "box"))
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.extra["unit"]) == (Reason.UNIT_FIXED, "tablet")


def test_where_nobody_told_the_quantity_the_doctor_says_it() -> None:
    case, id = asked(assumed=("quantity",))
    no = case.doctor(id, "approve")
    assert isinstance(no, Refusal)
    assert (no.reason, no.extra["field"]) == (Reason.QUANTITY_MISSING, "quantity")
    changes: list[dict[str, Any]] = [{"days_supply": 14}, {"refills_allowed": 0}]
    for fields in changes:
        assert reason(case.doctor(id, "change", **fields)) == Reason.QUANTITY_MISSING
    replaced: dict[str, Any] = {"dosage": "two tablets", "days_supply": 14}
    assert reason(case.doctor(id, "replace", **replaced)) == Reason.QUANTITY_MISSING
    assert case.refill(id).status is Status.WAITING_DOCTOR
    assert reason(case.doctor(id, "change", quantity=tablets(14), days_supply=14)) is None
    form = form_of(case.refill(id))
    assert form.quantity is not None and form.before is not None
    assert (form.quantity.value, form.days_supply, form.before.quantity) == ("14", 14, None)
    assert reason(case.pharmacist(id, "pass")) is None


@pytest.mark.parametrize(
    "order",
    [
        {"dosage": "每日一次，每次一片", "dosage_assumed": True},
        {"dosage": " 遵医嘱。"},
        {"dosage": "自用"},
        {"dosage": "As directed"},
    ],
)
def test_a_dosing_that_nobody_told_is_said_anew_or_the_patient_is_seen(
    order: dict[str, Any],
) -> None:
    case, id = asked(**order)
    assert view(case.refill(id)).dosage_assumed is order.get("dosage_assumed", False)
    answers: list[tuple[str, dict[str, Any]]] = [
        ("approve", {}),
        ("change", {"quantity": tablets(14)}),
    ]
    for decision, fields in answers:
        no = case.doctor(id, decision, **fields)
        assert isinstance(no, Refusal)
        assert (no.reason, no.extra["field"]) == (Reason.DOSAGE_MISSING, "dosage")
    assert reason(replace(case, id, dosage="遵医嘱")) == Reason.DOSAGE_MISSING
    assert reason(replace(case, id, dosage="每日一次，每次一片")) is None
    form = form_of(case.refill(id))
    assert (form.dosage, form.replaces) == ("每日一次，每次一片", "rx1")
    assert reason(case.pharmacist(id, "pass")) is None


def test_words_beside_a_dosing_are_no_vague_dosing() -> None:
    case, id = asked(dosage="每日一次，每次一片，遵医嘱调整")
    assert reason(case.doctor(id, "approve")) is None


def test_what_was_approved_without_a_quantity_is_returned_and_not_passed() -> None:
    case, id = asked()
    assert reason(case.doctor(id, "approve")) is None
    refill = case.refill(id)
    case.put(refill.but(order=refill.order.model_copy(update={"quantity": None})))
    assert reason(case.pharmacist(id, "pass")) == Reason.QUANTITY_MISSING
    assert case.refill(id).status is Status.WAITING_PHARMACIST
    assert reason(case.pharmacist(id, "return")) is None


def test_where_nobody_told_the_days_either_the_doctor_says_both() -> None:
    case, id = asked(assumed=("quantity", "days_supply"))
    assert reason(case.doctor(id, "change", quantity=tablets(14))) == Reason.DAYS_SUPPLY_MISSING
    assert reason(case.doctor(id, "change", quantity=tablets(14), days_supply=14)) is None


@pytest.mark.parametrize(
    ("decision", "fields", "named"),
    [
        ("change", {"dosage": "two"}, "dosage"),
        ("change", {"quantity": tablets(14), "strength": "10 mg"}, "strength"),
        ("approve", {"quantity": tablets(14)}, "quantity"),
        ("approve", {"refills_allowed": 1, "dosage": "two"}, "dosage, refills_allowed"),
        ("approve", {"reason": "too_soon"}, "reason"),
        ("decline", {"quantity": tablets(14)}, "quantity"),
        ("visit_needed", {"dosage": "two"}, "dosage"),
    ],
)
def test_a_decision_says_only_what_it_is_about(
    decision: str, fields: dict[str, Any], named: str
) -> None:
    case, id = asked()
    answer = case.doctor(id, decision, **fields)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.extra["fields"]) == (Reason.NOT_OF_THIS_DECISION, named)
    assert case.refill(id).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize("fields", [{}, {"quantity": tablets(28)}, {"days_supply": 28}])
def test_a_change_that_changes_nothing_is_an_approval(fields: dict[str, Any]) -> None:
    case, id = asked()
    assert reason(case.doctor(id, "change", **fields)) == Reason.NO_CHANGE
