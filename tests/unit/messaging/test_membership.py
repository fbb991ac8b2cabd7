"""How do groups come to be, and who is in them, whatever comes first?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.decision import Actor, Decision, Refusal
from libs.common.events import (
    Event,
    GroupClosed,
    MemberRole,
    MessageKind,
    MessagePosted,
    NotificationRequested,
    QuestionAsked,
)
from services.messaging.domain.group import Group, Member, voice
from services.messaging.domain.message import Message
from tests.support.rules import Case
from tests.unit.messaging.given import (
    DEPARTMENT,
    DOCTOR,
    HOUR,
    MEMBER,
    MINUTE,
    NOW,
    NURSE,
    OTHER_DOCTOR,
    OTHER_MEMBER,
    STRANGER,
    hospital,
    joined,
    left,
    messages,
    moved,
    opened,
    running,
    say,
)


def kinds(case: Case, group: str = "g1") -> list[tuple[MessageKind, str | None]]:
    return [(m.kind, m.addressee_id) for m in messages(case, group)]


SHEETS = [
    (MessageKind.RULES, None),
    (MessageKind.EDUCATION, None),
    (MessageKind.EDUCATION, None),
]


def test_an_opening_posts_the_rules_and_the_education_sheets_once_and_pins_them() -> None:
    case = hospital()
    case.event(opened())
    again = case.event(opened(), id="another")
    assert isinstance(again, Refusal)
    assert kinds(case) == SHEETS
    group = case.doc(Group, "g1")
    assert group is not None
    assert group.pinned == tuple(m.id for m in messages(case))
    assert len(case.events(MessagePosted)) == 3


def test_doctor_and_nurse_are_members_from_the_opening() -> None:
    case = hospital()
    case.event(opened())
    assert [(m.person_id, m.role) for m in case.docs(Member)] == [
        ("dr1", "doctor"),
        ("n1", "nurse"),
    ]
    for actor in (DOCTOR, NURSE):
        assert isinstance(say(case, actor, "Good morning"), Decision)


def test_what_was_asked_before_the_opening_is_told_to_staff_with_it() -> None:
    case = hospital()
    case.event(joined())
    say(case, MEMBER, "May I fly?")
    say(case, MEMBER, "Thank you", question=False)
    assert case.events(NotificationRequested) == []
    case.advance(MINUTE)
    case.event(opened())
    told = case.events(NotificationRequested)
    assert [(n.recipient_id, n.template) for n in told] == [
        ("dr1", "question.asked"),
        ("n1", "question.asked"),
    ]
    assert {n.event_time for n in told} == {NOW}
    assert len(case.events(QuestionAsked)) == 1


def test_a_member_on_account_of_one_more_patient_keeps_the_place_as_it_is() -> None:
    case = running()
    case.event(
        joined("mother", patient_id="kid", role=MemberRole.GUARDIAN, invitation_id="i1"),
    )
    before = messages(case)
    again = joined("mother", at=NOW + HOUR, patient_id="sister", role=MemberRole.GUARDIAN)
    case.event(again)
    member = case.doc(Member, "m-mother")
    assert member is not None and member.patient_id == "kid"
    assert messages(case) == before


def test_a_joiner_is_welcomed_once_and_told_that_this_is_no_emergency_service() -> None:
    case = hospital()
    case.event(opened())
    case.event(joined())
    case.event(joined(), id="another")
    assert kinds(case) == [*SHEETS, (MessageKind.WELCOME, "p1")]
    sheet = messages(case)[-1].sheet
    assert sheet is not None
    assert "120" in sheet.zh and "120" in sheet.en


def test_the_rules_are_those_to_which_members_consent() -> None:
    case = hospital()
    case.event(opened())
    sheet = messages(case)[0].sheet
    assert sheet is not None
    assert (sheet.key, sheet.version) == ("rules.default", "rules-2026-01")


def test_a_member_who_comes_before_the_opening_is_welcomed_with_it() -> None:
    case = hospital()
    case.event(joined("p1"))
    case.event(joined("p2"))
    assert isinstance(say(case, MEMBER, "Is anybody here"), Decision)
    case.event(opened())
    assert kinds(case) == [
        (MessageKind.TEXT, None),
        *SHEETS,
        (MessageKind.WELCOME, "p1"),
        (MessageKind.WELCOME, "p2"),
    ]


def test_who_left_before_the_opening_is_not_welcomed() -> None:
    case = hospital()
    case.event(joined())
    case.event(left())
    case.event(opened())
    assert kinds(case) == SHEETS


def test_whoever_comes_back_is_not_welcomed_again() -> None:
    case = running()
    before = kinds(case)
    case.event(left("p1"))
    case.event(joined("p1", at=NOW + 2 * HOUR))
    assert kinds(case) == before
    assert isinstance(say(case, MEMBER, "Back again"), Decision)


def test_a_programme_whose_sheet_is_missing_works_without_it() -> None:
    case = hospital()
    answer = case.event(opened(education_sheets=("no.such.sheet", "stroke.home")))
    assert isinstance(answer, Decision)
    assert answer.note == "sheet_missing"
    assert kinds(case) == SHEETS[:2]


def test_a_sheet_that_is_named_twice_is_posted_once() -> None:
    case = hospital()
    case.event(opened(education_sheets=("stroke.home", "stroke.home")))
    assert kinds(case) == SHEETS[:2]


# -- access -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "allowed"),
    [
        (MEMBER, True),
        (OTHER_MEMBER, True),
        (DOCTOR, True),
        (NURSE, True),
        (DEPARTMENT, True),
        (OTHER_DOCTOR, False),
        (STRANGER, False),  # of the right department, but no staff
        (Actor("o1", frozenset({"ops"}), frozenset({"NEURO"})), False),
        (None, False),
    ],
)
def test_who_speaks_in_a_group(actor: Actor | None, allowed: bool) -> None:
    answer = say(running(), actor, "Hello")
    if allowed:
        assert isinstance(answer, Decision)
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason == "not_found"


def test_who_left_loses_the_group_and_what_they_wrote_stays() -> None:
    case = running()
    say(case, MEMBER, "Goodbye")
    case.event(left("p1"))
    answer = say(case, MEMBER, "Hello")
    assert isinstance(answer, Refusal)
    assert answer.reason == "not_found"
    assert messages(case)[-1].text == "Goodbye"
    assert isinstance(say(case, OTHER_MEMBER, "Bye"), Decision)


def test_who_moved_has_the_new_group_and_not_the_old_one() -> None:
    case = running()
    case.event(opened("g2"))
    case.event(moved("p1"))
    assert isinstance(say(case, MEMBER, "Hello", group="g1"), Refusal)
    assert isinstance(say(case, MEMBER, "Hello", group="g2"), Decision)
    assert (MessageKind.WELCOME, "p1") in kinds(case, "g2")


def test_a_stale_fact_about_a_member_changes_nothing() -> None:
    case = running()
    case.event(moved("p1", at=NOW + 2 * HOUR))
    for stale in (joined("p1", at=NOW + HOUR), left("p1", at=NOW + HOUR), moved("p1", "g3")):
        answer = case.event(stale)
        assert isinstance(answer, Refusal)
        assert answer.reason == "stale"


@pytest.mark.parametrize("order", [1, -1])
def test_at_the_same_moment_leaving_holds(order: int) -> None:
    case = hospital()
    for event in (joined("p1"), left("p1", at=NOW))[::order]:
        case.event(event)
    (member,) = case.docs(Member)
    assert not member.active


def test_a_doctor_who_is_a_patient_of_the_group_speaks_as_staff() -> None:
    case = running()
    case.event(joined("dr1"))
    group = case.doc(Group, "g1")
    assert group is not None
    places = case.docs(Member, person_id="dr1")
    assert len(places) == 2
    found = voice(group, places, DOCTOR, frozenset({"dr1"}))
    assert found is not None and found.is_staff


def test_a_person_with_two_places_keeps_the_group_until_both_end() -> None:
    case = running()
    second: dict[str, Any] = {
        "member_id": "m-child",
        "patient_id": "c1",
        "role": MemberRole.GUARDIAN,
    }
    case.event(joined("p1", **second))
    case.event(left("p1"))
    assert isinstance(say(case, MEMBER, "Still here"), Decision)


def test_nobody_writes_in_a_closed_group() -> None:
    case = running()
    case.event(
        GroupClosed(
            group_id="g1", programme_id="stroke", number=1, closed_at=NOW, reason="programme_ended"
        )
    )
    for actor in (MEMBER, DOCTOR):
        answer = say(case, actor, "Hello")
        assert isinstance(answer, Refusal)
        assert answer.reason == "group_closed"


# -- order ------------------------------------------------------------------------------

facts = st.lists(
    st.sampled_from(
        [
            opened(),
            opened("g2", at=NOW + MINUTE),
            joined("p1"),
            joined("p2"),
            moved("p1", "g2", at=NOW + HOUR),
            left("p2", at=NOW + HOUR),
            joined("p2", at=NOW + 2 * HOUR),
        ]
    ),
    unique_by=id,
)


@settings(max_examples=120, deadline=None)
@given(facts, st.randoms(use_true_random=False), st.data())
def test_the_same_facts_make_the_same_groups_in_any_order(
    sent: list[Event], chance: Any, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(sent), max_size=3)) if sent else []
    straight, crooked = hospital(), hospital()
    for n, event in enumerate(sent):
        straight.event(event, id=f"e{n}")
    mixed = [(f"e{sent.index(e)}", e) for e in (*sent, *again)]
    chance.shuffle(mixed)
    for id, event in mixed:
        crooked.event(event, id=id)

    def places(case: Case) -> dict[str, Any]:
        return {m.id: (m.group_id, m.active, m.as_of, m.role) for m in case.docs(Member)}

    def sheets(case: Case) -> set[str]:
        return {m.id for m in case.docs(Message) if m.kind is not MessageKind.WELCOME}

    assert places(straight) == places(crooked)
    assert sheets(straight) == sheets(crooked)
    for case in (straight, crooked):
        for group in case.docs(Group):
            numbers = [m.number for m in messages(case, group.id)]
            assert numbers == list(range(1, group.last_number + 1))
            active = {m.person_id for m in case.docs(Member, group_id=group.id, active=True)}
            welcomed = {m.addressee_id for m in messages(case, group.id) if m.addressee_id}
            if group.opened_at is not None:
                assert active - {"dr1", "n1"} <= welcomed
