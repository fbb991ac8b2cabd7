"""What are people called, and by whom?"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from libs.common.decision import Actor, Decision, Refusal
from libs.common.events import (
    Contact,
    Event,
    GuardianLinked,
    MemberRole,
    PatientMerged,
    PatientRegistered,
    PractitionerRegistered,
    Relationship,
    StaffRole,
)
from services.messaging.api.views import MessageView, message_view, named_in
from services.messaging.domain.group import Group, Member, voice
from services.messaging.domain.message import Message
from services.messaging.domain.person import Person, masked
from tests.support.rules import Case
from tests.unit.messaging.given import (
    DOCTOR,
    HOUR,
    MEMBER,
    NOW,
    OTHER_MEMBER,
    hospital,
    joined,
    messages,
    opened,
    running,
    say,
)


def record(id: str, name: str, at: Any = NOW) -> PatientRegistered:
    return PatientRegistered(patient_id=id, name=name, birth_date=date(1970, 1, 1), updated_at=at)


def seen(case: Case, by: Actor) -> MessageView:
    """The newest message as somebody sees it."""
    group = case.doc(Group, "g1")
    assert group is not None
    reader = voice(group, case.docs(Member, person_id=by.person), by, frozenset({by.person}))
    assert reader is not None
    newest = messages(case)[-1]
    persons = {p.id: p.name for p in case.docs(Person)}
    names = {id: persons.get(id) for id in named_in([newest])}
    return message_view(newest, reader, names, "en")


def test_members_see_one_another_by_first_character_and_staff_in_full() -> None:
    case = running()
    case.event(record("p1", "王小明"))
    say(case, MEMBER, "Hello")
    by_member, by_doctor, by_self = (seen(case, a).author for a in (OTHER_MEMBER, DOCTOR, MEMBER))
    assert by_member is not None and by_doctor is not None and by_self is not None
    assert (by_member.name, by_member.person_id, by_member.patient_id) == ("王**", None, None)
    assert (by_doctor.name, by_doctor.person_id) == ("王小明", "p1")
    assert (by_self.name, by_self.mine, by_member.mine) == ("王小明", True, False)


def test_a_guardian_is_shown_with_whom_they_care_for() -> None:
    case = hospital()
    case.event(opened())
    guardian: dict[str, Any] = {
        "member_id": "m1",
        "patient_id": "c1",
        "role": MemberRole.GUARDIAN,
        "relationship": Relationship.MOTHER,
    }
    for event in (joined("g7", **guardian), joined("p2"), record("c1", "李小红")):
        case.event(event)
    link = GuardianLinked(
        patient_id="c1",
        person_id="g7",
        relationship=Relationship.MOTHER,
        verified_by="id_card",
        linked_at=NOW,
        contact=Contact(name="Anna Li"),
    )
    case.event(link)
    say(case, Actor("g7"), "Hello")
    author = seen(case, OTHER_MEMBER).author
    assert author is not None
    assert (author.name, author.relationship, author.patient_name) == ("A**", "mother", "李**")


def test_staff_are_named_in_full() -> None:
    case = running()
    case.event(
        PractitionerRegistered(
            practitioner_id="dr1", name="Dr Zhang", roles=(StaffRole.DOCTOR,), updated_at=NOW
        )
    )
    say(case, DOCTOR, "Hello")
    author = seen(case, MEMBER).author
    assert author is not None
    assert (author.name, author.person_id) == ("Dr Zhang", "dr1")


def test_who_is_not_known_has_no_name() -> None:
    case = running()
    say(case, MEMBER, "Hello")
    for actor in (MEMBER, OTHER_MEMBER, DOCTOR):
        author = seen(case, actor).author
        assert author is not None and author.name is None


@pytest.mark.parametrize(("name", "short"), [("王小明", "王**"), ("Ann", "A**"), (None, None)])
def test_a_masked_name_shows_one_character(name: str | None, short: str | None) -> None:
    assert masked(name) == short


def test_an_older_name_is_stale() -> None:
    case = hospital()
    case.event(record("p1", "New", NOW))
    answer = case.event(record("p1", "Old", NOW - HOUR))
    assert isinstance(answer, Refusal)
    person = case.doc(Person, "p1")
    assert person is not None and person.name == "New"


def test_a_name_dated_in_the_future_does_not_outlive_the_next_one() -> None:
    case = hospital()
    case.event(record("p1", "Wrong", NOW + 1000 * HOUR))
    case.advance(HOUR)
    case.event(record("p1", "Right", NOW + HOUR))
    person = case.doc(Person, "p1")
    assert person is not None and person.name == "Right"


@pytest.mark.parametrize("merge_first", [True, False])
def test_a_merged_person_keeps_their_group_under_the_new_id(merge_first: bool) -> None:
    case = hospital()
    merge: Event = PatientMerged(patient_id="p1", survivor_id="p8", merged_at=NOW)
    facts = [opened(), joined("p1")]
    for event in [merge, *facts] if merge_first else [*facts, merge]:
        case.event(event)
    answer = say(case, Actor("p8", frozenset({"patient"})), "Hello")
    assert isinstance(answer, Decision)
    stored = case.doc(Message, answer.result["id"])
    assert stored is not None and stored.author_id == "p1"
    welcome = next(m for m in messages(case) if m.addressee_id == "p1")
    reply = say(case, Actor("p8", frozenset({"patient"})), "Thanks", reply_to=welcome.id)
    assert isinstance(reply, Decision)


def test_merges_of_merges_are_one_person() -> None:
    case = hospital()
    for gone, stays in (("a", "b"), ("c", "d"), ("b", "d")):
        case.event(PatientMerged(patient_id=gone, survivor_id=stays, merged_at=NOW))
    assert {p.survivor_id for p in case.docs(Person)} == {"d"}
