"""Reading one's own messages, and nobody else's."""

from __future__ import annotations

import pytest

from libs.common.decision import Actor, Answer, Decision
from libs.common.events import Channel, NotificationRead, PatientMerged
from services.notify.domain.inbox import (
    TRANSITIONS,
    InboxAction,
    InboxMessage,
    InboxStatus,
    ReadMessage,
)
from services.notify.handlers import READ
from tests.support.rules import Case
from tests.unit.notify.cases import NOW, SECOND, known_case, note, reason, request


def read(case: Case, person: str | None, id: str = "n1") -> Answer:
    actor = None if person is None else Actor(person)
    return case.command(READ, ReadMessage(message_id=id), actor=actor)


def told() -> Case:
    case = known_case()
    case.event(request())
    case.take()
    case.advance(SECOND)
    return case


@pytest.mark.parametrize("action", InboxAction)
@pytest.mark.parametrize("status", InboxStatus)
def test_every_pair_of_the_table(status: InboxStatus, action: InboxAction) -> None:
    expected = {(InboxStatus.UNREAD, InboxAction.READ): InboxStatus.READ}
    assert TRANSITIONS.get((status, action)) == expected.get((status, action))


def test_every_status_can_be_reached() -> None:
    assert {InboxStatus.UNREAD, *TRANSITIONS.values()} == set(InboxStatus)


def test_a_message_is_read_once_and_told_once() -> None:
    case = told()
    answer = read(case, "p1")
    assert note(answer) == "read"
    case.advance(SECOND)
    again = read(case, "p1")
    assert note(again) == "already_read"
    assert isinstance(answer, Decision)
    assert isinstance(again, Decision)
    assert again.result == answer.result
    [event] = case.events(NotificationRead)
    assert (event.channel, event.read_at) == (Channel.INBOX, NOW + SECOND)
    assert case.docs(InboxMessage)[0].status is InboxStatus.READ


@pytest.mark.parametrize("person", ["p2", None])
def test_somebody_elses_message_does_not_exist(person: str | None) -> None:
    case = told()
    assert reason(read(case, person)) == "not_found"
    assert case.docs(InboxMessage)[0].status is InboxStatus.UNREAD


def test_a_message_that_never_was_does_not_exist() -> None:
    assert reason(read(told(), "p1", "n2")) == "not_found"


@pytest.mark.parametrize("person", ["p1", "new"])
def test_after_a_merge_both_ids_read_the_one_inbox(person: str) -> None:
    case = told()
    case.event(PatientMerged(patient_id="p1", survivor_id="new", merged_at=NOW))
    assert note(read(case, person)) == "read"
