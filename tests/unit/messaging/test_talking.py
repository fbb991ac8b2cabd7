"""What may be said, who is told of a question, and when is it answered?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from libs.common.decision import Actor, Decision, Refusal
from libs.common.events import (
    MessagePosted,
    NotificationRequested,
    QuestionAnswered,
    QuestionAsked,
)
from services.messaging.domain.group import Group
from services.messaging.domain.message import ANSWERED, Message, QuestionStatus
from services.messaging.domain.talking import PostMessage, asks
from tests.support.rules import Case
from tests.unit.messaging.given import (
    DEPARTMENT,
    DOCTOR,
    HOUR,
    MEMBER,
    NOW,
    NURSE,
    OTHER_MEMBER,
    hospital,
    joined,
    left,
    messages,
    opened,
    running,
    say,
)

SECRET = "My left arm is numb"


def posted(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, Decision), answer
    result: dict[str, Any] = answer.result
    return result


def test_a_message_stands_in_the_group_and_its_text_nowhere_else() -> None:
    case = running()
    case.take()
    result = posted(say(case, MEMBER, f"{SECRET}?"))
    assert messages(case)[-1].text == f"{SECRET}?"
    assert SECRET not in str(result)
    assert not any(SECRET in e.data.model_dump_json() for e in case.take())


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001])
def test_a_text_is_neither_empty_nor_too_long(text: str) -> None:
    with pytest.raises(ValidationError):
        PostMessage(text=text)


def test_a_text_of_2000_characters_is_taken_without_its_margins() -> None:
    assert len(PostMessage(text=f" {'好' * 2000}\n").text) == 2000


@pytest.mark.parametrize(
    ("text", "reply_to", "flag", "question"),
    [
        ("May I fly?", None, None, True),
        ("我左手发麻，头很痛", None, None, True),
        ("请问什么时候复查。", None, None, True),
        ("Isn't it nice?", None, False, False),
        ("Thank you", "m1", None, False),
        ("And who drives?", "m1", None, False),
        ("And who drives?", "m1", True, True),
        ("Thank you", "m1", False, False),
    ],
)
def test_whatever_is_no_reply_waits_for_an_answer_unless_its_writer_says_otherwise(
    text: str, reply_to: str | None, flag: bool | None, question: bool
) -> None:
    assert asks(PostMessage(text=text, reply_to=reply_to, question=flag)) is question


def test_a_complaint_without_a_question_mark_is_listed_for_staff_who_are_told() -> None:
    case = running()
    result = posted(say(case, MEMBER, f"{SECRET}."))
    (waiting,) = case.docs(Message, question=QuestionStatus.UNANSWERED)
    assert waiting.id == result["id"]
    assert [n.recipient_id for n in case.events(NotificationRequested)] == ["dr1", "n1"]


def test_the_same_key_posts_once_and_answers_alike() -> None:
    case = running()
    before = len(messages(case))
    first = say(case, MEMBER, "Hello?", id="key")
    assert say(case, MEMBER, "Hello?", id="key") == first
    assert len(messages(case)) == before + 1


def test_a_question_is_published_and_the_groups_staff_are_told_once() -> None:
    case = running()
    result = posted(say(case, MEMBER, "May I fly?"))
    (asked,) = case.events(QuestionAsked)
    assert (asked.question_id, asked.asked_by, asked.patient_id) == (result["id"], "p1", "p1")
    told = case.events(NotificationRequested)
    assert [(n.recipient_id, n.template) for n in told] == [
        ("dr1", "question.asked"),
        ("n1", "question.asked"),
    ]
    assert {n.expires_at for n in told} == {NOW + 24 * HOUR}
    assert len({n.dedupe_key for n in told}) == 1


def test_a_remark_tells_nobody() -> None:
    case = running()
    say(case, MEMBER, "Thank you", question=False)
    assert case.events(QuestionAsked) == []
    assert case.events(NotificationRequested) == []


def test_staff_do_not_ask() -> None:
    case = running()
    for actor in (DOCTOR, NURSE, DEPARTMENT):
        result = posted(say(case, actor, "How are you today?", question=True))
        assert result["question"] is None
    assert case.events(QuestionAsked) == []


@pytest.mark.parametrize("staff", [DOCTOR, NURSE, DEPARTMENT])
def test_a_reply_of_staff_answers_a_question_and_who_asked_is_told(staff: Actor) -> None:
    case = running()
    question = posted(say(case, MEMBER, "May I fly?"))["id"]
    case.take()
    case.advance(HOUR)
    answer = posted(say(case, staff, "After six weeks.", reply_to=question))["id"]
    stored = case.doc(Message, question)
    assert stored is not None
    assert (stored.question, stored.answer_id) == (QuestionStatus.ANSWERED, answer)
    (fact,) = case.events(QuestionAnswered)
    assert (fact.answered_by, fact.message_id) == (staff.person, answer)
    (told,) = case.events(NotificationRequested)
    assert (told.recipient_id, told.template, told.health_data) == ("p1", "question.answered", True)


def test_a_second_answer_changes_nothing() -> None:
    case = running()
    question = posted(say(case, MEMBER, "May I fly?"))["id"]
    first = posted(say(case, DOCTOR, "Yes.", reply_to=question))["id"]
    say(case, NURSE, "But not alone.", reply_to=question)
    stored = case.doc(Message, question)
    assert stored is not None and stored.answer_id == first
    assert len(case.events(QuestionAnswered)) == 1


def test_a_reply_of_another_member_answers_nothing() -> None:
    case = running()
    question = posted(say(case, MEMBER, "May I fly?"))["id"]
    say(case, OTHER_MEMBER, "I did.", reply_to=question)
    stored = case.doc(Message, question)
    assert stored is not None and stored.question is QuestionStatus.UNANSWERED


def test_a_question_of_somebody_who_left_can_still_be_answered() -> None:
    case = running()
    question = posted(say(case, MEMBER, "May I fly?"))["id"]
    case.event(left("p1"))
    posted(say(case, DOCTOR, "Yes.", reply_to=question))
    assert len(case.events(QuestionAnswered)) == 1


def test_a_reply_names_a_message_of_the_same_group_that_the_writer_can_see() -> None:
    case = running()
    case.event(opened("g2"))
    case.event(joined("p3", "g2"))
    elsewhere = posted(say(case, Actor("p3"), "Hello", group="g2"))["id"]
    welcome_of_p2 = next(m.id for m in messages(case) if m.addressee_id == "p2")
    for id in (elsewhere, "no-such-message", welcome_of_p2):
        answer = say(case, MEMBER, "What?", reply_to=id)
        assert isinstance(answer, Refusal)
        assert answer.reason == "reply_not_found"
    assert isinstance(say(case, OTHER_MEMBER, "Thank you", reply_to=welcome_of_p2), Decision)


@pytest.mark.parametrize("status", QuestionStatus)
def test_only_an_unanswered_question_can_be_answered(status: QuestionStatus) -> None:
    assert ANSWERED.get(status) == (
        QuestionStatus.ANSWERED if status is QuestionStatus.UNANSWERED else None
    )


class Talking(RuleBasedStateMachine):
    """People come, go, ask and answer; the numbers and the questions stay right."""

    def __init__(self) -> None:
        super().__init__()
        self.case: Case = hospital()
        self.case.event(opened())
        self.inside: set[str] = set()
        self.open: set[str] = set()
        self.said = 0

    people = st.sampled_from(["p1", "p2", "p3"])

    @rule(person=people)
    def join(self, person: str) -> None:
        self.case.event(joined(person, at=self.case.advance(HOUR)))
        self.inside.add(person)

    @rule(person=people)
    def leave(self, person: str) -> None:
        self.case.event(left(person, at=self.case.advance(HOUR)))
        self.inside.discard(person)

    @rule(person=people, question=st.booleans())
    def speak(self, person: str, question: bool) -> None:
        answer = say(self.case, Actor(person), "Words", question=question)
        assert isinstance(answer, Decision) == (person in self.inside)
        if isinstance(answer, Decision):
            self.said += 1
            if question:
                self.open.add(answer.result["id"])

    @rule(data=st.data(), staff=st.sampled_from([DOCTOR, NURSE]))
    def answer(self, data: st.DataObject, staff: Actor) -> None:
        if self.open:
            question = data.draw(st.sampled_from(sorted(self.open)))
            posted(say(self.case, staff, "Yes.", reply_to=question))
            self.said += 1
            self.open.discard(question)

    @invariant()
    def numbers_have_no_gaps_and_unanswered_questions_are_the_open_ones(self) -> None:
        group = self.case.doc(Group, "g1")
        assert group is not None
        found = messages(self.case)
        assert [m.number for m in found] == list(range(1, group.last_number + 1))
        assert sum(m.text is not None for m in found) == self.said
        waiting = self.case.docs(Message, question=QuestionStatus.UNANSWERED)
        assert {m.id for m in waiting} == self.open
        assert len(self.case.events(MessagePosted)) == len(found)


Talking.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_a_group_that_talks = Talking.TestCase
