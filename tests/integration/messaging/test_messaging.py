"""Do people talk in their groups, and nobody else, through the real broker and database?"""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import httpx
import pytest
import uvicorn

from libs.common.events import (
    GroupOpened,
    GroupStaff,
    GroupStaffRole,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    MemberRole,
    MessagePosted,
    NotificationRequested,
    PatientMerged,
    PatientRegistered,
    QuestionAnswered,
    QuestionAsked,
    Wording,
)
from libs.common.http.app import create_app
from libs.common.wakes import Wakes
from services.messaging.domain.message import Message
from tests.support.access import assert_access
from tests.support.running import Running
from tests.support.toy import eventually


def opened(service: Running, group: str = "g1", department: str = "NEURO") -> GroupOpened:
    return GroupOpened(
        group_id=group,
        programme_id="stroke",
        number=1,
        name=Wording(zh="脑卒中病友群 1", en="Stroke 1"),
        department_code=department,
        limit=200,
        staff=(
            GroupStaff(practitioner_id="dr1", role=GroupStaffRole.DOCTOR),
            GroupStaff(practitioner_id="n1", role=GroupStaffRole.NURSE),
        ),
        welcome_sheet="welcome.default",
        rules_sheet="rules.default",
        education_sheets=("stroke.home", "stroke.warning-signs"),
        opened_at=service.now(),
    )


def _member(person: str, group: str) -> dict[str, Any]:
    return {
        "member_id": f"m-{person}",
        "patient_id": person,
        "person_id": person,
        "role": MemberRole.PATIENT,
        "group_id": group,
        "programme_id": "stroke",
    }


def joined(service: Running, person: str = "p1", group: str = "g1") -> MemberJoined:
    return MemberJoined(group_number=1, joined_at=service.now(), **_member(person, group))


async def inside(service: Running, *people: str, group: str = "g1", active: bool = True) -> None:
    async def all_there() -> bool:
        rows = await service.rows("members", group_id=group, active=active)
        return set(people) <= {r["person_id"] for r in rows}

    await eventually(all_there)


async def ready(service: Running, *people: str) -> None:
    """A group with its staff and these members, all of them welcomed."""
    await service.publish(opened(service), *(joined(service, p) for p in people))
    await inside(service, "dr1", *people)

    async def welcomed() -> bool:
        return len(await service.rows("messages", kind="welcome")) == len(people)

    await eventually(welcomed)


async def say(client: httpx.AsyncClient, text: str, key: str = "", **more: Any) -> httpx.Response:
    return await client.post(
        "/v1/groups/g1/messages",
        json={"text": text, **more},
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )


async def test_a_new_member_finds_welcome_rules_and_sheets_in_their_language(
    messaging: Running,
) -> None:
    await ready(messaging, "p1", "p2")
    async with messaging.client("patient", person="p1") as p1:
        (group,) = (await p1.get("/v1/groups")).json()["items"]
        assert (group["id"], group["role"], group["closed"]) == ("g1", "patient", False)
        chinese = (await p1.get("/v1/groups/g1/messages")).json()["items"]
        assert [m["kind"] for m in chinese] == ["welcome", "education", "education", "rules"]
        assert chinese[0]["only_for_me"] and "120" in chinese[0]["text"]
        english = await p1.get("/v1/groups/g1/messages", headers={"Accept-Language": "en"})
        assert "call 120" in english.json()["items"][0]["text"]
        detail = (await p1.get("/v1/groups/g1")).json()
        assert [m["sheet"] for m in detail["pinned"]] == [
            "rules.default",
            "stroke.home",
            "stroke.warning-signs",
        ]
    posted = await messaging.published(MessagePosted, 5)
    assert sorted(p.kind for p in posted) == [
        "education",
        "education",
        "rules",
        "welcome",
        "welcome",
    ]


