"""When a provider is called, and what follows from its answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import (
    Channel,
    ConsentScope,
    ConsentWithdrawn,
    NotificationCancelled,
    NotificationDelivered,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
    PatientDeceased,
)
from services.notify.domain.channels import Retry
from services.notify.domain.delivering import Verdict
from services.notify.domain.delivery import TRANSITIONS, Delivery, DeliveryAction, DeliveryStatus
from tests.support.rules import Case
from tests.unit.notify.cases import (
    CLAIM_HOLDS,
    DAY,
    NOW,
    SECOND,
    claim,
    delivery,
    ended,
    known_case,
    note,
    policy,
    reason,
    request,
    wait_for_next,
)

EMAIL, WEBHOOK = Channel.EMAIL, Channel.WEBHOOK
P, S, U, SENT, FAILED, SUPPRESSED = DeliveryStatus


def requested(**changes: Any) -> Case:
    case = known_case()
    case.event(request(**changes))
    case.take()
    return case


@pytest.mark.parametrize("action", DeliveryAction)
@pytest.mark.parametrize("status", DeliveryStatus)
def test_every_pair_of_the_table(status: DeliveryStatus, action: DeliveryAction) -> None:
    allowed = {
        P: {"claim": S, "confirm": SENT, "give_up": FAILED, "suppress": SUPPRESSED},
        S: {"confirm": SENT, "retry": P, "lose": U, "give_up": FAILED},
        U: {"claim": S, "confirm": SENT, "give_up": FAILED},
    }
    doc = Delivery(
        id="n1~email",
        hospital="h1",
        notification_id="n1",
        channel=EMAIL,
        status=status,
        key="k",
        address="a@example.org",
        language="en",
        next_attempt_at=NOW,
    )
    expected = allowed.get(status, {}).get(action.value)
    if expected is None:
        with pytest.raises(KeyError):
            doc.moved(action)
        return
    moved = doc.moved(action)
    assert moved.status is expected
    assert (moved.next_attempt_at is None) is (expected in (SENT, FAILED, SUPPRESSED))


def test_every_status_can_be_reached() -> None:
    assert {P, *TRANSITIONS.values()} == set(DeliveryStatus)


@pytest.mark.parametrize("channel", [EMAIL, WEBHOOK])
def test_the_attempt_is_recorded_before_anybody_may_call(channel: Channel) -> None:
    case = requested()
    assert note(claim(case, channel)) == "claimed"
    doc = delivery(case, channel)
    assert (doc.status, doc.attempt) == (S, 1)
    assert doc.next_attempt_at == NOW + CLAIM_HOLDS
    assert reason(claim(case, channel)) == "not_due"


def test_a_mail_that_was_taken_is_sent_and_a_webhook_has_also_arrived() -> None:
    case = requested()
    for channel in (EMAIL, WEBHOOK):
        claim(case, channel)
        ended(case, channel, Verdict.SENT, 1)
        assert delivery(case, channel).status is SENT
    assert [e.channel for e in case.events(NotificationSent)] == [EMAIL, WEBHOOK]
    assert [e.channel for e in case.events(NotificationDelivered)] == [WEBHOOK]


def test_a_permanent_refusal_fails_with_its_reason() -> None:
    case = requested()
    claim(case, EMAIL)
    ended(case, EMAIL, Verdict.REFUSED, 1, reason="mailbox_unavailable", code="550")
    doc = delivery(case, EMAIL)
    assert (doc.status, doc.reason, doc.code) == (FAILED, "mailbox_unavailable", "550")
    [failed] = case.events(NotificationFailed)
    assert (failed.channel, failed.reason, failed.attempt) == (EMAIL, "mailbox_unavailable", 1)


def test_a_passing_fault_is_tried_again_with_the_same_key_after_a_growing_wait() -> None:
    case = requested()
    key = delivery(case, EMAIL).key
    waits = []
    for attempt in (1, 2, 3):
        claim(case, EMAIL)
        ended(case, EMAIL, Verdict.PASSING, attempt, jitter=0.999)
        doc = delivery(case, EMAIL)
        assert (doc.status, doc.key) == (P, key)
        assert doc.next_attempt_at is not None
        waits.append((doc.next_attempt_at - case.now).total_seconds())
        assert reason(claim(case, EMAIL)) == "not_due"
        wait_for_next(case, EMAIL)
    assert [round(w) for w in waits] == [10, 20, 40]


def test_what_the_provider_asks_for_is_respected() -> None:
    case = requested()
    claim(case, WEBHOOK)
    ended(case, WEBHOOK, Verdict.PASSING, 1, retry_after=120.0)
    assert delivery(case, WEBHOOK).next_attempt_at == NOW + 120 * SECOND


def test_a_lost_answer_on_a_blind_channel_is_sent_once_more_and_then_given_up() -> None:
    case = requested()
    claim(case, EMAIL)
    ended(case, EMAIL, Verdict.LOST, 1)
    assert delivery(case, EMAIL).status is U
    wait_for_next(case, EMAIL)
    assert note(claim(case, EMAIL)) == "claimed"
    ended(case, EMAIL, Verdict.LOST, 2)
    doc = delivery(case, EMAIL)
    assert (doc.status, doc.reason, doc.attempt) == (FAILED, "answer_lost", 2)


def test_a_lost_answer_on_a_keyed_channel_is_sent_again_within_the_window() -> None:
    case = requested()
    attempts = 0
    while delivery(case, WEBHOOK).status is not FAILED:
        attempts += 1
        assert note(claim(case, WEBHOOK, jitter=0.999)) == "claimed"
        ended(case, WEBHOOK, Verdict.LOST, attempts, jitter=0.999)
        if delivery(case, WEBHOOK).next_attempt_at is not None:
            wait_for_next(case, WEBHOOK)
            assert case.now < NOW + DAY
    assert attempts > 20
    assert delivery(case, WEBHOOK).reason == "answer_lost"


def test_a_claim_that_lapsed_counts_as_a_lost_answer() -> None:
    case = requested()
    claim(case, EMAIL)
    case.advance(CLAIM_HOLDS)
    assert note(claim(case, EMAIL)) == "unknown"
    doc = delivery(case, EMAIL)
    assert (doc.status, doc.lost, doc.reason) == (U, 1, "sender_died")
    wait_for_next(case, EMAIL)
    assert note(claim(case, EMAIL)) == "claimed"
    case.advance(CLAIM_HOLDS)
    assert note(claim(case, EMAIL)) == "failed"
    assert delivery(case, EMAIL).attempt == 2


def test_a_late_confirmation_of_a_lapsed_attempt_ends_it() -> None:
    case = requested()
    claim(case, WEBHOOK)
    case.advance(CLAIM_HOLDS)
    claim(case, WEBHOOK)
    wait_for_next(case, WEBHOOK)
    claim(case, WEBHOOK)
    ended(case, WEBHOOK, Verdict.SENT, 1)
    assert delivery(case, WEBHOOK).status is SENT
    assert reason(ended(case, WEBHOOK, Verdict.PASSING, 2)) == "stale"


def test_a_late_fault_of_an_earlier_attempt_changes_nothing() -> None:
    case = requested()
    claim(case, WEBHOOK)
    case.advance(CLAIM_HOLDS)
    claim(case, WEBHOOK)
    wait_for_next(case, WEBHOOK)
    claim(case, WEBHOOK)
    assert reason(ended(case, WEBHOOK, Verdict.REFUSED, 1)) == "stale"
    assert (delivery(case, WEBHOOK).status, delivery(case, WEBHOOK).attempt) == (S, 2)


@pytest.mark.parametrize("attempt", [0, 2])
def test_an_answer_to_an_attempt_that_never_was_changes_nothing(attempt: int) -> None:
    case = requested()
    claim(case, EMAIL)
    assert reason(ended(case, EMAIL, Verdict.SENT, attempt)) == "stale"


def test_retries_end_when_the_notification_expires() -> None:
    case = requested(expires_at=NOW + 15 * SECOND)
    claim(case, EMAIL)
    ended(case, EMAIL, Verdict.PASSING, 1)  # the next would be after 5 s
    wait_for_next(case, EMAIL)
    claim(case, EMAIL)
    ended(case, EMAIL, Verdict.PASSING, 2, reason="mailbox_busy")  # and after 10 s more
    assert (delivery(case, EMAIL).status, delivery(case, EMAIL).reason) == (FAILED, "mailbox_busy")


def test_retries_end_when_the_channel_gives_up() -> None:
    case = requested(expires_at=NOW + 30 * DAY)
    attempt = 0
    while delivery(case, EMAIL).next_attempt_at is not None:
        attempt += 1
        claim(case, EMAIL)
        ended(case, EMAIL, Verdict.PASSING, attempt)
        if delivery(case, EMAIL).next_attempt_at is not None:
            wait_for_next(case, EMAIL)
    assert delivery(case, EMAIL).status is FAILED
    assert NOW + DAY - timedelta(seconds=600) <= case.now < NOW + DAY


def test_what_expired_before_its_first_attempt_is_suppressed() -> None:
    case = requested()
    case.advance(7 * DAY)
    assert note(claim(case, EMAIL)) == "suppressed"
    [event] = case.events(NotificationSuppressed)
    assert (event.channel, event.reason) == (EMAIL, "expired")
    assert delivery(case, EMAIL).status is SUPPRESSED


def test_what_expired_after_an_attempt_has_failed_for_the_last_reason() -> None:
    case = requested()
    claim(case, EMAIL)
    ended(case, EMAIL, Verdict.PASSING, 1, reason="mailbox_busy")
    case.advance(7 * DAY)
    assert note(claim(case, EMAIL)) == "failed"
    assert case.events(NotificationFailed)[0].reason == "mailbox_busy"


@pytest.mark.parametrize("why", ["cancelled", "deceased", "no_consent"])
def test_what_must_no_longer_be_told_is_stopped_before_the_call(why: str) -> None:
    case = requested()
    event = {
        "cancelled": NotificationCancelled(
            notification_id="n1", recipient_id="p1", reason="withdrawn", cancelled_at=NOW
        ),
        "deceased": PatientDeceased(patient_id="p1", deceased_at=NOW),
        "no_consent": ConsentWithdrawn(
            consent_id="c1",
            patient_id="p1",
            person_id="p1",
            scope=ConsentScope.HEALTH_DATA,
            withdrawn_at=NOW,
        ),
    }[why]
    case.event(event)
    for channel in (EMAIL, WEBHOOK):
        assert note(claim(case, channel)) == "suppressed"
    assert {e.reason for e in case.events(NotificationSuppressed)} == {why}


def test_a_channel_that_was_switched_off_gives_up_what_it_had() -> None:
    case = requested()
    case.policy = policy(channels={})
    assert note(claim(case, EMAIL)) == "failed"
    assert case.events(NotificationFailed)[0].reason == "channel_off"


def test_an_unknown_delivery_is_not_found() -> None:
    assert reason(claim(known_case(), EMAIL)) == "not_found"
    assert reason(ended(known_case(), EMAIL, Verdict.SENT, 1)) == "not_found"


@given(
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 10**7),
)
def test_a_wait_is_never_zero_and_never_above_the_cap(
    attempt: int, jitter: float, asked: float | None
) -> None:
    retry = Retry(first=5, cap=600, give_up_after=86_400)
    assert 2.5 <= retry.delay(attempt, jitter, asked).total_seconds() <= 600
