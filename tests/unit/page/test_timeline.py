"""Is the timeline complete, in order, and does it learn names?"""

from __future__ import annotations

import pytest

from libs.common.devstack.page import timeline as module
from libs.common.devstack.page.feed import take
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.people import People
from libs.common.devstack.page.sentences import Sentence
from libs.common.devstack.page.timeline import Timeline
from libs.common.events import Channel, NotificationSent, Wording
from libs.common.events.groups import GroupOpened
from tests.unit.page.given import T0, TRACE, accepted, event, invited, record, registered


class Changed:
    """Stands in for the reader of inboxes."""

    def __init__(self) -> None:
        self.people: list[tuple[str, str]] = []

    def changed(self, hospital: str, person_id: str) -> None:
        self.people.append((hospital, person_id))


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def timeline(hub: Hub) -> Timeline:
    return Timeline(People(), hub)


def published(hub: Hub) -> list[str]:
    return [news.item.id for news in hub._latest if news.kind == "entry"]


def test_an_entry_names_service_patient_and_trace(timeline: Timeline) -> None:
    timeline.add_event(event(registered(), "e-0", "/systems/his"), 1)
    timeline.add_event(event(invited()), 2)
    invitation, registration = timeline.latest(10)
    assert (registration.service, invitation.service) == ("hospital", "enrollment")
    assert timeline.patient(invitation, "zh") == "林晓梅"
    assert invitation.trace_id == TRACE
    assert timeline.told(invitation, "en").startswith("林晓梅 invited")
    assert registration.sentence.minor and not invitation.sentence.minor


def test_an_event_that_comes_twice_is_shown_once(timeline: Timeline, hub: Hub) -> None:
    assert timeline.add_event(event(invited()), 1)
    assert not timeline.add_event(event(invited()), 2)
    assert len(timeline) == 1 and len(published(hub)) == 1


def test_entries_are_in_order_of_arrival_however_they_are_read(timeline: Timeline) -> None:
    for arrived in (30, 10, 20):
        timeline.add_event(event(invited(), f"e-{arrived}"), arrived)
    assert [e.at for e in timeline.latest(2)] == [30, 20]


def test_a_name_that_comes_later_is_told_again(timeline: Timeline, hub: Hub) -> None:
    timeline.add_event(event(invited(), "early"), 5)
    (entry,) = timeline.latest(1)
    assert timeline.patient(entry, "zh") == "p-1"
    timeline.add_event(event(registered(), "e-0"), 4)
    assert timeline.patient(entry, "zh") == "林晓梅"
    assert published(hub).count(entry.id) == 2


def test_a_groups_name_follows_the_language(timeline: Timeline) -> None:
    group = GroupOpened(
        group_id="g-1",
        programme_id="stroke",
        number=1,
        name=Wording(zh="卒中一群", en="Stroke 1"),
        department_code="neuro",
        limit=200,
        welcome_sheet="welcome",
        rules_sheet="rules",
        opened_at=T0,
    )
    timeline.add_event(event(group, "e-0"), 1)
    timeline.add_event(event(invited()), 2)
    entry = timeline.latest(1)[0]
    assert "卒中一群" in timeline.told(entry, "zh")
    assert "Stroke 1" in timeline.told(entry, "en")


def test_the_oldest_entries_are_forgotten(
    timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for n in range(5):
        timeline.add_event(event(invited(), f"e-{n}"), n)
    assert [e.at for e in timeline.latest(10)] == [4, 3, 2]


def test_what_a_trace_tells_is_found_by_its_id(timeline: Timeline) -> None:
    timeline.add_event(event(accepted(), "second"), 2)
    timeline.add_event(event(invited(), "first"), 1)
    assert [e.at for e in timeline.of_trace(TRACE)] == [1, 2]
    assert timeline.of_trace("0" * 32) == []


def test_the_last_word_about_an_invitation_is_kept(timeline: Timeline) -> None:
    assert timeline.last_invitation("h1", "p-1") is None
    timeline.add_event(event(invited()), 1)
    timeline.add_event(event(accepted(), "e-2"), 2)
    assert timeline.last_invitation("h1", "p-1") == accepted()


def test_a_note_of_the_launcher_is_told_in_both_languages(timeline: Timeline) -> None:
    timeline.add_note("note-1", 7, "kafka", Sentence("就绪 {x}", "ready {x}"))
    (entry,) = timeline.latest(1)
    assert (timeline.told(entry, "zh"), timeline.told(entry, "en")) == ("就绪 {x}", "ready {x}")
    assert entry.trace_id is None


def test_the_feed_puts_events_on_the_timeline_and_says_whose_inbox_changed(
    timeline: Timeline,
) -> None:
    inboxes = Changed()
    sent = NotificationSent(
        notification_id="n-1",
        recipient_id="p-1",
        template="report.ready",
        channel=Channel.INBOX,
        attempt=1,
        sent_at=T0,
    )
    by_mail = sent.model_copy(update={"channel": Channel.EMAIL, "recipient_id": "p-2"})
    take(record(event(sent)), timeline, inboxes)  # type: ignore[arg-type]
    take(record(event(by_mail, "e-2")), timeline, inboxes)  # type: ignore[arg-type]
    assert len(timeline) == 2
    assert inboxes.people == [("h1", "p-1")]


def test_garbage_on_a_topic_is_passed_over(timeline: Timeline) -> None:
    garbage = record(event(invited()))
    garbage.value = b"\xff"
    take(garbage, timeline, Changed())  # type: ignore[arg-type]
    assert len(timeline) == 0


def test_a_dead_letter_is_told_with_its_reason(timeline: Timeline) -> None:
    letter = record(event(invited()))
    letter.topic = "lianxin.reports.dlq"
    letter.headers = [("dlq_reason", b"not_json")]
    take(letter, timeline, Changed())  # type: ignore[arg-type]
    (entry,) = timeline.latest(1)
    assert (entry.service, entry.kind) == ("reports", "dead_letter")
    assert timeline.told(entry, "en") == "A message was set aside: not JSON"
