"""What becomes of records that can't be handled, and of those beside them?

All of it goes through the running services. A bad record stands between good ones of the
same key, so in the same partition: whoever stopped at it, or skipped too much, would show.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from itertools import chain
from typing import Any

import pytest

from libs.common.cloudevents import MAX_BYTES, CloudEvent, encode
from libs.common.events import (
    EVENT_TYPES,
    Contact,
    Event,
    GroupOpened,
    GuardianLinked,
    MemberJoined,
    MemberRole,
    NotificationRequested,
    PractitionerRegistered,
    Relationship,
    StaffRole,
    Wording,
)
from tests.failure.journeys import discharge, prescription, registered, report
from tests.support import topics
from tests.support.examples import BODIES, example
from tests.support.platform import GROUPS, REPLICAS, Hospital, Platform, Raw, eventually

N = 3  # a patient with the inbox alone
PATIENT = f"p{N}"
TWO_MB = 2 * 1024 * 1024


#: On the topics that no event of the journeys above stands on.
FOR_PARTNERS = (
    "hospital.condition.recorded.v1/hypertension",
    "hospital.exam.scheduled.v1/mri",
    "hospital.fulfilment.updated.v1/dispensed",
    "hospital.message.posted.v1/welcome",
    "hospital.notification.sent.v1/email",
    "hospital.refill.requested.v1/first",
    "hospital.result.released.v1/corrected",
)


def linked(h: Hospital) -> GuardianLinked:
    return GuardianLinked(
        patient_id=PATIENT,
        person_id="g1",
        relationship=Relationship.SPOUSE,
        verified_by="staff",
        linked_at=h.ports.clock.now(),
        contact=Contact(name="乙"),
    )


def joined(h: Hospital) -> MemberJoined:
    return MemberJoined(
        member_id="m1",
        patient_id=PATIENT,
        person_id=PATIENT,
        role=MemberRole.PATIENT,
        group_id="far:1",
        programme_id="far",
        group_number=1,
        joined_at=h.ports.clock.now(),
    )


def opened(h: Hospital) -> GroupOpened:
    return GroupOpened(
        group_id="far:1",
        programme_id="far",
        number=1,
        name=Wording(zh="远方", en="Far away"),
        department_code="NEURO",
        limit=5,
        staff=(),
        welcome_sheet="welcome.default",
        rules_sheet="rules.default",
        opened_at=h.ports.clock.now(),
    )


def practitioner(h: Hospital) -> PractitionerRegistered:
    return PractitionerRegistered(
        practitioner_id=PATIENT,
        name="丙",
        roles=(StaffRole.NURSE,),
        updated_at=h.ports.clock.now(),
    )


def request(h: Hospital, id: str) -> NotificationRequested:
    now = h.ports.clock.now()
    return NotificationRequested(
        notification_id=id,
        recipient_id=PATIENT,
        patient_id=PATIENT,
        template="report.ready",
        parameters={"kind": "imaging"},
        dedupe_key=id,
        event_time=now,
        expires_at=now + timedelta(days=1),
    )


def changed(event: CloudEvent, value: bytes | None = b"", **headers: str) -> Raw:
    """``event`` with another body (None: none at all) or other attributes."""
    record = encode(event)
    own = {**dict(record.headers), **{f"ce_{k}": v.encode() for k, v in headers.items()}}
    body = record.value if value == b"" else value
    return Raw(event.data.TOPIC, record.key, body, list(own.items()))


def bad(h: Hospital, data: Event) -> dict[str, Raw]:
    """Each kind of bad record on the topic of ``data``, by the reason that must be given."""
    event, record = h.event(data), encode(h.event(data))
    ahead = (h.ports.clock.now() + timedelta(hours=1)).isoformat()
    large = b'{"x":"' + b"x" * TWO_MB + b'"}'
    return {
        "not_cloudevent": Raw(data.TOPIC, record.key, os.urandom(200)),
        "not_json": changed(event, b"\xff\xfe{" + record.value),
        "schema_violation": changed(event, b'{"patient_id": 7}'),
        "unknown_major_version": changed(event, type=f"{data.TYPE[:-1]}9"),
        "empty_body": changed(event, None),
        "too_large": changed(event, large),
        "time_ahead": changed(event, time=ahead),
        "bad_time": changed(event, time="yesterday"),
    }


def events_of(h: Hospital) -> tuple[Event, ...]:
    """An event for every topic."""
    return (
        discharge(h, N, "NEURO", "I63.900x001"),
        linked(h),
        report(h, N),
        prescription(h, N),
        practitioner(h),
        request(h, "before"),
        joined(h),
        opened(h),
        *(example(name) for name in FOR_PARTNERS),
    )


#: What is wrong before a record's type is looked at; all else concerns who handles the type.
UNTYPED = frozenset({"not_cloudevent", "empty_body", "too_large"})


def readers(event: Event, reason: str) -> list[str]:
    """Who sets a bad record aside that takes the place of ``event``."""
    found = []
    for group, names in GROUPS.items():
        service = import_module(f"services.{group.removeprefix('lianxin.')}.main").SPEC
        if event.TOPIC in names and (reason in UNTYPED or event.TYPE in service.handlers):
            found.append(group)
    return found


async def no_lag_is_told(platform: Platform) -> None:
    """The broker's own figures are zero (``settled``); so must be those of the services."""

    async def zero() -> bool:
        return not any([await platform.metrics(r, "consumer_lag") for r in REPLICAS])

    await eventually(zero, 30)


