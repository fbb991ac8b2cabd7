"""What can people do while the broker or the database is away, and what follows when it returns?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import pytest

from libs.common.devstack.day.records import WELL
from libs.common.events import (
    InvitationAccepted,
    MessagePosted,
    NotificationRead,
    RefillRequested,
    ResultViewed,
)
from tests.failure.journeys import discharge, prescription, registered, report
from tests.support import topics
from tests.support.platform import REPLICAS, Hospital, Platform, eventually

#: Seconds that the broker stays away, and the rounds of reading and acting meanwhile.
AWAY, ROUNDS = 10.0, 5
#: One patient for each round, with the inbox alone; and one who is in a group already.
PATIENTS = [2 + 5 * n for n in range(ROUNDS)]
MEMBER = 1002
#: After a restart of the broker all consumers must be at work again within so many seconds.
RESUMED_WITHIN = 60.0


class People:
    """What people read and do at each of the five services, once for each round."""

    def __init__(self, h: Hospital) -> None:
        self.h = h
        self.links: dict[str, str] = {}
        self.messages: dict[str, str] = {}

    async def prepare(self) -> None:
        """Everybody has an invitation, a report, a prescription; one is in a group."""
        h, everybody = self.h, [*PATIENTS, MEMBER]
        for make in (registered, report, prescription):
            await h.publish(*(make(h, n) for n in everybody))
        await h.publish(*(discharge(h, n, "NEURO", "I63.900x001") for n in everybody))
        await h.settled()
        for row in await h.rows("notify", "inbox_messages", template="invitation.issued"):
            self.links[row["person_id"]] = row["link"]
            self.messages[row["person_id"]] = row["id"]
        await self.accept(MEMBER)
        await h.settled()

    def acts(self, n: int) -> dict[str, Callable[[], Awaitable[httpx.Response]]]:
        return {
            "enrollment": lambda: self.accept(n),
            "messaging": lambda: self.say(n),
            "reports": lambda: self.look(n),
            "prescriptions": lambda: self.ask(n),
            "notify": lambda: self.mark(n),
        }

    async def accept(self, n: int) -> httpx.Response:
        body = {"token": self.links[f"p{n}"], "consent_to_rules": True}
        return await self.h.call("POST", "enrollment", "/v1/invitations/accept", body=body)

    async def say(self, n: int) -> httpx.Response:
        headers, body = self.as_(MEMBER), {"text": "请问什么时候复查？"}
        path = "/v1/groups/stroke:1/messages"
        return await self.h.call(
            "POST", "messaging", path, headers=headers, body=body, key=f"say{n}"
        )

    async def look(self, n: int) -> httpx.Response:
        return await self.h.call("GET", "reports", f"/v1/reports/r{n}", headers=self.as_(n))

    async def ask(self, n: int) -> httpx.Response:
        body = {"prescription_id": f"rx{n}", "patient_id": f"p{n}", "declaration": WELL}
        headers = self.as_(n)
        return await self.h.call(
            "POST", "prescriptions", "/v1/refills", headers=headers, body=body, key=f"ask{n}"
        )

    async def mark(self, n: int) -> httpx.Response:
        path = f"/v1/inbox/{self.messages[f'p{n}']}/read"
        return await self.h.call("POST", "notify", path, headers=self.as_(n))

    def as_(self, n: int) -> dict[str, str]:
        return self.h.headers(f"p{n}", "patient")

    async def read(self, n: int) -> list[httpx.Response]:
        """A list at each service."""
        paths = {
            "enrollment": "/v1/memberships",
            "messaging": "/v1/groups",
            "reports": "/v1/reports",
            "prescriptions": f"/v1/renewable?patient_id=p{n}",
            "notify": "/v1/inbox",
        }
        calls = (self.h.call("GET", s, p, headers=self.as_(n)) for s, p in paths.items())
        return list(await asyncio.gather(*calls))


@pytest.fixture
async def people(hospital: Hospital) -> People:
    prepared = People(hospital)
    await prepared.prepare()
    return prepared


async def readiness(h: Hospital) -> set[tuple[int | str, ...]]:
    """What all replicas answer: the status, and the reasons if they are not ready."""
    answers = [await h.call("GET", r, "/readyz") for r in REPLICAS]
    return {(a.status_code, *a.json().get("reasons", ())) for a in answers}


@pytest.mark.timeout(300)
async def test_without_the_broker_people_read_and_act_and_the_outbox_catches_up(
    platform: Platform, hospital: Hospital, people: People
) -> None:
    pids = platform.pids()
    await platform.kill("kafka")
    began = time.monotonic()
    for n in PATIENTS:
        acted = await asyncio.gather(*(act() for act in people.acts(n).values()))
        assert {a.status_code for a in acted} <= {200, 201}, [a.text for a in acted]
        assert {a.status_code for a in await people.read(n)} == {200}
        assert await readiness(hospital) == {(200,)}
        await asyncio.sleep(max(0.0, AWAY / ROUNDS - (time.monotonic() - began) % 2))
    for service in people.acts(MEMBER):
        assert await hospital.untold(service), f"{service} has something to tell"
    assert time.monotonic() - began > AWAY / 2

    await platform.start("kafka")
    await hospital.settled()
    told = await hospital.standing(
        "enrollment.events",
        "messaging.events",
        "reports.events",
        "prescriptions.events",
        "notify.events",
    )
    assert topics.out_of_order(told) == []
    counted = Counter(type(e.data) for e in topics.once(told))
    assert counted[InvitationAccepted] == ROUNDS + 1
    assert counted[ResultViewed] == counted[RefillRequested] == ROUNDS
    assert counted[NotificationRead] == ROUNDS
    spoken = {e.data.message_id for e in told if isinstance(e.data, MessagePosted)}
    assert len(spoken) >= ROUNDS
    assert pids == platform.pids()


@pytest.mark.timeout(300)
async def test_without_the_database_people_are_told_to_come_again_and_nothing_happens_twice(
    platform: Platform, hospital: Hospital, people: People
) -> None:
    pids = platform.pids()
    await platform.kill("mongo")
    n = PATIENTS[0]
    acting = asyncio.gather(*(act() for act in people.acts(n).values()))
    read, acted = await people.read(n), await acting
    for answer in (*read, *acted):
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["reason"]
    where = zip(people.acts(n), acted, strict=True)
    reasons = {a.json()["reason"] for s, a in where if s != "reports"}
    assert reasons == {"database_unavailable"}
    assert await readiness(hospital) == {(503, "database_unavailable")}
    for replica in REPLICAS:
        assert (await hospital.call("GET", replica, "/livez")).status_code == 200

    await platform.start("mongo")

    async def ready() -> bool:
        return await readiness(hospital) == {(200,)}

    await eventually(ready, 30)
    again = [await act() for act in people.acts(n).values()]  # the same, with the same keys
    assert {a.status_code for a in again} <= {200, 201}, [a.text for a in again]
    await hospital.settled()
    assert len(await hospital.rows("prescriptions", "refills")) == 1
    said = await hospital.rows("messaging", "messages", author_id=f"p{MEMBER}")
    assert len(said) == 1
    assert pids == platform.pids()


@pytest.mark.timeout(300)
async def test_after_a_restart_of_the_broker_all_consumers_go_on_by_themselves(
    platform: Platform, hospital: Hospital
) -> None:
    pids = platform.pids()
    await hospital.publish(discharge(hospital, 2, "NEURO", "I63.900x001"))
    await hospital.settled()
    await platform.kill("kafka", signal.SIGTERM)
    await platform.start("kafka")

    began = time.monotonic()
    await hospital.publish(
        *(discharge(hospital, 7 + 5 * n, "GI-SURG", "C18.700") for n in range(12)),
        *(prescription(hospital, 7 + 5 * n) for n in range(12)),
        *(registered(hospital, 7 + 5 * n) for n in range(12)),
        *(report(hospital, 7 + 5 * n) for n in range(12)),
    )
    await hospital.settled(RESUMED_WITHIN)
    assert time.monotonic() - began < RESUMED_WITHIN
    told = Counter(r["template"] for r in await hospital.rows("notify", "inbox_messages"))
    assert told == {"invitation.issued": 13, "report.ready": 12}
    assert len(await hospital.rows("prescriptions", "prescriptions")) == 12
    assert len(await hospital.rows("messaging", "groups")) == 2
    assert pids == platform.pids()
