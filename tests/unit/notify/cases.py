"""Notify in memory, with people who have every channel."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from libs.common.dated import Dated
from libs.common.decision import Answer, Decision, Refusal
from libs.common.events import (
    Channel,
    GuardianLinked,
    NotificationRequested,
    PatientRegistered,
    Relationship,
)
from libs.common.events.base import Contact
from services.notify.domain.channels import ChannelRule, Policy, Retry
from services.notify.domain.delivering import CLAIM, ENDED, CallEnded, Claim, Verdict
from services.notify.domain.delivery import Delivery
from services.notify.domain.notification import Notification
from services.notify.domain.texts import Texts
from services.notify.handlers import HANDLERS
from services.notify.policy import load_texts
from services.notify.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
POLICIES = Path(__file__).parents[3] / "policies"
#: Of the policy below: how long a claim holds, and the longest first wait.
CLAIM_HOLDS = timedelta(seconds=60)


@cache
def texts() -> Texts:
    return load_texts(POLICIES / "templates")


def rule(default_address: str | None = None) -> ChannelRule:
    retry = Retry(first=10, cap=600, give_up_after=86_400)
    return ChannelRule(retry, claim=CLAIM_HOLDS, default_address=default_address)


def policy(**changes: Any) -> Dated[Policy]:
    given: dict[str, Any] = {
        "version": "1",
        "in_force_from": NOW.date(),
        "texts": texts(),
        "channels": {Channel.WEBHOOK: rule(), Channel.EMAIL: rule()},
    }
    return Dated([Policy(**(given | changes))], ZoneInfo("Asia/Shanghai"))


def new_case(**changes: Any) -> Case:
    return Case(HANDLERS, policy(**changes), now=NOW, collections=COLLECTIONS)


def record(patient_id: str = "p1", **changes: Any) -> PatientRegistered:
    given: dict[str, Any] = {
        "patient_id": patient_id,
        "name": "张三",
        "birth_date": date(1980, 1, 1),
        "email": f"{patient_id}@example.org",
        "webhook": f"https://{patient_id}.example.org/in",
        "updated_at": NOW - DAY,
    }
    return PatientRegistered(**(given | changes))


def linked(patient_id: str, person_id: str, **changes: Any) -> GuardianLinked:
    given: dict[str, Any] = {
        "patient_id": patient_id,
        "person_id": person_id,
        "relationship": Relationship.MOTHER,
        "verified_by": "id_card",
        "linked_at": NOW - DAY,
        "contact": Contact(name="李四", email=f"{person_id}@example.org"),
    }
    return GuardianLinked(**(given | changes))


def request(id: str = "n1", **changes: Any) -> NotificationRequested:
    given: dict[str, Any] = {
        "notification_id": id,
        "recipient_id": "p1",
        "patient_id": "p1",
        "template": "report.ready",
        "parameters": {"kind": "imaging"},
        "health_data": True,
        "dedupe_key": f"key-{id}",
        "event_time": NOW,
        "expires_at": NOW + 7 * DAY,
    }
    return NotificationRequested(**(given | changes))


def known_case(**changes: Any) -> Case:
    """With the patient p1, who can be reached by e-mail and webhook."""
    case = new_case(**changes)
    case.event(record())
    case.take()
    return case


def delivery(case: Case, channel: Channel, id: str = "n1") -> Delivery:
    found = case.doc(Delivery, Delivery.id_of(id, channel))
    assert found is not None
    return found


def notification(case: Case, id: str = "n1") -> Notification:
    found = case.doc(Notification, id)
    assert found is not None
    return found


def claim(case: Case, channel: Channel, id: str = "n1", jitter: float = 0.0) -> Answer:
    data = Claim(notification_id=id, channel=channel, jitter=jitter)
    return case.command(CLAIM, data, source="/services/notify")


def ended(
    case: Case, channel: Channel, verdict: Verdict, attempt: int, id: str = "n1", **more: Any
) -> Answer:
    given: dict[str, Any] = {"reason": "provider_busy", "jitter": 0.0} | more
    data = CallEnded(notification_id=id, channel=channel, attempt=attempt, verdict=verdict, **given)
    return case.command(ENDED, data, source="/services/notify")


def wait_for_next(case: Case, channel: Channel, id: str = "n1") -> None:
    due = delivery(case, channel, id).next_attempt_at
    assert due is not None
    case.now = max(case.now, due)


def reason(answer: Answer) -> str:
    assert isinstance(answer, Refusal)
    return str(answer.reason)


def note(answer: Answer) -> str:
    assert isinstance(answer, Decision), answer
    return answer.note
