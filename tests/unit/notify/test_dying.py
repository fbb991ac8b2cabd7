"""A death that a discharge tells holds as long as that discharge does."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import permutations
from typing import Any

import pytest

from libs.common.decision import Refusal
from libs.common.events import (
    Department,
    DischargeCancelled,
    Disposition,
    EncounterDischarged,
    GuardianUnlinked,
    PatientDeceased,
    PatientMerged,
    PatientSnapshot,
)
from services.notify.domain.people import Link, Person
from tests.support.rules import Case
from tests.unit.notify.cases import (
    DAY,
    NOW,
    SECOND,
    known_case,
    linked,
    note,
    reason,
    request,
)
from tests.unit.notify.test_people import updated


def died(patient_id: str = "p1", **changes: Any) -> EncounterDischarged:
    given: dict[str, Any] = {
        "encounter_id": "e1",
        "patient_id": patient_id,
        "patient": PatientSnapshot(name="张三", birth_date=date(1980, 1, 1)),
        "department": Department(code="NEURO"),
        "discharged_at": NOW,
        "disposition": Disposition.DECEASED,
    }
    return EncounterDischarged(**(given | changes))


def taken_back(event_id: str = "d1", patient_id: str = "p1") -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id="e1", patient_id=patient_id, discharge_event_id=event_id, cancelled_at=NOW
    )


def is_dead(case: Case) -> bool:
    answer = case.event(request(f"n{len(case.emitted)}"))
    return isinstance(answer, Refusal) and answer.reason == "deceased"


def test_a_death_that_was_a_slip_of_the_pen_is_taken_back_with_its_discharge() -> None:
    case = known_case()
    case.event(died(), id="d1")
    assert is_dead(case)
    assert note(case.event(taken_back())) == "death_taken_back"
    assert not is_dead(case)
    assert reason(case.event(taken_back())) == "stale"


def test_a_discharge_that_was_cancelled_before_it_came_tells_of_no_death() -> None:
    case = known_case()
    case.event(taken_back(), source="/another-system")
    case.event(died(), id="d1")
    assert not is_dead(case)


def test_a_discharge_under_the_wrong_patient_is_put_right() -> None:
    case = known_case()
    case.event(died(), id="d1")
    case.event(taken_back(patient_id="p2"))
    assert not is_dead(case)


def test_another_discharge_of_the_stay_still_tells_of_the_death() -> None:
    case = known_case()
    case.event(died(), id="d1")
    case.event(died(), id="d2")
    case.event(taken_back("d1"))
    assert is_dead(case)
    case.event(taken_back("d2"))
    assert not is_dead(case)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_death_that_was_told_on_its_own_stands(order: tuple[int, ...]) -> None:
    case = known_case()
    events = [
        (died(), "d1"),
        (taken_back(), "c1"),
        (PatientDeceased(patient_id="p1", deceased_at=NOW), "x1"),
    ]
    for n in order:
        case.event(events[n][0], id=events[n][1])
    assert is_dead(case)


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_death_is_taken_back_after_a_merge_too(merged_first: bool) -> None:
    case = known_case()
    merge = PatientMerged(patient_id="old", survivor_id="p1", merged_at=NOW)
    for event, id in [(merge, "m"), (died("old"), "d1")][:: 1 if merged_first else -1]:
        case.event(event, id=id)
    assert is_dead(case)
    case.event(taken_back(patient_id="old"))
    assert not is_dead(case)


# -- the future -------------------------------------------------------------------------


def test_a_discharge_that_lies_ahead_teaches_nothing() -> None:
    case = known_case()
    before = case.docs(Person), case.docs(Link)
    ahead = NOW + DAY + SECOND
    assert reason(case.event(died(discharged_at=ahead))) == "in_the_future"
    assert (case.docs(Person), case.docs(Link)) == before


def test_a_record_dated_in_the_future_does_not_outlive_the_next_one() -> None:
    case = known_case()
    case.event(updated(NOW + 365 * DAY, email="wrong@example.org"))
    case.advance(timedelta(minutes=1))
    case.event(updated(case.now, email="right@example.org"))
    (person,) = case.docs(Person, id="p1")
    assert person.email == "right@example.org"


def test_a_link_dated_in_the_future_can_be_ended() -> None:
    case = known_case()
    case.event(linked("p1", "father", linked_at=NOW + 365 * DAY))
    case.advance(timedelta(minutes=1))
    case.event(GuardianUnlinked(patient_id="p1", person_id="father", unlinked_at=case.now))
    answer = case.event(request("n1", recipient_id="father", patient_id="p1"))
    assert reason(answer) == "no_link"
