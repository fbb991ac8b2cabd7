"""What does a visit in person still reset that was told by mistake and taken back?"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from libs.common.decision import Common
from libs.common.events import (
    Event,
    RefillEffective,
    RefillRefused,
    RefillSuspended,
    VisitClass,
)
from services.prescriptions.domain.accounts import VISITS_KEPT, last_visit
from services.prescriptions.domain.documents import PatientCare
from services.prescriptions.domain.prescribing import SETTLED
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from services.prescriptions.store import PATIENTS
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    merged,
    reason,
    unvisited,
    visit,
)
from tests.unit.prescriptions.test_counting import used_up
from tests.unit.prescriptions.test_stable import admitted, condition

#: The day after three renewals, on which the visit is told.
THEN = NOW + 3 * DAY


def seen(case: Hospital, patient: str = "p1") -> str | None:
    """The visit that stands, of the treating department."""
    care = case.doc(PatientCare, patient)
    found = last_visit(care, "cardiology") if care is not None else None
    return found.visit_id if found is not None else None


def test_a_visit_that_was_taken_back_resets_nothing() -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2"))
    case.advance(HOUR)
    case.event(unvisited(case.now, "v2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


#: Told by mistake, taken back, told again in earnest: by when they were recorded.
MISTAKE = visit(THEN, "v2", recorded_at=THEN)
BACK = unvisited(THEN + HOUR, "v2")
EARNEST = visit(THEN, "v2", recorded_at=THEN + 2 * HOUR)


@pytest.mark.parametrize(
    ("facts", "resets"),
    [
        ([MISTAKE, BACK], False),
        ([MISTAKE, BACK, MISTAKE], False),
        ([MISTAKE, BACK, BACK], False),
        ([MISTAKE, BACK, EARNEST], True),
        ([MISTAKE, BACK, visit(THEN, "v3")], True),  # another one stands
        ([MISTAKE, unvisited(THEN + HOUR, "v3")], True),
        ([MISTAKE, unvisited(THEN + HOUR, "v2", "p2")], True),
        ([MISTAKE, unvisited(THEN - HOUR, "v2")], True),  # before it was recorded
        ([MISTAKE, unvisited(THEN, "v2")], False),  # at the same moment
    ],
)
def test_in_whatever_order_it_is_told_the_record_that_is_newest_holds(
    facts: list[Event], resets: bool
) -> None:
    for order in itertools.permutations(facts):
        case = used_up(hospital())
        case.advance(DAY)
        for fact in order:
            case.event(fact)
        assert reason(case.ask()) == (None if resets else Reason.RENEWAL_LIMIT_REACHED), order


def test_where_a_visit_does_not_say_when_it_was_recorded_its_events_time_is_taken() -> None:
    for order in itertools.permutations([0, 1, 2]):
        case = used_up(hospital())
        case.advance(DAY)
        facts = [(visit(THEN, "v2"), 0), (unvisited(THEN + HOUR, "v2"), 1), (visit(THEN, "v2"), 2)]
        for n in order[:2]:
            case.event(facts[n][0], time=THEN + facts[n][1] * HOUR)
        assert (seen(case) == "v2") == (2 in order[:2])


def test_what_is_told_twice_is_stale() -> None:
    case = used_up(hospital())
    case.advance(DAY)
    for fact in (MISTAKE, BACK):
        assert reason(case.event(fact)) is None
        assert reason(case.event(fact)) == Common.STALE
    assert reason(case.event(MISTAKE)) == Common.STALE
    assert reason(case.event(unvisited(THEN, "v2"))) == Common.STALE, "older than what is known"


def test_a_visit_of_before_is_the_last_one_again() -> None:
    case = used_up(hospital())  # effective at NOW, NOW + 1 day and NOW + 2 days
    case.event(visit(NOW + DAY + HOUR, "v2"))
    case.event(visit(THEN, "v3"))
    case.event(unvisited(THEN, "v3"))
    assert seen(case) == "v2"
    assert case.renewed().number == 2


def test_a_time_or_department_that_was_corrected_replaces_the_wrong_one() -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2"))
    case.advance(HOUR)
    case.event(visit(NOW + DAY + HOUR, "v2"))
    assert case.renewed().number == 2
    case.advance(HOUR)
    case.event(visit(THEN, "v2", department="dermatology"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


@pytest.mark.parametrize("visit_class", [VisitClass.VIRTUAL, VisitClass.EMERGENCY])
def test_a_visit_that_turns_out_not_to_be_in_person_is_none(visit_class: VisitClass) -> None:
    corrected = visit(THEN, "v2", visit_class=visit_class, recorded_at=THEN + HOUR)
    for facts in itertools.permutations([MISTAKE, corrected]):
        case = used_up(hospital())
        case.advance(DAY)
        for fact in facts:
            case.event(fact)
        assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
        case.event(EARNEST)
        assert reason(case.ask()) is None


@pytest.mark.parametrize("signed", [False, True])
def test_a_request_that_waits_is_asked_the_limit_again_when_it_is_decided(signed: bool) -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2"))
    id = case.asked()
    if signed:
        case.doctor(id, "approve")
    case.event(unvisited(case.advance(HOUR), "v2"))
    assert case.refill(id).stage is not None, "it goes on waiting: another visit may be told"
    answer = case.pharmacist(id, "pass") if signed else case.doctor(id, "approve")
    assert reason(answer) == Reason.RENEWAL_LIMIT_REACHED
    assert case.refill(id).status is Status.REFUSED
    assert [e.reason for e in case.events(RefillRefused)] == [Reason.RENEWAL_LIMIT_REACHED]
    assert case.told()[-1] == ("p1", "refill.refused")
    assert case.account().open == ()


def test_a_request_that_waits_goes_on_if_another_visit_comes_before_it_is_decided() -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2"))
    id = case.asked()
    case.event(unvisited(case.advance(HOUR), "v2"))
    case.event(visit(case.now, "v3"))
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    assert case.refill(id).number == 1


def test_what_was_renewed_on_such_a_visit_stays_in_effect_and_counts() -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2"))
    fourth = case.renewed()
    case.take()
    case.event(unvisited(case.advance(HOUR), "v2"))
    assert case.refill(fourth.id) == fourth
    assert case.take() == []
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    case.event(visit(fourth.effective_at or NOW, "v3"))  # at its moment: it counts
    assert case.renewed().number == 2
    assert [e.remaining for e in case.events(RefillEffective)] == [1]


def test_how_many_more_a_doctor_allowed_holds_again() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "change", refills_allowed=0)
    case.pharmacist(id, "pass")
    case.event(visit(case.advance(HOUR), "v2"))
    case.event(unvisited(case.advance(HOUR), "v2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


NEW: list[Event] = [condition(NOW - DAY), admitted(NOW - DAY)]


@pytest.mark.parametrize("fact", NEW)
@pytest.mark.parametrize("in_effect", [False, True])
@pytest.mark.parametrize("cancelled_first", [False, True])
def test_what_is_new_without_that_visit_stops_what_is_under_way_when_it_has_settled(
    fact: Event, in_effect: bool, cancelled_first: bool
) -> None:
    case = hospital()
    case.event(visit(NOW - HOUR, "v2"))
    id = case.renewed().id if in_effect else case.asked()
    back = unvisited(case.advance(HOUR), "v2")
    for one in (back, fact) if cancelled_first else (fact, back):
        assert case.refill(id).reason is None
        case.event(one)
    case.fire_due(case.advance(SETTLED))
    status = Status.WITHHELD if in_effect else Status.SUSPENDED
    assert (case.refill(id).status, case.refill(id).reason) == (status, Reason.CONDITION_CHANGED)
    assert len(case.events(RefillSuspended)) == 1


def test_a_visit_of_a_merged_record_is_taken_back_under_either() -> None:
    for told_of, merge_last in itertools.product(("p1", "p2"), (False, True)):
        case = used_up(hospital())
        case.event(visit(THEN, "v2", patient_id="p2"))
        facts: list[Event] = [merged("p2", "p1"), unvisited(THEN + HOUR, "v2", told_of)]
        for fact in reversed(facts) if merge_last else facts:
            case.event(fact)
        assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_the_same_number_told_of_the_right_patient_is_their_visit() -> None:
    case = used_up(hospital())
    case.event(visit(THEN, "v2", patient_id="p2"))
    case.event(visit(THEN, "v2"))
    case.event(unvisited(case.advance(HOUR), "v2", "p2"))
    assert (seen(case), seen(case, "p2")) == ("v2", None)
    assert reason(case.ask()) is None


def test_a_visit_recorded_in_the_future_could_never_be_taken_back_and_is_none() -> None:
    case = used_up(hospital())
    ahead: dict[str, Any] = {"recorded_at": case.now + timedelta(minutes=6)}
    assert reason(case.event(visit(case.now, "v2", **ahead))) == Reason.IN_THE_FUTURE
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_of_each_department_the_newest_visits_are_kept() -> None:
    case = hospital()
    case.event(visit(NOW - 900 * DAY, "elsewhere", department="dermatology"))
    for n in range(VISITS_KEPT + 2):
        case.event(visit(NOW - n * HOUR, f"n{n}"))
    case.event(unvisited(NOW, "n0"))
    assert seen(case) == "n1"
    care = case.doc(PatientCare, "p1")
    assert care is not None and len(care.visits) == VISITS_KEPT + 1
    assert last_visit(care, "dermatology") is not None
    assert reason(case.event(visit(NOW - 99 * DAY, "older"))) == Common.STALE


def test_a_visit_that_an_older_release_has_stored_can_be_taken_back() -> None:
    row = {
        "id": "p1",
        "hospital": "h1",
        "visits": [
            {"department_code": "cardiology", "visit_id": "v2", "occurred_at": THEN},
            {"department_code": "dermatology", "visit_id": "v1", "occurred_at": NOW},
        ],
    }
    assert PATIENTS.upcast is not None
    case = Hospital()
    known = case.doc(PatientCare, "p1")
    assert known is not None
    stored = PatientCare.model_validate(PATIENTS.upcast(row))
    case.put(known.but(visits=stored.visits, version=known.version + 1))
    assert [v.visit_id for v in stored.visits] == ["v1", "v2"]
    assert seen(case) == "v2"
    case.event(unvisited(THEN, "v2"))
    assert seen(case) is None
