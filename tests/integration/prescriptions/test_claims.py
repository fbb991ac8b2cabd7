"""Do claims, hand-overs and deputies hold over HTTP, at two replicas, on the real database?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from libs.common.events import NotificationRequested, PractitionerRegistered, StaffRole
from libs.common.mongo.documents import row_of
from services.prescriptions.domain.documents import Refill
from services.prescriptions.store import REFILLS
from tests.integration.prescriptions.given import Hospital, decide
from tests.support.toy import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIST = "/v1/work-lists/doctor"


async def post(
    caller: httpx.AsyncClient, refill: Mapping[str, Any], what: str, **body: Any
) -> httpx.Response:
    return await caller.post(
        f"/v1/refills/{refill['id']}/{what}",
        headers={"If-Match": f'"{refill["version"]}"'},
        json=body or None,
    )


async def ids(caller: httpx.AsyncClient, path: str = LIST, **params: Any) -> list[str]:
    answer = await caller.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [line["id"] for line in answer.json()["items"]]


async def staffed(hospital: Hospital) -> None:
    at = hospital.service.clock.now()
    people = {
        "dr1": ((StaffRole.DOCTOR,), ("cardiology",)),
        "dr2": ((StaffRole.DOCTOR,), ("cardiology",)),
        "dr3": ((StaffRole.DOCTOR,), ("surgery",)),
        "ph1": ((StaffRole.PHARMACIST,), ()),
    }
    await hospital.tell(
        *(
            PractitionerRegistered(
                practitioner_id=id, name="某某", roles=roles, departments=departments, updated_at=at
            )
            for id, (roles, departments) in people.items()
        )
    )
    await hospital.settled("practitioner", len(people))


async def test_of_all_who_claim_at_one_moment_at_two_replicas_one_has_it_and_the_others_know_who(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    doctors = [hospital.doctor(f"dr{n}", replica=n % 2) for n in range(16)]
    answers = await asyncio.gather(*(post(d, refill, "claim") for d in doctors))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 15
    [claimed] = [a.json() for a in answers if a.status_code == 200]
    told = [a.json() for a in answers if a.status_code == 409]
    assert {(t["reason"], t["holder_id"]) for t in told} == {("claimed", claimed["holder_id"])}
    assert all(claimed["holder_id"] in t["detail"] and "分钟" in t["detail"] for t in told)
    [stored] = await hospital.service.rows("refills", hospital.id)
    assert [a["to"] for a in stored["assignments"]] == [[claimed["holder_id"]]]
    other = hospital.doctor("dr99")
    refused = await decide(other, claimed, "approve")
    assert (refused.status_code, refused.json()["reason"]) == (409, "claimed")
    holder = hospital.doctor(claimed["holder_id"], replica=1)
    assert (await decide(holder, claimed, "approve")).status_code == 200


async def test_a_claim_moves_it_from_the_pool_to_mine_until_it_lapses(hospital: Hospital) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    mine, colleague = hospital.doctor("dr1"), hospital.doctor("dr2", replica=1)
    assert await ids(mine, whose="pool") == await ids(colleague, whose="pool") == [refill["id"]]
    claimed = (await post(mine, refill, "claim")).json()
    assert await ids(mine, whose="mine") == [refill["id"]]
    for caller, whose in ((mine, "pool"), (colleague, "pool"), (colleague, "mine")):
        assert await ids(caller, whose=whose) == []
    [line] = (await colleague.get(LIST)).json()["items"]
    assert (line["holder_id"], line["held_until"]) == ("dr1", claimed["held_until"])
    clock = hospital.service.clock
    before, clock.ahead = clock.ahead, clock.ahead + timedelta(minutes=31)
    try:
        assert await ids(colleague, whose="pool") == [refill["id"]]
        assert await ids(mine, whose="mine") == []
        assert (await post(colleague, claimed, "claim")).status_code == 200
    finally:
        clock.ahead = before


async def test_what_is_handed_over_is_the_receivers_or_their_deputys_while_they_are_away(
    hospital: Hospital,
) -> None:
    await staffed(hospital)
    await hospital.prescribe()
    refill = await hospital.asked()
    one, two = hospital.doctor("dr1"), hospital.doctor("dr2", replica=1)
    wrong = await post(one, refill, "hand-over", to="dr3", reason="end_of_duty")
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "receiver_unsuitable")
    without = await post(one, refill, "hand-over", to="dr2")
    assert {e["field"] for e in without.json()["errors"]} == {"/reason"}
    handed = await post(one, refill, "hand-over", to="dr2", reason="end_of_duty")
    assert (handed.status_code, handed.json()["holder_id"]) == (200, "dr2")
    assert await ids(two, whose="mine") == [refill["id"]]
    events = await hospital.service.published(
        hospital.id,
        ["notify.requests"],
        lambda found: any(_is(e.data, "refill.handed_over", "dr2") for e in found),
    )
    assert events

    now = hospital.service.clock.now()
    path = "/v1/me/out-of-office"
    here = await two.get(path)
    assert (here.json()["from"], here.headers["ETag"]) == (None, '"0"')
    body = {"from": now.isoformat(), "until": (now + timedelta(hours=8)).isoformat()}
    answer = await two.put(path, json=body, headers={"If-Match": '"0"'})
    assert (answer.status_code, answer.json()["reason"]) == (422, "deputy_missing")
    body["deputy_id"] = "dr1"
    assert (await two.put(path, json=body)).status_code == 428
    answer = await two.put(path, json=body, headers={"If-Match": '"0"'})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert (await two.get(path)).json()["deputy_id"] == "dr1"
    assert await ids(one, whose="mine") == [refill["id"]]
    assert (
        await decide(one, handed.json(), "decline", reason="not_appropriate")
    ).status_code == 200


def _is(data: Any, template: str, recipient: str) -> bool:
    return isinstance(data, NotificationRequested) and (data.template, data.recipient_id) == (
        template,
        recipient,
    )


async def test_they_are_reminded_once_and_then_it_is_escalated(hospital: Hospital) -> None:
    await staffed(hospital)
    await hospital.prescribe()
    await hospital.asked()
    clock = hospital.service.clock
    before, clock.ahead = clock.ahead, clock.ahead + timedelta(hours=45)
    try:

        async def escalated() -> bool:
            [refill] = await hospital.service.rows("refills", hospital.id)
            return len(refill["assignments"]) == 2

        await eventually(escalated)
        [refill] = await hospital.service.rows("refills", hospital.id)
        told = [(a["what"], sorted(a["to"])) for a in refill["assignments"]]
        # Nobody of ops is known here, so the last resort is whoever may decide.
        assert told == [("remind", ["dr1", "dr2"]), ("escalate", ["dr1", "dr2"])]
    finally:
        clock.ahead = before


async def test_somebody_elses_can_be_neither_claimed_nor_released_nor_handed_over(
    hospital: Hospital,
) -> None:
    await staffed(hospital)
    await hospital.prescribe()
    refill = await hospital.asked()
    for caller in (hospital.doctor("dr3", "surgery"), hospital.pharmacist()):
        for what, body in (
            ("claim", {}),
            ("release", {}),
            ("hand-over", {"to": "dr2", "reason": "end_of_duty"}),
        ):
            answer = await post(caller, refill, what, **body)
            assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")


async def test_pages_of_the_pool_are_whole_though_many_came_at_once_and_colleagues_hold_some(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    [row] = await hospital.service.rows("refills", hospital.id)
    first = Refill.model_validate(row)
    now = first.waiting_since
    assert now is not None
    refills = hospital.service.database.collection(REFILLS)

    def held(n: int) -> tuple[str | None, datetime | None]:
        return ("dr2", now + timedelta(minutes=30)) if n % 2 else (None, None)

    more = [
        first.but(id=f"x{n:03}", holder_id=held(n)[0], held_until=held(n)[1]) for n in range(60)
    ]
    await refills.raw.insert_many([row_of(r, refills.cipher) for r in more])
    expected = sorted([first.id, *(r.id for r in more if r.holder_id is None)])
    doctor = hospital.doctor()
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, str] = {"whose": "pool", "limit": "7"}
        if cursor:
            params["cursor"] = cursor
        page = (await doctor.get(LIST, params=params)).json()
        seen += [line["id"] for line in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == expected
    assert refill["id"] in seen
