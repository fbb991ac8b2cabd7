"""Who may act for a child, whatever ids, dates and orders the facts come in?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest

from libs.common.events import Event, InvitationIssued, LinkScope, MemberJoined, MemberLeft
from libs.common.years import birthday, years
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.patient import Patient
from services.enrollment.domain.staff import StaffTask, TaskReason
from tests.support.rules import Case
from tests.unit.enrollment.given import (
    CHILD,
    NOW,
    accept,
    cancelled,
    child_discharged,
    guardian,
    hospital,
    invited,
    leave,
    linked,
    merged,
    note,
    policy,
    seats,
    token,
    unlinked,
)

DAY = timedelta(days=1)


def whom(case: Case) -> list[str]:
    return [i.person_id for i in case.events(InvitationIssued)]


# -- after merges -----------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_end_under_one_id_ends_the_link_under_another(order: tuple[int, ...]) -> None:
    case = hospital()
    events: list[Event] = [
        linked(patient="kid-old", at=NOW - 9 * DAY),
        merged("kid-old", "kid", at=NOW - 8 * DAY),
        unlinked(at=NOW - 7 * DAY),
    ]
    for n in order:
        case.event(events[n])
    assert note(case.event(child_discharged(guardians=[]))) == "no_guardian"


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_link_after_an_end_under_another_id_holds(order: tuple[int, ...]) -> None:
    case = hospital()
    events: list[Event] = [
        linked("mother-old", at=NOW - 9 * DAY),
        merged("mother-old", "mother", at=NOW - 8 * DAY),
        unlinked("mother-old", at=NOW - 7 * DAY),
        linked("mother", at=NOW - 6 * DAY),
    ]
    for n in order:
        case.event(events[n])
    case.event(child_discharged(guardians=[]))
    assert whom(case) == ["mother"]


def test_a_snapshot_does_not_bring_back_who_was_unlinked_under_another_id() -> None:
    case = hospital()
    case.event(merged("kid-old", "kid"))
    case.event(unlinked(patient="kid-old", at=NOW - timedelta(minutes=1)))
    assert note(case.event(child_discharged())) == "no_guardian"


def test_a_merge_that_brings_an_end_takes_the_invitation_back() -> None:
    case = hospital()
    case.event(child_discharged())
    case.event(unlinked(patient="kid-old"))
    case.event(merged("kid-old", "kid"))
    assert invited(case, "mother") is InvitationStatus.WITHDRAWN
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.GUARDIAN_UNLINKED]


def test_an_end_older_than_the_link_takes_nothing_back() -> None:
    case = hospital()
    case.event(merged("kid-old", "kid"))
    case.event(linked(at=NOW - DAY))
    case.event(child_discharged(guardians=[]))
    assert note(case.event(unlinked(patient="kid-old", at=NOW - 2 * DAY))) == "stale"
    assert invited(case, "mother") is InvitationStatus.OPEN


# -- dates of the future ----------------------------------------------------------------


def test_a_discharge_that_lies_ahead_teaches_nothing() -> None:
    case = hospital()
    case.event(child_discharged(at=NOW + 2 * DAY))
    assert [p.links for p in case.docs(Patient)] == [()]


def test_a_link_dated_in_the_future_can_be_ended() -> None:
    case = hospital()
    case.event(linked(at=NOW + 1000 * DAY))
    case.advance(timedelta(minutes=1))
    case.event(unlinked(at=case.now))
    assert note(case.event(child_discharged(guardians=[]))) == "no_guardian"


def test_a_discharge_booked_some_hours_ahead_makes_no_link_that_outlives_its_end() -> None:
    case = hospital()
    case.event(child_discharged(at=NOW + timedelta(hours=20)))
    case.advance(timedelta(hours=1))
    case.event(unlinked(at=case.now))
    assert invited(case, "mother") is InvitationStatus.WITHDRAWN


def test_a_merge_dated_in_the_future_does_not_stop_a_later_one() -> None:
    case = hospital()
    case.event(merged("a", "b", at=NOW + 1000 * DAY))
    case.advance(timedelta(minutes=1))
    case.event(merged("b", "a", at=case.now))
    assert [p.same[0] for p in case.docs(Patient)] == ["a", "a"]


# -- coming of age ----------------------------------------------------------------------


def test_a_guardian_named_by_a_discharge_acts_until_the_child_comes_of_age() -> None:
    case = hospital()
    case.event(child_discharged(born=CHILD))
    accept(case, token(case, "mother"))
    (joined,) = case.events(MemberJoined)
    assert joined.scope == (LinkScope.FULL,)
    assert joined.valid_until == datetime(2037, 3, 7, 16, 0, tzinfo=UTC)  # 8 March in Shanghai


def test_a_link_that_the_hospital_tells_ends_when_it_says() -> None:
    case = hospital()
    case.event(linked(at=NOW - DAY))
    case.event(child_discharged())
    accept(case, token(case, "mother"))
    (joined,) = case.events(MemberJoined)
    assert joined.valid_until is None


@pytest.mark.parametrize("born", [date(2008, 2, 29), date(2008, 2, 28), date(9999, 12, 31)])
def test_a_birthday_is_the_first_day_of_a_new_age(born: date) -> None:
    day = birthday(born, 17)
    assert day == date.max or (years(born, day), years(born, day - DAY)) == (17, 16)


def test_an_adult_comes_of_no_age() -> None:
    assert policy().adult_from(date(2000, 1, 1), NOW) is None


# -- several stays ----------------------------------------------------------------------


def test_a_guardian_whom_another_stay_passed_over_is_invited_when_the_first_is_cancelled() -> None:
    case = hospital()
    case.event(child_discharged(encounter="e1"), id="d1")
    both = [guardian(), guardian("father")]
    case.event(child_discharged(encounter="e2", guardians=both), id="d2")
    assert whom(case) == ["mother", "father"]
    case.event(cancelled("d1", "kid", "e1"))
    open_ones = case.docs(Invitation, status="open")
    assert {(i.person_id, i.encounter_id) for i in open_ones} == {
        ("mother", "e2"),
        ("father", "e2"),
    }


# -- one seat, two children -------------------------------------------------------------


def proofs(case: Case) -> list[tuple[str, str | None]]:
    """(patient, invitation) of each joining that was published."""
    return [(j.patient_id, j.invitation_id) for j in case.events(MemberJoined)]


def test_a_members_link_to_a_second_child_is_published_without_a_second_seat() -> None:
    case = hospital()
    case.event(child_discharged())
    accept(case, token(case, "mother"))
    case.take()
    answer = case.event(child_discharged("sister"))
    assert note(answer) == "already_member"
    (joined,) = case.events(MemberJoined)
    assert (joined.patient_id, joined.person_id, joined.role) == ("sister", "mother", "guardian")
    assert (joined.scope, joined.verified_by) == ((LinkScope.FULL,), "discharge")
    assert joined.linked_at == NOW - timedelta(minutes=5)
    assert (joined.valid_until is not None, joined.consents) == (True, ())
    assert joined.group_number == 1
    assert seats(case, "ped-neph:1") == (0, 1)
    case.event(child_discharged("sister", "e9"))
    assert len(case.events(MemberJoined)) == 1


def test_a_second_child_who_comes_before_the_joining_is_published_with_it() -> None:
    case = hospital()
    for child in ("kid", "sister", "kid"):
        case.event(child_discharged(child))
    assert proofs(case) == []
    accept(case, token(case, "mother"))
    (invitation,) = case.docs(Invitation)
    assert proofs(case) == [("kid", invitation.id), ("sister", None)]
    assert seats(case, "ped-neph:1") == (0, 1)


def test_leaving_is_told_for_every_child() -> None:
    case = hospital()
    for child in ("kid", "sister"):
        case.event(child_discharged(child))
    accept(case, token(case, "mother"))
    leave(case, "mother")
    left = case.events(MemberLeft)
    assert [e.patient_id for e in left] == ["kid", "sister"]
    assert len({e.member_id for e in left}) == 1


def test_a_new_invitation_begins_with_one_child_again() -> None:
    case = hospital()
    for child in ("kid", "sister"):
        case.event(child_discharged(child))
    accept(case, token(case, "mother"))
    leave(case, "mother")
    case.event(child_discharged("brother"))
    accept(case, token(case, "mother"))
    assert [patient for patient, _ in proofs(case)] == ["kid", "sister", "brother"]