async def test_a_member_before_the_opening_is_in_the_group(messaging: Running) -> None:
    await messaging.publish(joined(messaging))
    await inside(messaging, "p1")
    async with messaging.client("patient", person="p1") as p1:
        (group,) = (await p1.get("/v1/groups")).json()["items"]
        assert (group["id"], group["name"]) == ("g1", None)
        assert (await say(p1, "Hello")).status_code == 201
        await messaging.publish(opened(messaging))
        await inside(messaging, "dr1")
        kinds = [m["kind"] for m in (await p1.get("/v1/groups/g1/messages")).json()["items"]]
        assert kinds == ["welcome", "education", "education", "rules", "text"]


async def test_a_question_is_listed_for_staff_until_they_answer(messaging: Running) -> None:
    await ready(messaging, "p1")
    async with (
        messaging.client("patient", person="p1") as p1,
        messaging.client("nurse", person="n1") as nurse,
        messaging.client("doctor", person="dr2", departments=["NEURO"]) as department,
        messaging.client("doctor", person="dr9", departments=["CARDIO"]) as other,
    ):
        first = (await say(p1, "May I fly?")).json()
        second = (await say(p1, "I feel dizzy.")).json()
        await say(p1, "Thank you", question=False)
        assert (first["question"], second["question"]) == ("unanswered", "unanswered")
        for staff in (nurse, department):
            items = (await staff.get("/v1/questions")).json()["items"]
            assert [i["message"]["id"] for i in items] == [first["id"], second["id"]]
            assert items[0]["message"]["text"] == "May I fly?"
        assert (await other.get("/v1/questions")).json()["items"] == []
        assert (await p1.get("/v1/questions")).status_code == 403
        answer = await say(nurse, "After six weeks.", reply_to=first["id"])
        assert answer.status_code == 201
        items = (await nurse.get("/v1/questions")).json()["items"]
        assert [i["message"]["id"] for i in items] == [second["id"]]
        done = (await nurse.get("/v1/questions", params={"status": "answered"})).json()["items"]
        assert [i["message"]["answer_id"] for i in done] == [answer.json()["id"]]
    asked = await messaging.published(QuestionAsked, 2)
    assert {q.question_id for q in asked} == {first["id"], second["id"]}
    (answered,) = await messaging.published(QuestionAnswered)
    assert (answered.question_id, answered.answered_by) == (first["id"], "n1")
    told = await messaging.published(NotificationRequested, 5)
    assert sorted((n.recipient_id, n.template) for n in told) == [
        ("dr1", "question.asked"),
        ("dr1", "question.asked"),
        ("n1", "question.asked"),
        ("n1", "question.asked"),
        ("p1", "question.answered"),
    ]


async def test_somebody_elses_group_does_not_exist(messaging: Running) -> None:
    await ready(messaging, "p1")
    strangers = [
        ("patient", "p9", []),
        ("guardian", "g9", ["NEURO"]),
        ("doctor", "dr9", ["CARDIO"]),
        ("nurse", "n9", []),
    ]
    for role, person, departments in strangers:
        async with messaging.client(role, person=person, departments=departments) as c:
            unknown = await c.get("/v1/groups/no-such-group/messages")
            assert unknown.status_code == 404
            for path in ("", "/messages", "/live"):
                answer = await c.get(f"/v1/groups/g1{path}")
                assert answer.status_code == 404, (role, path)
                assert answer.json() == unknown.json()
            assert (await say(c, "Hello")).status_code == 404
            assert (await c.get("/v1/groups")).json()["items"] == []
    elsewhere = messaging.callers.headers("patient", person="p1", hospital="other")
    async with messaging.client("patient", person="p1") as c:
        assert (await c.get("/v1/groups/g1", headers=elsewhere)).status_code == 404
    refused = await messaging.rows("audit", outcome="4")
    assert {r["agent"]["who"] for r in refused} == {"p9", "g9", "dr9", "n9"}