@pytest.mark.timeout(300)
async def test_bad_records_go_to_the_dead_letters_of_every_reader_and_harm_nobody(
    platform: Platform, hospital: Hospital
) -> None:
    all = events_of(hospital)
    assert {e.TOPIC for e in all} == set(chain(*GROUPS.values()))
    garbage = {e.TOPIC: bad(hospital, e) for e in all}
    unknown = [changed(hospital.event(e), type="hospital.nothing.known.v1") for e in all]

    await hospital.publish(*all)
    for kind in next(iter(garbage.values())):
        await hospital.publish(*(records[kind] for records in garbage.values()))
    await hospital.publish(
        *unknown,
        registered(hospital, N),
        report(hospital, N, report_id="later"),
        prescription(hospital, N, prescription_id="later"),
        request(hospital, "after"),
    )
    await hospital.settled()

    # Each reader of a topic has kept each of them, byte for byte; what is unknown, nobody.
    letters = await hospital.letters()
    wanted = {
        (group, event.TOPIC, reason): raw.value
        for event in all
        for reason, raw in garbage[event.TOPIC].items()
        for group in readers(event, reason)
    }
    found = {(x.consumer, x.topic, x.reason): x.value for x in letters}
    assert found == wanted
    assert len(letters) == len(wanted)
    # Their neighbours were served, before and after.
    assert len(await hospital.rows("enrollment", "invitations")) == 1
    assert {r["id"] for r in await hospital.rows("reports", "reports")} == {f"r{N}", "later"}
    stored = await hospital.rows("prescriptions", "prescriptions")
    assert {r["id"] for r in stored} == {f"rx{N}", "later"}
    assert await hospital.rows("messaging", "groups", id="far:1")
    told = Counter(r["template"] for r in await hospital.rows("notify", "inbox_messages"))
    assert told["report.ready"] == 4  # two requests, and two reports once the patient is known
    assert told["invitation.issued"] == 1
    assert not any([await platform.metrics(r, "consumer_stopped") for r in REPLICAS])
    await no_lag_is_told(platform)


