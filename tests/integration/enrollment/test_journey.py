"""Does a discharge on Kafka become an invitation, a link, and a member on Kafka?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from libs.common.cloudevents import CloudEvent
from libs.common.events import (
    ConsentWithdrawn,
    GroupOpened,
    InvitationIssued,
    InvitationWithdrawn,
    MemberJoined,
    MemberLeft,
)
from tests.integration.enrollment.conftest import Hospital
from tests.unit.enrollment.given import cancelled, child_discharged, discharged, guardian

JUST_NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


def of(model: type[Any], events: list[CloudEvent]) -> list[Any]:
    return [e.data for e in events if isinstance(e.data, model)]


async def accept(client: httpx.AsyncClient, token: str, **more: Any) -> httpx.Response:
    body = {"token": token, "consent_to_rules": True, **more}
    return await client.post("/v1/invitations/accept", json=body)


@pytest.fixture
async def invited(hospital: Hospital) -> AsyncIterator[tuple[Hospital, str]]:
    """A hospital whose patient p1 (stay e1, neurology) holds an open invitation."""
    await hospital.publish(("d1", discharged("p1", "e1", at=JUST_NOW)))
    yield hospital, await hospital.token_of("p1")


async def test_a_discharge_becomes_a_member_and_twice_the_same_discharge_one(
    hospital: Hospital,
) -> None:
    event = child_discharged("kid", "e1", guardians=[guardian("mum")], at=JUST_NOW)
    await hospital.publish(("d1", event), ("d1", event))
    token = await hospital.token_of("mum")
    async with hospital.client() as c:
        preview = await c.post("/v1/invitations/preview", json={"token": token})
        assert preview.status_code == 200
        assert preview.json()["status"] == "open"
        assert preview.json()["group_name"]["en"] == "Paediatric nephrology 1"
        assert "120" in preview.json()["rules"]["en"]
        first = await accept(c, token, consent_to_health_data=True)
        again = await accept(c, token)
    assert first.status_code == 200
    assert first.json() == again.json()
    heard = await hospital.heard("enrollment.events", lambda found: bool(of(MemberJoined, found)))
    (joined,) = of(MemberJoined, heard)
    assert (joined.person_id, joined.patient_id, joined.group_id) == ("mum", "kid", "ped-neph:1")
    assert joined.member_id == first.json()["membership_id"]
    assert len(of(InvitationIssued, heard)) == 1
    groups = await hospital.heard("enrollment.groups", lambda found: bool(found))
    assert [g.data.group_id for g in groups if isinstance(g.data, GroupOpened)] == ["ped-neph:1"]


async def test_one_discharge_is_one_trace_and_its_events_count_from_one(
    invited: tuple[Hospital, str],
) -> None:
    hospital, _ = invited
    heard = await hospital.heard("enrollment.events", lambda found: len(found) == 1)
    (issued,) = heard
    assert issued.sequence == 1
    assert issued.causationid == "d1"
    asked = await hospital.heard("notify.requests", lambda found: len(found) == 1)
    assert asked[0].correlationid == issued.correlationid == "d1"


async def test_the_link_opens_a_page_and_a_code(invited: tuple[Hospital, str]) -> None:
    hospital, token = invited
    async with hospital.client() as c:
        assert "accept.js" in (await c.get("/accept")).text
        svg = await c.post("/v1/invitations/qr", json={"token": token})
        png = await c.post(
            "/v1/invitations/qr", json={"token": token}, headers={"Accept": "image/png"}
        )
        unknown = await c.post("/v1/invitations/qr", json={"token": f"{hospital.name}." + "x" * 43})
    assert (svg.headers["content-type"], svg.status_code) == ("image/svg+xml", 200)
    assert png.content.startswith(b"\x89PNG")
    assert unknown.status_code == 404


async def test_a_discharge_cancelled_before_the_answer_voids_the_link(
    invited: tuple[Hospital, str],
) -> None:
    hospital, token = invited
    await hospital.publish(("c1", cancelled("d1", "p1", "e1", at=datetime.now(UTC))))
    await hospital.heard("enrollment.events", lambda found: bool(of(InvitationWithdrawn, found)))
    async with hospital.client() as c:
        answer = await accept(c, token)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "invitation_withdrawn"


async def test_declined_it_can_be_issued_anew_by_staff_once_for_each_key(
    invited: tuple[Hospital, str],
) -> None:
    hospital, token = invited
    async with hospital.client() as c:
        declined = await c.post("/v1/invitations/decline", json={"token": token})
        assert declined.json()["status"] == "declined"
        assert (await accept(c, token)).json()["reason"] == "invitation_declined"
    async with hospital.client("nurse", person="n-1", departments=("NEURO",)) as nurse:
        url = f"/v1/invitations/{declined.json()['invitation_id']}/reissue"
        assert (await nurse.post(url)).status_code == 400
        for _ in range(2):
            answer = await nurse.post(url, headers={"Idempotency-Key": "k1"})
            assert answer.json()["status"] == "open"
        shown = await nurse.get("/v1/invitations", params={"encounter_id": "e1"})
        assert [i["issue"] for i in shown.json()["items"]] == [2]
        assert token.rpartition(".")[2] not in shown.text
    await hospital.heard("notify.requests", lambda found: len(found) == 2)
    async with hospital.client() as c:
        assert (await accept(c, token)).status_code == 404


async def test_staff_see_the_invitations_of_their_departments_only(
    invited: tuple[Hospital, str],
) -> None:
    hospital, _ = invited
    for roles, departments, seen in (
        (("nurse",), ("NEURO",), 1),
        (("doctor",), ("NEURO", "CARDIO"), 1),
        (("doctor",), ("CARDIO",), 0),
        (("nurse",), (), 0),
        (("ops",), (), 1),
    ):
        async with hospital.client(*roles, person="s-1", departments=departments) as c:
            answer = await c.get("/v1/invitations", params={"encounter_id": "e1"})
            assert answer.status_code == 200
            assert len(answer.json()["items"]) == seen
            groups = await c.get("/v1/groups")
            assert len(groups.json()["items"]) == seen
            if seen:
                assert groups.json()["items"][0]["reserved"] == 1
    foreign = Hospital(hospital.stack, hospital.url)
    async with foreign.client("ops", person="s-1") as c:
        answer = await c.get("/v1/invitations", params={"encounter_id": "e1"})
        assert answer.json()["items"] == []


async def test_people_see_and_end_their_own_memberships_and_consents(
    invited: tuple[Hospital, str],
) -> None:
    hospital, token = invited
    async with hospital.client() as c:
        joined = (await accept(c, token, consent_to_health_data=True)).json()
    leave = f"/v1/memberships/{joined['membership_id']}/leave"
    (consent,) = [c["id"] for c in joined["consents"] if c["scope"] == "health_data"]
    async with hospital.client("patient", person="p2") as stranger:
        assert (await stranger.post(leave)).status_code == 404
        assert (await stranger.post(f"/v1/consents/{consent}/withdraw")).status_code == 404
        assert (await stranger.get("/v1/memberships")).json()["items"] == []
    async with hospital.client("patient", person="p1") as c:
        (mine,) = (await c.get("/v1/memberships")).json()["items"]
        assert (mine["status"], mine["group_id"]) == ("joined", "stroke:1")
        page = await c.get("/v1/consents", params={"limit": 1})
        rest = await c.get("/v1/consents", params={"limit": 1, "cursor": page.json()["next"]})
        scopes = {i["scope"] for p in (page, rest) for i in p.json()["items"]}
        assert scopes == {"group_rules", "health_data"}
        assert (await c.post(f"/v1/consents/{consent}/withdraw")).json()["status"] == "withdrawn"
        stale = await c.post(leave, headers={"If-Match": '"77"'})
        assert stale.status_code == 412
        assert (await c.post(leave)).json()["status"] == "gone"
    heard = await hospital.heard("enrollment.events", lambda found: bool(of(MemberLeft, found)))
    assert [w.consent_id for w in of(ConsentWithdrawn, heard)] == [consent]


async def test_the_staffs_list_is_read_in_pages_and_ticked_off(hospital: Hospital) -> None:
    patients = [f"p{n}" for n in range(5)]
    await hospital.publish(
        *(
            (f"d-{p}", discharged(p, codes=["J18.9"], department="PED-NEPH", at=JUST_NOW))
            for p in patients
        ),
        ("last", discharged("done", at=JUST_NOW)),
    )
    await hospital.token_of("done")
    async with hospital.client("nurse", person="n-1", departments=("PED-NEPH",)) as nurse:
        seen: list[dict[str, Any]] = []
        cursor: str | None = None
        # Another partition may lag behind the one that holds the last discharge.
        for _ in range(200):
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            answer = (await nurse.get("/v1/staff-tasks", params=params)).json()
            seen += answer["items"]
            cursor = answer["next"]
            if cursor is None:
                if len(seen) == 5:
                    break
                seen = []
        assert {t["patient_id"] for t in seen} == set(patients)
        assert {t["reason"] for t in seen} == {"no_programme"}
        assert seen == sorted(seen, key=lambda t: (t["at"], t["id"]))
        close = f"/v1/staff-tasks/{seen[0]['id']}/close"
        assert (await nurse.post(close)).json()["done_by"] == "n-1"
        left = await nurse.get("/v1/staff-tasks")
        assert len(left.json()["items"]) == 4
        ticked = await nurse.get("/v1/staff-tasks", params={"status": "done"})
        assert [t["id"] for t in ticked.json()["items"]] == [seen[0]["id"]]
        assert (await nurse.get("/v1/staff-tasks", params={"cursor": "%%%"})).status_code == 400
    async with hospital.client("doctor", person="d-1", departments=("CARDIO",)) as doctor:
        assert (await doctor.get("/v1/staff-tasks")).json()["items"] == []
        assert (await doctor.post(close)).status_code == 404
