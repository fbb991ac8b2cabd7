"""What is told to who has the medicine already, when something stands against it?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.decision import Actor
from libs.common.events import Event, NotificationRequested, RefillSuspended
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.saying import reason_text
from services.prescriptions.domain.transitions import Action, Status
from services.prescriptions.main import count
from tests.support.counted import counted
from tests.unit.prescriptions.answering import replace
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    HOUR,
    NOW,
    Hospital,
    deceased,
    hospital,
    linked,
    merged,
    policies,
    prescription,
    stopped,
)
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file
from tests.unit.prescriptions.test_stable import admitted, allergy, condition

ALLERGY = allergy("C08CA01", recorded_at=NOW)
TOLD = [("p1", "refill.ask_first")]


def handed(status: str = "collected", case: Hospital | None = None) -> tuple[Hospital, str]:
    """A renewal of seven days that the patient has."""
    case = case or hospital()
    id = case.renewed().id
    case.reported(id, status)
    case.fire_due(case.now)
    case.take()
    return case, id


def with_policy(rule: str, parameter: str, value: Any) -> Hospital:
    rules = file()
    rules["rules"][rule]["parameters"][parameter] = value
    case = hospital()
    case.policy = RenewalPolicies([rules], SHANGHAI, eighteen)
    return case


@pytest.mark.parametrize("status", ["collected", "delivered"])
@pytest.mark.parametrize(
    ("fact", "why"),
    [
        (ALLERGY, Reason.ALLERGY_RECORDED),
        (allergy("C08", recorded_at=NOW - 9 * DAY), Reason.ALLERGY_RECORDED),  # told late
        (stopped(NOW), Reason.PRESCRIPTION_STOPPED),
        (
            prescription(patient_id="p2", at=NOW - 29 * DAY),
            Reason.PRESCRIPTION_STOPPED,
        ),  # not theirs
    ],
)
def test_who_has_it_is_told_once_to_ask_a_doctor_before_taking_more(
    status: str, fact: Event, why: Reason
) -> None:
    case, id = handed(status)
    case.advance(3 * DAY)
    case.event(fact)
    refill = case.refill(id)
    assert (refill.status, refill.paper_status, refill.reason) == (status, status, why)
    step = refill.history[-1]
    assert (step.action, step.reason, step.role) == (Action.WARN, why, "system")
    for language in ("zh-CN", "en"):
        assert reason_text(step, policies().at(NOW), language)
    assert case.events(RefillSuspended) == []  # there is nothing that a pharmacy could do
    [push] = case.events(NotificationRequested)
    assert (push.recipient_id, push.template, push.parameters) == (*TOLD[0], {})
    assert push.health_data and push.event_time == case.now
    case.take()
    case.event(fact)
    case.event(condition(case.now))  # and nothing of what only bars the next renewal
    case.reported(id, status, occurred_at=case.now)
    case.fire_due(case.now)
    assert "refill.ask_first" not in {template for _, template in case.told()}
    assert list(faults(case.refill(id), policies(), case.now)) == []


def test_of_another_ground_they_are_told_by_itself() -> None:
    case, id = handed()
    case.event(stopped(NOW))
    case.event(ALLERGY)
    assert case.told() == TOLD * 2
    reasons = [s.reason for s in case.refill(id).history if s.action is Action.WARN]
    assert reasons == [Reason.PRESCRIPTION_STOPPED, Reason.ALLERGY_RECORDED]


def test_a_ground_is_not_hidden_by_one_that_is_told_to_nobody_at_home() -> None:
    case, _ = handed()
    case.event(condition(NOW))  # the first in the order of the rules
    case.event(ALLERGY)
    assert case.told() == TOLD


def test_whoever_asked_for_them_is_told_beside_them_and_a_merged_patient_once() -> None:
    case = hospital()
    case.event(linked())
    id = case.renewed(by=DAUGHTER).id
    case.reported(id, "collected")
    case.take()
    case.event(ALLERGY)
    assert case.told() == [("p5", "refill.ask_first"), *TOLD]
    case = hospital()
    case.event(merged("p2", "p1"))
    id = case.renewed(by=Actor("p2", frozenset({"patient"}))).id
    case.reported(id, "collected")
    case.take()
    case.event(ALLERGY)
    assert case.told() == [("p2", "refill.ask_first")]


@pytest.mark.parametrize(
    "fact",
    [
        condition(NOW),
        admitted(NOW),
        stopped(NOW, "rx2"),  # another medicine
        allergy("J01CA04", recorded_at=NOW),
        allergy(None, system=None, recorded_at=NOW),  # to what nobody can compare
        deceased(),
        prescription(dosage="half a tablet", at=NOW - 29 * DAY),
    ],
)
def test_what_is_between_the_patient_and_a_doctor_is_not_told(fact: Event) -> None:
    case, id = handed()
    case.event(fact)
    assert case.told() == []
    assert case.refill(id).status is Status.COLLECTED


def test_nor_is_anything_to_the_family_of_who_has_died() -> None:
    case, _ = handed()
    case.event(deceased())
    case.event(ALLERGY)
    assert case.told() == []


@pytest.mark.parametrize("rule", ["allergy", "stable_regimen"])
def test_the_hospital_decides_of_which_of_these_they_are_told(rule: str) -> None:
    case, _ = handed(case=with_policy(rule, "at_home", False))
    case.event(ALLERGY)
    case.event(stopped(NOW))
    assert case.told() == TOLD


@pytest.mark.parametrize(("after", "told"), [(-timedelta(milliseconds=1), True), (HOUR, False)])
def test_what_is_used_up_concerns_nobody(after: timedelta, told: bool) -> None:
    case, _ = handed()
    used_up = NOW + 14 * HOUR + 6 * DAY  # the midnight after the seventh day
    case.fire_due(used_up + after)
    case.take()
    case.event(ALLERGY)
    assert case.told() == (TOLD if told else [])


def test_where_no_pharmacy_tells_who_may_have_it_is_told_after_its_last_day() -> None:
    case = with_policy("validity", "pharmacies_report", False)
    id = case.renewed().id
    case.choose(id)
    case.fire_due(NOW + DAY)
    case.take()
    case.event(ALLERGY)
    refill = case.refill(id)
    assert (refill.status, refill.deadline) == (Status.EFFECTIVE, None)
    assert case.told() == TOLD
    assert list(faults(refill, case.policy, case.now)) == []


@pytest.mark.parametrize(
    ("status", "says"), [("collected", "refill.ask_first"), ("dispensed", "refill.withheld")]
)
def test_a_report_that_comes_late_finds_what_was_told_before_it(status: str, says: str) -> None:
    case = hospital()
    id = case.renewed().id
    case.fire_due(NOW + DAY)  # it has lapsed, as far as anybody knows
    case.event(ALLERGY)
    case.take()
    case.reported(id, status, occurred_at=NOW + HOUR)
    case.fire_due(case.now)
    assert case.told() == [("p1", f"refill.{status}"), ("p1", says)]


def test_a_part_that_is_prepared_after_it_is_withheld_as_soon_as_that_is_told() -> None:
    case, id = handed()
    case.event(ALLERGY)
    case.advance(HOUR)
    case.take()
    case.reported(id, "preparing", "d2")
    case.fire_due(case.now)
    assert case.refill(id).status is Status.WITHHELD
    assert case.told() == [("p1", "refill.withheld")]


def test_that_somebody_was_told_is_no_status_that_it_came_to() -> None:
    case, _ = handed()
    before = counted("refills_total", status="collected")
    input = case.event_input(ALLERGY)
    count(input, case.send(input))
    assert counted("refills_total", status="collected") == before


def test_a_renewal_that_changes_the_dosing_says_so_itself() -> None:
    case, _ = handed()
    id = case.asked()
    replace(case, id, days_supply=7)
    case.take()
    case.pharmacist(id, "pass")
    assert "refill.ask_first" not in {template for _, template in case.told()}
