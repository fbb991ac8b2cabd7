"""Do renewals stand what hospital systems send every day?

A feed sends what it has sent before, with a new time; it leaves out what it said once, spells a
medicine otherwise in each message, and names the order that another one follows from.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from libs.common.decision import Decision
from libs.common.events import ConditionRecorded, Medication, Quantity
from services.prescriptions.domain.documents import PatientCare, Prescription
from services.prescriptions.domain.fulfilment import Irregular
from services.prescriptions.domain.health import icd10
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    linked,
    prescription,
    reason,
    stopped,
    unlinked,
    visit,
)

ISSUED = NOW - 30 * DAY
TWICE: dict[str, Any] = {
    "dosage": "two tablets in the morning",
    "quantity": Quantity(value=14, unit="tablet"),
}
STATIN = Medication(code="C10AA05", name="Atorvastatin", ingredient_code="C10AA05")


def both_dosings() -> Hospital:
    """One in the morning and half a tablet at night, prescribed on one day."""
    case = Hospital()
    case.event(prescription("am", at=ISSUED))
    case.event(prescription("pm", at=ISSUED, dosage="half a tablet at night"))
    case.event(visit(ISSUED))
    return case


def test_what_is_sent_again_unchanged_was_not_prescribed_anew() -> None:
    case = Hospital()
    case.event(prescription("old", at=ISSUED))
    case.event(visit(NOW - 10 * DAY))
    case.event(prescription("new", at=NOW - 10 * DAY, **TWICE))
    id = case.asked("new")
    case.event(prescription("old", at=case.advance(HOUR)))
    assert case.refill(id).status is Status.WAITING_DOCTOR
    assert reason(case.ask("old")) == Reason.PRESCRIPTION_REPLACED


def test_nor_does_it_end_what_is_taken_beside_it() -> None:
    case = both_dosings()
    id = case.asked("pm")
    case.doctor(id, "approve")
    case.event(prescription("am", at=case.advance(14 * HOUR)))
    assert case.refill(id).status is Status.WAITING_PHARMACIST


def test_nor_has_the_patient_another_supply_by_it() -> None:
    case = Hospital()
    month: dict[str, Any] = {"days_supply": 28, "quantity": Quantity(value=28, unit="tablet")}
    case.event(prescription(at=ISSUED, **month))
    case.event(visit(ISSUED))
    id = case.asked()
    case.event(prescription(at=case.advance(14 * HOUR), **month))
    assert reason(case.doctor(id, "approve", comment="chronic, stable")) is None


def test_a_correction_with_a_later_time_is_one() -> None:
    case = hospital()
    id = case.asked()
    case.event(prescription(at=case.advance(HOUR), **TWICE))
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


#: Prescribed; told with a later time; corrected, with the first one. Written an hour after another.
WRITTEN: list[dict[str, Any]] = [{}, {"at": ISSUED + DAY, **TWICE}, {"dosage": "half a tablet"}]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("says", [(0, 1, 2), (1, 2)])
def test_of_several_forms_the_one_that_was_written_last_holds_whenever_it_was_issued(
    order: tuple[int, ...], says: tuple[int, ...]
) -> None:
    case = Hospital()
    for n in order:
        at = NOW - (3 - n) * HOUR if n in says else None
        told = prescription(**{"at": ISSUED, "updated_at": at, **WRITTEN[n]})
        case.event(told, time=case.advance(HOUR))  # sent once more, as of now
    known = case.doc(Prescription, "rx1")
    assert known is not None and known.order is not None
    assert (known.order.dosage, known.order.issued_at) == ("half a tablet", ISSUED)


def test_a_correction_with_the_first_time_of_issue_ends_what_was_asked_for_by_the_wrong_one() -> (
    None
):
    case = Hospital()
    case.event(prescription(at=ISSUED, updated_at=ISSUED))
    case.event(prescription(at=ISSUED + DAY, updated_at=ISSUED + DAY, **TWICE))
    id = case.asked()
    case.event(prescription(at=ISSUED, updated_at=case.advance(HOUR)))
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED
    again = case.refill(case.asked())
    assert again.order.dosage == "one tablet in the morning"


def test_a_clock_that_is_ahead_keeps_no_later_form_away() -> None:
    case = Hospital()
    case.event(prescription(at=ISSUED, updated_at=NOW + 400 * DAY))
    case.event(prescription(at=ISSUED, updated_at=case.advance(HOUR), **TWICE))
    known = case.doc(Prescription, "rx1")
    assert known is not None and known.order is not None
    assert known.order.dosage == TWICE["dosage"]


def test_a_copy_stays_one_when_it_is_told_again_without_its_origin() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 170 * DAY))
    renewed = case.renewed()
    case.event(prescription("copy", at=case.advance(HOUR), refill_id=renewed.id))
    case.event(prescription("copy", at=case.now))
    known = case.doc(Prescription, "copy")
    assert known is not None and known.order is not None
    assert known.order.refill_id == renewed.id
    case.advance(20 * DAY)
    case.event(prescription(at=case.now))  # what it comes from, sent again: nobody saw the patient
    assert reason(case.ask("copy")) == Reason.TOO_OLD


def test_a_doctors_new_dosing_that_follows_from_an_old_copy_is_no_copy() -> None:
    case = hospital()
    renewed = case.renewed()
    case.event(prescription("copy", at=case.advance(HOUR), refill_id=renewed.id))
    case.reported(renewed.id, "collected")
    case.advance(28 * DAY)
    case.event(visit(case.now, "v9"))
    case.event(prescription("next", at=case.now, refill_id=renewed.id, **TWICE))
    for again in ({"refill_id": renewed.id}, {}):  # as every night, or without it
        case.event(prescription("next", at=case.advance(DAY), **again, **TWICE))
    known = case.doc(Prescription, "next")
    assert known is not None and known.order is not None
    assert (known.order.refill_id, known.order.based_on) == (None, renewed.new_prescription_id)
    case.advance(10 * DAY)
    assert reason(case.ask("rx1")) == reason(case.ask("copy")) == Reason.PRESCRIPTION_REPLACED
    assert isinstance(case.ask("next"), Decision)


def test_an_order_of_another_medicine_is_no_copy_whatever_it_names() -> None:
    case = hospital()
    case.event(prescription("rx2", at=ISSUED, medication=STATIN, dosage="at night"))
    renewed = case.renewed("rx1")
    case.event(prescription("h1", at=case.advance(HOUR), refill_id=renewed.id))
    other = prescription(
        "h2", at=case.now, refill_id=renewed.id, medication=STATIN, dosage="at night"
    )
    case.event(other)
    patient = case.doc(PatientCare, "p1")
    assert patient is not None
    assert not [codes for codes in patient.alike if "C10AA05" in codes]
    assert isinstance(case.ask("rx1"), Decision)
    assert isinstance(case.ask("rx2"), Decision)
    case.event(stopped(case.advance(HOUR), "h2"))
    # As whenever another medicine is stopped; the renewal's own was not.
    assert case.refill(renewed.id).reason == Reason.CONDITION_CHANGED


@pytest.mark.parametrize("first", [True, False])
def test_a_dosing_that_nobody_told_differs_from_none(first: bool) -> None:
    case = Hospital()
    forms: list[dict[str, Any]] = [{"dosage": "遵医嘱", "dosage_assumed": True}, {}]
    before, after = forms if first else reversed(forms)
    case.event(prescription(at=ISSUED, **before))
    case.event(visit(ISSUED))
    id = case.asked()
    case.event(prescription(at=ISSUED, **after), time=case.advance(HOUR))
    assert case.refill(id).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize(
    ("name", "strength", "copy"),
    [
        ("络活喜 5mg*28", "5", True),
        ("Amlodipine besylate 6.93mg (as amlodipine 5mg)", None, True),
        ("Amlodipine", "５ｍｇ", True),
        ("Amlodipine 5 mg", "盒", True),
        ("Amlodipine", "0.005 g", True),
        ("Amlodipine 10 mg", "盒", False),
        ("Amlodipine", "１０ｍｇ", False),
    ],
)
def test_one_strength_is_spelt_in_many_ways(name: str, strength: str | None, copy: bool) -> None:
    case = Hospital()
    medicine = Medication(
        code="C08CA01", name="Amlodipine 5 mg", ingredient_code="C08CA01", strength="5 mg"
    )
    case.event(prescription(at=ISSUED, medication=medicine))
    case.event(visit(ISSUED))
    renewed = case.renewed()
    spelt = medicine.model_copy(update={"name": name, "strength": strength})
    told = prescription(
        "copy", at=case.advance(HOUR), refill_id=renewed.id, medication=spelt,
        quantity=Quantity(value=1, unit="盒"),
    )  # fmt: skip
    case.event(told)
    case.advance(10 * DAY)
    assert reason(case.ask("copy")) == (None if copy else Reason.PRESCRIPTION_REPLACED)


@pytest.mark.parametrize(("before", "after"), [("5", "10"), ("50/250", "50/500")])
def test_strengths_without_a_unit_are_compared_as_they_are(before: str, after: str) -> None:
    case = Hospital()
    medicine = Medication(code="C08CA01", name="Amlodipine", ingredient_code="C08CA01")
    for strength in (before, after):
        told = medicine.model_copy(update={"strength": strength})
        case.event(prescription(at=ISSUED, medication=told), time=case.advance(HOUR))
        if strength == before:
            case.event(visit(ISSUED))
            id = case.asked()
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


@pytest.mark.parametrize("field", ["dosage", "quantity"])
def test_what_a_feed_leaves_out_hides_no_correction(field: str) -> None:
    case = hospital()
    bare: dict[str, Any] = {"dosage": "遵医嘱", "dosage_assumed": True}
    case.event(prescription(at=case.advance(HOUR), **bare, assumed=("quantity", "days_supply")))
    id = case.asked()
    case.event(prescription(at=case.advance(HOUR), **{field: TWICE[field]}))
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


@pytest.mark.parametrize("late", [False, True])
def test_what_one_form_says_alone_is_known_in_either_order(late: bool) -> None:
    case = hospital()
    renewed = case.renewed()
    case.advance(2 * HOUR)
    forms: list[tuple[Any, dict[str, Any]]] = [
        (case.now - HOUR, {"refill_id": renewed.id}),
        (case.now, {}),
    ]
    for at, more in reversed(forms) if late else forms:
        case.event(prescription("copy", at=at, **more), time=at)
    known = case.doc(Prescription, "copy")
    assert known is not None and known.order is not None
    assert known.order.refill_id == renewed.id
    assert known.order.issued_at == forms[0][0]


def test_a_copy_that_comes_before_the_pharmacist_passes_is_no_supply() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve")
    case.event(prescription("copy", at=case.advance(HOUR), refill_id=id, days_supply=28))
    assert reason(case.pharmacist(id, "pass")) is None


def test_what_is_back_in_stock_is_withheld_too() -> None:
    case = hospital()
    renewed = case.renewed()
    for status in ("dispensed", "returned_to_stock"):
        case.advance(HOUR)
        case.reported(renewed.id, status)
    case.event(stopped(case.advance(timedelta(minutes=5))))
    assert case.refill(renewed.id).status is Status.WITHHELD
    case.take()
    case.advance(HOUR)
    case.reported(renewed.id, "preparing", dispensing="d2")
    assert case.refill(renewed.id).status is Status.WITHHELD
    case.advance(HOUR)
    case.reported(renewed.id, "dispensed", dispensing="d2")
    assert Irregular.WITHHELD in case.refill(renewed.id).irregular
    assert case.told() == [("p1", "refill.withheld")]


def test_the_patient_hears_of_a_stop_also_when_a_guardian_asked() -> None:
    case = hospital()
    case.event(linked())
    renewed = case.renewed(by=DAUGHTER)
    case.event(unlinked(case.advance(HOUR)))
    case.take()
    case.event(stopped(case.advance(HOUR)))
    assert case.refill(renewed.id).status is Status.WITHHELD
    assert sorted(case.told()) == [
        (renewed.patient_id, "refill.withheld"), (DAUGHTER.person, "refill.withheld"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I10.x00", "I10", True), ("I10.x00x002", "i10 ", True), ("E78.500", "E78.5", True),
        ("I63.900x001", "I63.9", True), ("I63.9", "I63.5", False), ("E10.0", "E10", False),
        ("I63.501", "I63.5", False), ("73211009", "73211009", True), ("S72.001A", "S72.0", False),
    ],
)  # fmt: skip
def test_a_disease_is_the_same_in_each_version_of_its_code(
    one: str, other: str, same: bool
) -> None:
    assert (icd10(one) == icd10(other)) is same


def test_what_the_medicine_is_for_may_be_spelt_otherwise() -> None:
    case = Hospital()
    case.event(prescription(at=ISSUED, diagnoses=("I10.x00",)))
    case.event(visit(ISSUED))
    told = ConditionRecorded(
        condition_id="c1", patient_id="p1", code="I10", recorded_at=NOW - 2 * DAY
    )
    case.event(told)
    assert isinstance(case.ask(), Decision)