async def test_who_leaves_or_moves_loses_the_group_and_staff_keep_it(messaging: Running) -> None:
    await ready(messaging, "p1", "p2")
    async with (
        messaging.client("patient", person="p1") as p1,
        messaging.client("patient", person="p2") as p2,
        messaging.client("doctor", person="dr1") as doctor,
    ):
        await say(p1, "Goodbye")
        at = messaging.now()
        await messaging.publish(
            MemberLeft(left_at=at, reason="left", **_member("p1", "g1")),
            MemberMoved(from_group_id="g1", group_number=2, moved_at=at, **_member("p2", "g2")),
        )
        await inside(messaging, "p1", active=False)
        await inside(messaging, "p2", group="g2")
        for c in (p1, p2):
            assert (await c.get("/v1/groups/g1/messages")).status_code == 404
            assert (await say(c, "Still here")).status_code == 404
        assert [g["id"] for g in (await p2.get("/v1/groups")).json()["items"]] == ["g2"]
        texts = [m["text"] for m in (await doctor.get("/v1/groups/g1/messages")).json()["items"]]
        assert texts[0] == "Goodbye"
        assert (await say(doctor, "Take care")).status_code == 201


async def test_the_same_key_posts_once_and_with_another_text_is_refused(
    messaging: Running,
) -> None:
    await ready(messaging, "p1")
    async with messaging.client("patient", person="p1") as p1:
        answers = await asyncio.gather(*(say(p1, "Hello", key="k") for _ in range(8)))
        assert {a.status_code for a in answers} == {201}
        assert len({a.json()["id"] for a in answers}) == 1
        other = await say(p1, "Something else", key="k")
        assert (other.status_code, other.json()["reason"]) == (422, "idempotency_key_reused")
        missing = await p1.post("/v1/groups/g1/messages", json={"text": "Hello"})
        assert (missing.status_code, missing.json()["reason"]) == (400, "idempotency_key_missing")
        for body in ({"text": ""}, {"text": "x" * 2001}, {}, {"text": "x", "kind": "rules"}):
            bad = await p1.post(
                "/v1/groups/g1/messages", json=body, headers={"Idempotency-Key": "bad"}
            )
            assert (bad.status_code, bad.json()["reason"]) == (422, "invalid_request")
    assert len(await messaging.rows("messages", kind="text")) == 1


async def test_many_voices_at_once_get_numbers_without_gaps(messaging: Running) -> None:
    people = [f"p{n}" for n in range(6)]
    await ready(messaging, *people)
    clients = [messaging.client("patient", person=p) for p in people]
    answers = await asyncio.gather(
        *(say(c, f"{n} of {i}") for i, c in enumerate(clients) for n in range(6))
    )
    for c in clients:
        await c.aclose()
    assert {a.status_code for a in answers} == {201}
    rows = await messaging.rows("messages")
    assert sorted(r["number"] for r in rows) == list(range(1, len(rows) + 1))


