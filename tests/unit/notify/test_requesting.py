"""Who is told, by what, and who is rightly not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.events import (
    Channel,
    Consent,
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    Event,
    GuardianUnlinked,
    MemberJoined,
    MemberRole,
    NotificationCancelled,
    NotificationSent,
    NotificationSuppressed,
    PatientDeceased,
    PatientMerged,
    PractitionerRegistered,
    StaffRole,
)
from services.notify.domain.delivery import Delivery
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.notification import (
    FIRST,
    TRANSITIONS,
    Action,
    Notification,
    Status,
)
from tests.support.rules import Case
from tests.unit.notify.cases import (
    DAY,
    NOW,
    SECOND,
    delivery,
    known_case,
    linked,
    new_case,
    note,
    notification,
    policy,
    reason,
    record,
    request,
    rule,
)


def inbox(case: Case) -> list[InboxMessage]:
    return case.docs(InboxMessage)


def suppressed(case: Case) -> list[tuple[str, Channel | None]]:
    return [(e.reason, e.channel) for e in case.events(NotificationSuppressed)]


def withdrawn(person: str = "p1", patient: str = "p1", at: Any = NOW) -> ConsentWithdrawn:
    return ConsentWithdrawn(
        consent_id="c",
        patient_id=patient,
        person_id=person,
        scope=ConsentScope.HEALTH_DATA,
        withdrawn_at=at,
    )


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", Status)
def test_every_pair_of_the_table(status: Status, action: Action) -> None:
    allowed = {
        (Status.WAITING, Action.SETTLE): Status.TOLD,
        (Status.WAITING, Action.LAPSE): Status.TOLD,
        (Status.WAITING, Action.CANCEL): Status.CANCELLED,
        (Status.TOLD, Action.CANCEL): Status.CANCELLED,
    }
    doc = Notification(id="n1", hospital="h1", status=status, recipient_id="p1")
    assert doc.may(action) is ((status, action) in allowed)
    if doc.may(action):
        assert doc.moved(action).status is allowed[status, action]
    else:
        with pytest.raises(KeyError):
            doc.moved(action)


def test_every_status_can_be_reached() -> None:
    assert FIRST | set(TRANSITIONS.values()) == set(Status)


def test_a_known_person_is_told_in_the_inbox_and_by_each_channel_at_once() -> None:
    case = known_case()
    assert note(case.event(request())) == "told"
    [message] = inbox(case)
    assert (message.person_id, message.number, message.link) == ("p1", 1, None)
    assert set(message.texts) == {"zh-CN", "en"}
    assert {d.channel for d in case.docs(Delivery)} == {Channel.EMAIL, Channel.WEBHOOK}
    assert all(d.next_attempt_at == NOW for d in case.docs(Delivery))
    assert delivery(case, Channel.EMAIL).address == "p1@example.org"
    [sent] = case.events(NotificationSent)
    assert (sent.channel, sent.notification_id) == (Channel.INBOX, "n1")


def test_a_person_without_an_address_has_the_inbox_and_nothing_is_awaited() -> None:
    case = new_case()
    case.event(record(email=None, webhook=None))
    case.event(request())
    assert notification(case).status is Status.TOLD
    assert (len(inbox(case)), case.docs(Delivery), case.timers) == (1, [], {})


def test_the_installations_own_webhook_serves_who_has_none() -> None:
    channels = {Channel.WEBHOOK: rule("https://app.hospital.test/in")}
    case = new_case(channels=channels)
    case.event(record("p1", webhook=None))
    case.event(record("p2"))
    case.event(request("n1"))
    case.event(request("n2", recipient_id="p2", patient_id="p2"))
    assert delivery(case, Channel.WEBHOOK, "n1").address == "https://app.hospital.test/in"
    assert delivery(case, Channel.WEBHOOK, "n2").address == "https://p2.example.org/in"


def test_the_hint_narrows_the_channels_but_never_the_inbox() -> None:
    case = known_case()
    case.event(request(channels=(Channel.EMAIL, Channel.SMS)))
    assert [d.channel for d in case.docs(Delivery)] == [Channel.EMAIL]
    assert len(inbox(case)) == 1


def test_the_language_is_the_persons_else_the_hospitals() -> None:
    case = known_case()
    case.event(record("p2", language="en-GB"))
    case.event(request("n1"))
    case.event(request("n2", recipient_id="p2", patient_id="p2"))
    languages = [delivery(case, Channel.EMAIL, n).language for n in ("n1", "n2")]
    assert languages == ["zh-CN", "en"]


def test_messages_of_a_person_are_numbered_without_gaps() -> None:
    case = known_case()
    case.batch([case.event_input(request(f"n{i}")) for i in range(5)])
    case.event(request("n5", expires_at=NOW))
    case.event(request("n6"))
    assert sorted(m.number for m in inbox(case)) == [1, 2, 3, 4, 5, 6]


# -- rightly not ------------------------------------------------------------------------


def test_what_has_expired_is_suppressed_and_counts_from_the_events_time() -> None:
    case = known_case()
    answer = case.event(request(event_time=NOW - 10 * DAY, expires_at=NOW - 3 * DAY))
    assert reason(answer) == "expired"
    assert (inbox(case), case.docs(Delivery)) == ([], [])
    assert suppressed(case) == [("expired", None)]
    assert notification(case).status is Status.SUPPRESSED


def test_the_expiry_itself_is_too_late_and_a_moment_before_is_not() -> None:
    case = known_case()
    assert reason(case.event(request("n1", expires_at=NOW))) == "expired"
    assert note(case.event(request("n2", expires_at=NOW + SECOND))) == "told"


def test_the_same_dedupe_key_for_a_recipient_is_told_once() -> None:
    case = known_case()
    case.event(record("p2"))
    case.event(request("n1", dedupe_key="same"))
    assert reason(case.event(request("n2", dedupe_key="same"))) == "duplicate"
    other = request("n3", dedupe_key="same", recipient_id="p2", patient_id="p2")
    assert note(case.event(other)) == "told"
    assert suppressed(case) == [("duplicate", None)]
    assert {m.id for m in inbox(case)} == {"n1", "n3"}


def test_the_same_key_at_another_hospital_is_another_one() -> None:
    case = known_case()
    case.event(request(dedupe_key="same"))
    answer = case.send(case.event_input(request(dedupe_key="same"), hospital="h2"))
    assert note(answer) == "told"


def test_two_requests_under_one_key_in_one_batch_are_told_once() -> None:
    case = known_case()
    case.batch([case.event_input(request(f"n{i}", dedupe_key="same")) for i in range(3)])
    assert [m.id for m in inbox(case)] == ["n0"]


def test_what_was_suppressed_does_not_use_up_its_key() -> None:
    case = known_case()
    case.event(request("n1", dedupe_key="same", expires_at=NOW))
    assert note(case.event(request("n2", dedupe_key="same"))) == "told"


def test_a_request_that_is_published_again_changes_nothing() -> None:
    case = known_case()
    case.event(request())
    case.take()
    assert reason(case.event(request())) == "stale"
    assert (case.take(), len(inbox(case))) == ([], 1)


def test_nobody_is_told_after_their_death_or_the_patients() -> None:
    case = known_case()
    case.event(linked("p1", "mother"))
    case.event(PatientDeceased(patient_id="p1", deceased_at=NOW))
    for n, recipient in enumerate(("p1", "mother")):
        assert reason(case.event(request(f"n{n}", recipient_id=recipient))) == "deceased"
    assert suppressed(case) == [("deceased", None)] * 2


def test_staff_are_told_of_a_patient_who_has_died() -> None:
    case = known_case()
    case.event(PatientDeceased(patient_id="p1", deceased_at=NOW))
    answer = case.event(
        request(recipient_id="doctor", template="report.critical", health_data=False)
    )
    assert note(answer) == "told"


@pytest.mark.parametrize(
    ("template", "health_data", "told"),
    [
        ("report.ready", True, False),
        ("report.ready", False, False),  # the table says that it is about health
        ("invitation.issued", True, False),  # whoever asks says so
        ("invitation.issued", False, True),  # administrative
        ("no.such.template", False, False),  # for all we know
    ],
)
def test_who_withdrew_the_consent_is_told_administrative_matters_only(
    template: str, health_data: bool, told: bool
) -> None:
    case = known_case()
    case.event(withdrawn())
    answer = case.event(request(template=template, health_data=health_data))
    assert bool(inbox(case)) is told
    if not told:
        assert reason(answer) == "no_consent"


def test_a_consent_is_about_one_patient_and_can_be_given_again() -> None:
    case = known_case()
    for patient in ("c1", "c2"):
        case.event(linked(patient, "mother"))
    case.event(withdrawn("mother", "c1"))
    first = case.event(request("n1", recipient_id="mother", patient_id="c1"))
    other = case.event(request("n2", recipient_id="mother", patient_id="c2"))
    assert (reason(first), note(other)) == ("no_consent", "told")
    case.event(
        ConsentGiven(
            consent_id="c",
            patient_id="c1",
            person_id="mother",
            scope=ConsentScope.HEALTH_DATA,
            given_at=NOW + SECOND,
        )
    )
    again = case.event(request("n3", recipient_id="mother", patient_id="c1"))
    assert note(again) == "told"


def test_a_consent_given_on_joining_counts_and_one_to_the_rules_does_not() -> None:
    def joined(scope: ConsentScope, after: timedelta) -> Event:
        return MemberJoined(
            member_id="m",
            patient_id="p1",
            person_id="p1",
            role=MemberRole.PATIENT,
            group_id="g",
            programme_id="pr",
            group_number=1,
            consents=(Consent(scope=scope, given_at=NOW + after),),
            joined_at=NOW,
        )

    case = known_case()
    case.event(withdrawn())
    case.event(joined(ConsentScope.GROUP_RULES, SECOND))
    assert reason(case.event(request("n1"))) == "no_consent"
    case.event(joined(ConsentScope.HEALTH_DATA, SECOND))
    assert note(case.event(request("n2"))) == "told"


@pytest.mark.parametrize("first", ["unlinked", "joined"])
def test_joining_by_a_link_that_had_ended_before_does_not_renew_it(first: str) -> None:
    joined = MemberJoined(
        member_id="m",
        patient_id="c1",
        person_id="father",
        role=MemberRole.GUARDIAN,
        group_id="g",
        programme_id="pr",
        group_number=1,
        linked_at=NOW - DAY,
        joined_at=NOW,
    )
    ended = GuardianUnlinked(patient_id="c1", person_id="father", unlinked_at=NOW - SECOND)
    case = new_case()
    for event in (ended, joined) if first == "unlinked" else (joined, ended):
        case.event(event)
    assert reason(case.event(request("n1", recipient_id="father", patient_id="c1"))) == "no_link"


def test_whose_link_has_ended_is_not_told_about_the_patient() -> None:
    case = new_case()
    case.event(linked("c1", "father"))
    case.event(GuardianUnlinked(patient_id="c1", person_id="father", unlinked_at=NOW - SECOND))
    assert reason(case.event(request("n1", recipient_id="father", patient_id="c1"))) == "no_link"
    case.event(linked("c1", "father", linked_at=NOW))
    assert note(case.event(request("n2", recipient_id="father", patient_id="c1"))) == "told"


def test_a_link_ends_by_itself() -> None:
    case = new_case()
    case.event(linked("c1", "father", valid_until=NOW + DAY))
    assert note(case.event(request("n1", recipient_id="father", patient_id="c1"))) == "told"
    case.advance(DAY)
    assert reason(case.event(request("n2", recipient_id="father", patient_id="c1"))) == "no_link"


def test_an_unknown_template_is_told_in_general_words() -> None:
    case = known_case()
    assert note(case.event(request(template="no.such.template"))) == "told_by_fallback"
    assert inbox(case)[0].texts["en"].title == "You have a new message"


# -- cancelled --------------------------------------------------------------------------


def cancelled(id: str = "n1") -> NotificationCancelled:
    return NotificationCancelled(
        notification_id=id, recipient_id="p1", reason="withdrawn", cancelled_at=NOW
    )


def test_a_cancellation_before_its_request_holds() -> None:
    case = known_case()
    assert note(case.event(cancelled())) == "cancelled_early"
    assert reason(case.event(request())) == "cancelled"
    assert inbox(case) == []
    assert suppressed(case) == [("cancelled", None)]
    assert reason(case.event(request())) == "stale"


def test_what_is_in_the_inbox_stays_there() -> None:
    case = known_case()
    case.event(request())
    assert note(case.event(cancelled())) == "cancelled"
    assert notification(case).status is Status.CANCELLED
    assert len(inbox(case)) == 1
    assert reason(case.event(cancelled())) == "stale"


LINK = "https://hospital.example/accept#token=h1.secret"


def test_the_link_of_a_cancelled_notification_goes_from_the_inbox() -> None:
    case = known_case()
    case.event(request(link=LINK))
    assert inbox(case)[0].link == LINK
    case.event(cancelled())
    assert inbox(case)[0].link is None


@pytest.mark.parametrize("known", [True, False])
def test_a_link_goes_from_the_inbox_when_the_notification_expires(known: bool) -> None:
    case = known_case() if known else new_case()
    case.event(request(link=LINK))
    case.fire_due(NOW + 7 * DAY - SECOND)
    assert inbox(case)[0].link == LINK
    case.fire_due(NOW + 7 * DAY)
    assert (len(inbox(case)), inbox(case)[0].link) == (1, None)


# -- waiting ----------------------------------------------------------------------------


def test_an_unknown_person_has_the_inbox_at_once_and_the_rest_when_known() -> None:
    case = new_case()
    case.event(request())
    assert notification(case).status is Status.WAITING
    assert len(inbox(case)) == 1
    case.advance(DAY)
    case.event(record())
    case.fire_due()
    assert notification(case).status is Status.TOLD
    assert {d.channel for d in case.docs(Delivery)} == {Channel.EMAIL, Channel.WEBHOOK}
    assert all(d.next_attempt_at == NOW + DAY for d in case.docs(Delivery))
    case.fire_due(NOW + 8 * DAY)
    assert suppressed(case) == []


def test_nobody_is_waited_for_beyond_the_expiry() -> None:
    case = new_case()
    case.event(request())
    case.fire_due(NOW + 7 * DAY)
    assert notification(case).status is Status.TOLD
    assert {c for _, c in suppressed(case)} == {Channel.EMAIL, Channel.WEBHOOK}
    assert {r for r, _ in suppressed(case)} == {"no_contact"}
    case.event(record())
    case.fire_due()
    assert case.docs(Delivery) == []


def test_what_waited_is_not_told_to_who_died_or_withdrew_meanwhile() -> None:
    for event in (PatientDeceased(patient_id="p1", deceased_at=NOW), withdrawn()):
        case = new_case()
        case.event(request())
        case.event(event)
        case.event(record())
        case.fire_due()
        assert case.docs(Delivery) == []
        assert len(suppressed(case)) == 2


def test_a_cancelled_one_waits_no_longer() -> None:
    case = new_case()
    case.event(request())
    case.event(cancelled())
    case.event(record())
    case.fire_due(NOW + 8 * DAY)
    assert case.docs(Delivery) == []
    assert notification(case).status is Status.CANCELLED


def test_nobody_is_waited_for_when_there_is_no_channel_to_wait_for() -> None:
    case = new_case(channels={})
    case.event(request())
    assert notification(case).status is Status.TOLD
    case = new_case()
    case.event(request(channels=(Channel.INBOX,)))
    assert notification(case).status is Status.TOLD


def test_staff_are_known_without_an_address() -> None:
    case = new_case()
    case.event(
        PractitionerRegistered(
            practitioner_id="d1",
            name="王五",
            roles=(StaffRole.DOCTOR,),
            language="en",
            updated_at=NOW,
        )
    )
    case.event(request(recipient_id="d1", template="report.critical"))
    assert notification(case).status is Status.TOLD


def test_what_waited_for_an_alias_is_told_to_who_stays() -> None:
    case = new_case()
    case.event(request(recipient_id="old", patient_id="old"))
    case.event(record("p1"))
    case.event(PatientMerged(patient_id="old", survivor_id="p1", merged_at=NOW))
    case.fire_due()
    assert notification(case).status is Status.TOLD
    assert delivery(case, Channel.EMAIL).address == "p1@example.org"


def test_what_waited_for_two_unknown_who_are_one_is_told_when_they_are_known() -> None:
    case = new_case()
    case.event(request("n1", recipient_id="old", patient_id="old"))
    case.event(request("n2"))
    case.event(PatientMerged(patient_id="old", survivor_id="p1", merged_at=NOW))
    case.fire_due()
    assert case.docs(Delivery) == []
    case.event(record("p1"))
    case.fire_due()
    assert {d.notification_id for d in case.docs(Delivery)} == {"n1", "n2"}


def test_nothing_of_a_request_but_its_words_is_kept() -> None:
    case = known_case()
    case.event(request(parameters={"kind": "imaging", "report_id": "r-77"}))
    for model in (Notification, Delivery, InboxMessage):
        for doc in case.docs(model):
            assert "r-77" not in doc.model_dump_json()


def test_the_policy_may_have_any_default_language() -> None:
    case = new_case(default_language="en")
    case.event(record())
    case.event(request())
    assert delivery(case, Channel.EMAIL).language == "en"
    assert policy().at(NOW).default_language == "zh-CN"
