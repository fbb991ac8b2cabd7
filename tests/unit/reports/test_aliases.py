"""Does a fact about one record of a person hold for the person, after records were merged?"""

from __future__ import annotations

import itertools

import pytest

from libs.common.decision import Actor, Decision
from libs.common.events import (
    Event,
    GuardianLinked,
    LinkScope,
    NotificationRequested,
    ReportKind,
)
from services.reports.domain.arrival import ReleaseReport
from services.reports.domain.people import Patient, RelatedPerson, acts_for
from services.reports.domain.reading import Access
from services.reports.handlers import RELEASE
from tests.support.rules import Case
from tests.unit.reports.given import (
    CHILD,
    DOCTOR,
    HOUR,
    NOW,
    content,
    guardian,
    hospital,
    patient,
    told,
)
from tests.unit.reports.test_people import consent, joined, may, merge, send, unlinked, view

#: A child and its mother, each once under an old id.
PEOPLE = [patient("p1", born=CHILD), patient("p2", born=CHILD), patient("g1"), patient("g2")]
SCOPES = frozenset({LinkScope.FULL, LinkScope.RECORDS})


def linked(person: str = "g1", of: str = "p1", hours: int = 0) -> GuardianLinked:
    return guardian(person, of, NOW + hours * HOUR)


def reader(person: str) -> Actor:
    return Actor(person, frozenset({"guardian"}))


def may_act(case: Case, person: str) -> set[str]:
    """As the store asks for a person's list."""
    records = case.docs(Patient)
    now_is = {p.id: p.survivor_id for p in records}
    links = [r for r in case.docs(RelatedPerson) if now_is[r.person_id] == now_is[person]]
    return acts_for(links, records, SCOPES, case.now)


ENDED_UNDER_ANOTHER_ID: list[list[Event]] = [
    [linked(), merge("p1", "p2"), unlinked("g1", 2 * HOUR, of="p2")],
    [linked(), merge("g1", "g2"), unlinked("g2", 2 * HOUR)],
    [joined("g1", LinkScope.FULL), merge("g1", "g2"), unlinked("g2", 2 * HOUR)],
    [linked("g2", "p2"), merge("p1", "p2"), merge("g1", "g2"), unlinked("g1", 2 * HOUR)],
]


@pytest.mark.parametrize("facts", ENDED_UNDER_ANOTHER_ID)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_link_that_ended_under_another_id_has_ended(
    facts: list[Event], order: tuple[int, ...]
) -> None:
    arranged = [facts[i] for i in order] + facts[3:]
    case = send(hospital(), *PEOPLE, *arranged, content())
    assert told(case) == []
    for person in ("g1", "g2"):
        assert may(case, reader(person)) is Access.NOT_FOUND
        assert may_act(case, person) == set()


@pytest.mark.parametrize(("gone", "stays"), [("p1", "p2"), ("g1", "g2")])
def test_a_link_after_the_end_under_another_id_opens_again(gone: str, stays: str) -> None:
    case = send(
        hospital(),
        *PEOPLE,
        merge(gone, stays),
        unlinked("g1", HOUR),
        linked("g2" if gone == "g1" else "g1", "p2" if gone == "p1" else "p1", hours=2),
        content(),
    )
    assert len(told(case)) == 1
    assert may(case, reader("g1")) is Access.PATIENT_SIDE
    assert may_act(case, "g1")


def test_who_is_linked_under_two_ids_is_told_once() -> None:
    case = send(hospital(), *PEOPLE, linked("g1"), linked("g2"), merge("g1", "g2"), content())
    assert told(case) == [("g2", "report.ready")]


def test_who_was_told_under_an_old_id_is_not_told_again() -> None:
    case = send(hospital(), *PEOPLE, linked("g1"), content(), merge("g1", "g2"), linked("g2"))
    assert told(case) == [("g1", "report.ready")]


def test_a_consent_that_was_withdrawn_under_an_old_id_is_withdrawn() -> None:
    case = send(hospital(), *PEOPLE, linked("g1"), consent(False, "g1"), merge("g1", "g2"))
    send(case, linked("g2"), content())
    assert case.events(NotificationRequested) == []


def test_the_end_of_one_persons_link_is_nobody_elses() -> None:
    case = send(hospital(), *PEOPLE, linked("g1"), linked("g2"), unlinked("g2", HOUR), content())
    assert told(case) == [("g1", "report.ready")]
    assert may(case, reader("g2")) is Access.NOT_FOUND
    assert (may_act(case, "g1"), may_act(case, "g2")) == ({"p1"}, set())


def test_what_a_doctor_releases_is_told_and_read_under_whichever_ids() -> None:
    case = send(hospital(), *PEOPLE, linked("g1", "p2"), merge("p1", "p2"), merge("g1", "g2"))
    send(case, content(kind=ReportKind.PATHOLOGY))
    answer = case.command(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r1")
    assert isinstance(answer, Decision)
    assert told(case) == [("g2", "report.ready")]
    assert isinstance(view(case, reader("g2")), Decision)