async def test_pages_hold_every_message_once_while_new_ones_come(messaging: Running) -> None:
    await ready(messaging, "p1", "p2")
    async with messaging.client("patient", person="p1") as p1:
        for n in range(5):
            await say(p1, f"text {n}")
        found: list[int] = []
        query: dict[str, Any] = {"limit": 2}
        while True:
            page = (await p1.get("/v1/groups/g1/messages", params=query)).json()
            found += [m["number"] for m in page["items"]]
            await say(p1, f"meanwhile {len(found)}")
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert found == sorted(found, reverse=True)
        # 3 sheets, 2 welcomes of which one is another's, 5 texts
        assert len(found) == 9 and len(set(found)) == 9
        since: list[int] = []
        query = {"limit": 2, "after": found[0]}
        while True:
            page = (await p1.get("/v1/groups/g1/messages", params=query)).json()
            since += [m["number"] for m in page["items"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert since == list(range(found[0] + 1, found[0] + 6))


async def test_members_see_first_characters_and_staff_see_names(messaging: Running) -> None:
    await ready(messaging, "p1", "p2")
    await messaging.publish(
        PatientRegistered(
            patient_id="p1", name="王小明", birth_date=date(1970, 1, 1), updated_at=messaging.now()
        )
    )

    async def named() -> bool:
        return bool(await messaging.rows("persons", id="p1"))

    await eventually(named)
    async with (
        messaging.client("patient", person="p1") as p1,
        messaging.client("patient", person="p2") as p2,
        messaging.client("doctor", person="dr1") as doctor,
    ):
        await say(p1, "Hello")
        seen = [
            (await c.get("/v1/groups/g1/messages", params={"limit": 1})).json()["items"][0]
            for c in (p1, p2, doctor)
        ]
    assert [m["author"]["name"] for m in seen] == ["王小明", "王**", "王小明"]
    assert [m["author"]["person_id"] for m in seen] == ["p1", None, "p1"]


async def test_a_merged_person_keeps_the_group(messaging: Running) -> None:
    await ready(messaging, "p1")
    await messaging.publish(
        PatientMerged(patient_id="p1", survivor_id="p8", merged_at=messaging.now())
    )

    async def merged() -> bool:
        return len(await messaging.rows("persons", survivor_id="p8")) == 2

    await eventually(merged)
    async with messaging.client("patient", person="p8") as p8:
        assert (await say(p8, "Hello")).status_code == 201
        items = (await p8.get("/v1/groups/g1/messages")).json()["items"]
        assert items[0]["author"]["mine"] and items[1]["only_for_me"]


# -- live -------------------------------------------------------------------------------


@asynccontextmanager
async def served(service: Running) -> AsyncIterator[str]:
    """The application on a port of its own: a stream needs a real connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(
        service.app, host="127.0.0.1", port=port, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:

        async def started() -> bool:
            return server.started

        await eventually(started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def listen(
    service: Running, base: str, heard: list[dict[str, Any]], person: str, last: str | None = None
) -> asyncio.Task[None]:
    """Listens once this returns: what is said from then on is heard."""
    headers = service.headers("patient", person=person)
    if last is not None:
        headers["Last-Event-ID"] = last
    answered = asyncio.Event()

    async def stream() -> None:
        async with (
            httpx.AsyncClient(base_url=base, headers=headers, timeout=None) as c,
            c.stream("GET", "/v1/groups/g1/live") as stream,
        ):
            assert stream.status_code == 200
            answered.set()
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    heard.append(json.loads(line.removeprefix("data: ")))

    task, waiting = asyncio.create_task(stream()), asyncio.create_task(answered.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


async def test_new_messages_come_live_and_a_stream_goes_on_where_it_ended(
    messaging: Running,
) -> None:
    await ready(messaging, "p1", "p2")
    async with served(messaging) as base, messaging.client("doctor", person="dr1") as doctor:
        heard: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        first = await listen(messaging, base, heard, "p1")
        for n in range(3):
            await say(doctor, f"live {n}")

        async def all_heard() -> bool:
            return len(heard) == 3

        await eventually(all_heard)
        assert [m["text"] for m in heard] == ["live 0", "live 1", "live 2"]
        second = await listen(messaging, base, again, "p2", last=str(heard[0]["number"]))

        async def caught_up() -> bool:
            return len(again) == 2

        await eventually(caught_up)
        assert [m["text"] for m in again] == ["live 1", "live 2"]
        # Who is let go hears nothing more: the stream ends by itself with the next message.
        await messaging.publish(
            MemberLeft(left_at=messaging.now(), reason="left", **_member("p1", "g1"))
        )
        await inside(messaging, "p1", active=False)
        await say(doctor, "after")
        await asyncio.wait_for(first, 60)
        assert [m.get("text") for m in heard if m] == ["live 0", "live 1", "live 2"]
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_another_replica_is_woken_through_the_database(messaging: Running) -> None:
    await ready(messaging, "p1")
    other = Wakes(Message.COLLECTION, "group_id")
    listening = asyncio.create_task(other.listen(messaging.database, messaging.runtime.ports))
    with other.waiting([(messaging.hospital, "g1")]) as event:
        async with messaging.client("patient", person="p1") as p1, asyncio.timeout(90):
            await event.wait()  # it listens, and who waits looks at what came before
            event.clear()
            assert (await say(p1, "Hello")).status_code == 201
            await event.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_routes_are_open_to_their_roles_and_no_others(messaging: Running) -> None:
    spec = messaging.runtime.spec
    app = create_app(
        title="messaging",
        routers=spec.routers,
        access=spec.access,
        verifier=messaging.callers.verifier,
        ports=messaging.runtime.ports,
        texts=spec.texts,
    )
    await assert_access(app, messaging.callers)