AT = datetime(1850, 1, 1, 12, tzinfo=UTC)
#: What is strange about a discharge, and what becomes of it: a status of its encounter.
STRANGE: Mapping[str, tuple[dict[str, Any], str]] = {
    "born in 1850": ({"birth_date": date(1850, 1, 1)}, "invited"),
    "born in the year 1": ({"birth_date": date(1, 1, 1)}, "invited"),
    "not born yet": ({"birth_date": date(2999, 1, 1)}, "no_guardian"),
    "left in 1850": ({"discharged_at": AT}, "backfill"),
    "left in the year 1": ({"discharged_at": datetime(1, 1, 1, tzinfo=UTC)}, "backfill"),
    "leaves in 2999": ({"discharged_at": AT.replace(year=2999)}, "in_the_future"),
    "leaves at the end of time": (
        {"discharged_at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)},
        "in_the_future",
    ),
}


@pytest.mark.timeout(300)
async def test_patients_of_other_centuries_are_no_dead_letters(
    platform: Platform, hospital: Hospital
) -> None:
    """The schema does not judge whether a date is plausible (contracts/topics): rules do."""
    events = [
        hospital.event(discharge(hospital, 2 + 5 * n, "NEURO", "I63.900x001", **changes))
        for n, (changes, _) in enumerate(STRANGE.values())
    ]
    usual = hospital.event(discharge(hospital, 997, "NEURO", "I63.900x001"))
    of_1850 = hospital.event(discharge(hospital, 992, "NEURO", "I63.900x001"), time=AT)
    await hospital.publish(*events, of_1850, usual)
    # Old and future dates in the other journeys.
    for n, at in enumerate((AT, AT.replace(year=2999))):
        await hospital.publish(
            registered(hospital, 2 + 5 * n, birth_date=at.date(), updated_at=at),
            report(hospital, 2 + 5 * n, issued_at=at),
            prescription(hospital, 2 + 5 * n, issued_at=at),
        )
    await hospital.settled()

    assert [(x.consumer, x.reason) for x in await hospital.letters()] == []
    fates = {
        row["id"]: row["discharges"][0]["fate"]
        for row in await hospital.rows("enrollment", "encounters")
    }
    assert fates == {
        **{f"e{2 + 5 * n}": fate for n, (_, fate) in enumerate(STRANGE.values())},
        "e992": "invited",
        "e997": "invited",
    }
    # What is of 1850 wakes nobody; what claims to be of the future is told once.
    stored = await hospital.rows("reports", "reports")
    assert {r["id"] for r in stored} == {"r2", "r7"}
    told = await hospital.rows("notify", "inbox_messages")
    assert "report.ready" not in {m["template"] for m in told if m["person_id"] == "p2"}
    assert len({m["id"] for m in told}) == len(told)
    await no_lag_is_told(platform)


#: What systems send for "unknown" and "for ever", for a time and for a day.
ENDS_OF_TIME = (
    ("0001-01-01T00:00:00Z", "0001-01-01"),
    ("9999-12-31T23:59:59.999Z", "9999-12-31"),
)


def with_ends_of_time(body: Any, put: Callable[[Any], None]) -> None:
    """Calls ``put`` with copies of ``body`` in which one time, or one day, is an end of time."""
    items = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in list(items):
        if isinstance(value, dict | list):
            with_ends_of_time(value, put)
        elif isinstance(value, str) and (found := re.match(r"\d{4}-\d\d-\d\d(T)?", value)):
            for time, day in ENDS_OF_TIME:
                body[key] = time if found[1] else day
                put(body)
            body[key] = value


def unreachable(person: dict[str, Any]) -> dict[str, Any]:
    """Whoever stands in the examples is not called."""
    return {k: v for k, v in person.items() if k not in ("email", "webhook")}


@pytest.mark.timeout(300)
async def test_the_ends_of_time_are_no_dead_letters_wherever_they_stand(
    hospital: Hospital,
) -> None:
    read = set(chain(*GROUPS.values()))
    sent: list[tuple[str, CloudEvent]] = []
    for name, text in BODIES.items():
        model = EVENT_TYPES[name.partition("/")[0]]
        body = json.loads(text, object_hook=unreachable)

        def put(changed: Any, model: type[Event] = model, whole: Any = body) -> None:
            data = model.model_validate_json(json.dumps(whole))
            sent.append((model.TYPE, hospital.event(data)))

        if model.TOPIC in read:
            with_ends_of_time(body, put)
    await hospital.publish(*(event for _, event in sent))
    await hospital.settled()

    assert len({type for type, _ in sent}) > 15
    bodies = {encode(event).value: type for type, event in sent}
    letters = await hospital.letters()
    assert [(x.consumer, x.reason, bodies[x.value or b""]) for x in letters] == []


@pytest.mark.timeout(300)
async def test_one_id_with_two_bodies_is_kept_aside_and_the_first_one_stands(
    hospital: Hospital,
) -> None:
    first = hospital.event(report(hospital, N, title="一"), id="same")
    other = hospital.event(report(hospital, N, title="二"), id="same")
    await hospital.publish(registered(hospital, N), first)
    await hospital.publish(other, first)
    await hospital.settled()

    letters = sorted((x.consumer, x.reason) for x in await hospital.letters())
    assert letters == [(group, "id_reused") for group in sorted(readers(first.data, "id_reused"))]
    [row] = await hospital.rows("reports", "reports")
    assert row["head"]["title"] == "一"
    told = await hospital.standing("reports.events")
    assert len(topics.once(told)) == 1


def test_the_large_record_is_larger_than_any_event() -> None:
    assert TWO_MB > MAX_BYTES
