"""Does a discharge lead into the right group, and do members get answers there?"""

from __future__ import annotations

import asyncio
import io
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
import segno

from libs.common.devstack.day.cast import OPS, STAFF, Caller, Patient
from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.records import linked, report
from libs.common.devstack.day.wire import Wire
from libs.common.events import (
    DischargeCancelled,
    Disposition,
    InvitationDeclined,
    InvitationIssued,
    InvitationWithdrawn,
    MemberJoined,
    MemberLeft,
    MemberRole,
    QuestionAnswered,
    QuestionAsked,
    ReportReady,
)
from tests.e2e.given import NEPHROTIC, Story

DOCTOR, NURSE = STAFF["d-3001"].caller, STAFF["n-4001"].caller
OTHER_NURSE = STAFF["n-4010"].caller


def token_of(link: str) -> str:
    return link.rpartition("#token=")[2]


async def test_a_stroke_patient_is_invited_joins_and_is_welcomed(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=67)
    discharge = story.discharge(patient)
    await wire.publish(discharge)

    link = await story.invited(patient)
    assert link.startswith(f"{wire.services['enrollment']}/accept#token=h1.")
    (invitation,) = await story.invitations(NURSE, discharge.encounter_id)
    assert (invitation["status"], invitation["programme_id"]) == ("open", "stroke")
    assert (invitation["person_id"], invitation["role"]) == (patient.id, "patient")
    assert token_of(link) not in str(invitation), "staff never see the token"

    preview = await wire.post(None, "enrollment", "/v1/invitations/preview", {"token": link})
    assert preview["group_name"] == {"zh": "脑卒中病友群 1", "en": "Stroke 1"}
    assert patient.name not in str(preview), "whoever finds the link learns nobody's name"
    assert "120" in preview["rules"]["zh"] and "withdraw" in preview["health_data"]["en"]

    joined = await story.accepts(link)
    assert joined["status"] == "accepted"
    assert {c["scope"] for c in joined["consents"]} == {"group_rules", "health_data"}
    assert await story.accepts(link) == joined, "accepted again, it answers the same"
    told = await wire.hears(MemberJoined, person_id=patient.id)
    assert told.role is MemberRole.PATIENT

    group = await eventually(
        "the group is there", lambda: story.group(patient.caller, joined["group_id"])
    )
    assert group["role"] == "patient"
    assert [m["kind"] for m in group["pinned"]] == ["rules", "education", "education"]

    async def welcome() -> Any:
        path = f"/v1/groups/{joined['group_id']}/messages"
        found = await wire.items(patient.caller, "messaging", path)
        return [m for m in found if m["kind"] == "welcome"]

    (message,) = await eventually("the welcome", welcome)
    assert message["only_for_me"] and "120" in message["text"]
    (membership,) = await wire.items(patient.caller, "enrollment", "/v1/memberships")
    assert (membership["status"], membership["group_id"]) == ("joined", joined["group_id"])


async def test_the_link_opens_a_page_and_becomes_a_qr_code(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=70)
    await wire.publish(story.discharge(patient))
    link = await story.invited(patient)

    for language, emergency in (("zh-CN", "120"), ("en", "emergency")):
        page = await wire.call(
            None, "GET", "enrollment", "/accept", headers={"Accept-Language": language}
        )
        assert page.headers["content-type"].startswith("text/html")
        assert f'lang="{language}"' in page.text and emergency in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
    script = await wire.call(None, "GET", "enrollment", "/accept.js")
    assert "location.hash" in script.text, "the token stays in the fragment"

    async def qr(kind: str) -> bytes:
        answer = await wire.call(
            None,
            "POST",
            "enrollment",
            "/v1/invitations/qr",
            body={"token": link},
            headers={"Accept": kind},
        )
        assert answer.headers["content-type"] == kind
        return answer.content

    png = io.BytesIO()
    segno.make_qr(link, error="m").save(png, kind="png", scale=6, border=4)
    assert await qr("image/png") == png.getvalue(), "the code says the link"
    assert ElementTree.fromstring(await qr("image/svg+xml")).tag.endswith("svg")


async def test_joining_needs_consent_to_the_rules(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=58)
    await wire.publish(story.discharge(patient))
    link = await story.invited(patient)

    for body in ({"token": link}, {"token": link, "consent_to_rules": False}):
        problem = await wire.post(None, "enrollment", "/v1/invitations/accept", body, expect=422)
        assert problem["errors"][0]["field"] == "/consent_to_rules"
    assert not wire.heard(MemberJoined, person_id=patient.id)
    joined = await story.accepts(link, health_data=False)
    assert [c["scope"] for c in joined["consents"]] == ["group_rules"]


async def test_a_childs_guardians_are_invited_and_not_the_child(story: Story, wire: Wire) -> None:
    child = await story.child("mother", "father", age=6)
    discharge = story.discharge(child, "PED-NEPH", NEPHROTIC)
    await wire.publish(discharge)

    for relationship, guardian in child.guardians:
        joined = await story.accepts(await story.invited(guardian))
        told = await wire.hears(MemberJoined, person_id=guardian.id)
        assert (told.patient_id, told.role, told.relationship) == (
            child.id,
            MemberRole.GUARDIAN,
            relationship,
        )
        assert told.group_id == joined["group_id"]
    issued = wire.heard(InvitationIssued, encounter_id=discharge.encounter_id)
    assert {getattr(e.data, "person_id", "") for e in issued} == {g.id for _, g in child.guardians}
    assert await wire.inbox(child.caller) == []


async def test_who_must_not_be_invited_is_not_and_staff_see_why(story: Story, wire: Wire) -> None:
    async def stroke(**changes: Any) -> str:
        patient = await story.adult(age=72)
        event = story.discharge(patient, **changes)
        found = await story.outcome(event)
        assert not story.was_invited(event)
        return found

    assert await stroke(disposition=Disposition.DECEASED) == "deceased"
    assert await stroke(disposition=Disposition.TRANSFERRED) == "transferred"
    assert await stroke(discharged_at=story.ago(days=31)) == "backfill"
    eyes = story.discharge(await story.adult(), "OPHTH", ("H25.900", "老年性白内障"))
    assert await story.outcome(eyes) == "no_programme"
    alone = story.discharge(await story.child(age=4), "PED-NEPH", NEPHROTIC)
    assert await story.outcome(alone) == "no_guardian"

    tasks = await wire.items(OPS, "enrollment", "/v1/staff-tasks")
    reasons = {t["encounter_id"]: t["reason"] for t in tasks}
    assert reasons[eyes.encounter_id] == "no_programme"
    assert reasons[alone.encounter_id] == "no_guardian"
    other = await wire.items(NURSE, "enrollment", "/v1/staff-tasks")
    assert alone.encounter_id not in [t["encounter_id"] for t in other], "another department's"


async def test_a_department_without_a_fitting_programme_has_a_default_group(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=40)
    await wire.publish(story.discharge(patient, diagnosis=("G43.900", "偏头痛")))

    told = await wire.hears(InvitationIssued, person_id=patient.id)

    assert told.programme_id == "neuro"


async def test_a_guardian_who_becomes_known_later_is_invited_then(story: Story, wire: Wire) -> None:
    child = await story.child(age=8)
    event = story.discharge(child, "PED-NEPH", NEPHROTIC)
    assert await story.outcome(event) == "no_guardian"
    mother = story.casting.person()

    await wire.publish(linked(child, mother, story.now()))

    told = await wire.hears(InvitationIssued, person_id=mother.id)
    assert told.encounter_id == event.encounter_id
    tasks = await wire.items(OPS, "enrollment", "/v1/staff-tasks")
    assert event.encounter_id not in [t["encounter_id"] for t in tasks], "it settled itself"


async def test_declining_frees_the_seat(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=63)
    await wire.publish(story.discharge(patient))
    link = await story.invited(patient)
    issued = await wire.hears(InvitationIssued, person_id=patient.id)

    async def reserved() -> int:
        groups = await wire.items(OPS, "enrollment", "/v1/groups")
        return next(int(g["reserved"]) for g in groups if g["id"] == issued.group_id)

    before = await reserved()
    await wire.post(None, "enrollment", "/v1/invitations/decline", {"token": link})
    await wire.hears(InvitationDeclined, person_id=patient.id)
    assert await reserved() == before - 1
    body = {"token": link, "consent_to_rules": True}
    problem = await wire.post(None, "enrollment", "/v1/invitations/accept", body, expect=422)
    assert problem["reason"] == "invitation_declined" and problem["detail"]


async def test_a_cancelled_discharge_withdraws_and_a_later_one_invites_again(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=75)
    discharge = story.discharge(patient)
    (event_id,) = await wire.publish(discharge)
    link = await story.invited(patient)

    await wire.publish(cancelled(story, discharge.encounter_id, patient, event_id))
    told = await wire.hears(InvitationWithdrawn, person_id=patient.id)
    assert told.reason == "discharge_cancelled"
    body = {"token": link, "consent_to_rules": True}
    problem = await wire.post(None, "enrollment", "/v1/invitations/accept", body, expect=422)
    assert problem["reason"] == "invitation_withdrawn"

    await wire.publish(discharge)
    joined = await story.accepts(await story.invited(patient, count=2))
    assert joined["status"] == "accepted"


async def test_who_has_joined_stays_when_the_discharge_is_cancelled(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=66)
    discharge = story.discharge(patient)
    (event_id,) = await wire.publish(discharge)
    joined = await story.accepts(await story.invited(patient))

    await wire.publish(cancelled(story, discharge.encounter_id, patient, event_id))

    for who in (DOCTOR, NURSE):
        await wire.told(who, "staff.discharge_cancelled", patient_id=patient.id)
    tasks = await wire.items(NURSE, "enrollment", "/v1/staff-tasks")
    assert ("cancelled_after_joining", patient.id) in [
        (t["reason"], t["patient_id"]) for t in tasks
    ]
    assert await story.group(patient.caller, joined["group_id"])


async def test_a_cancellation_that_comes_first_stops_the_discharge(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=81)
    with wire.tracing("cancelled first") as traceparent:
        event = wire.event(story.discharge(patient))
        await wire.publish(cancelled(story, event.subject, patient, event.id), event)

    decided = await wire.outcome(traceparent, "enrollment", type(event.data))

    assert decided == "discharge_cancelled"
    assert await wire.inbox(patient.caller) == []


def cancelled(
    story: Story, encounter_id: str, patient: Patient, event_id: str
) -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id=encounter_id,
        patient_id=patient.id,
        discharge_event_id=event_id,
        cancelled_at=story.now(),
    )


async def test_a_member_is_not_invited_a_second_time(story: Story, wire: Wire) -> None:
    patient, _ = await story.member()

    assert await story.outcome(story.discharge(patient)) == "already_member"
    assert len(wire.heard(InvitationIssued, person_id=patient.id)) == 1


async def test_a_question_waits_for_staff_and_is_answered(story: Story, wire: Wire) -> None:
    patient, group_id = await story.member()
    neighbour, _ = await story.member()
    path = f"/v1/groups/{group_id}/messages"
    key = {"Idempotency-Key": story.new_id("key")}
    text = {"text": "出院后可以游泳吗？"}

    asked = await wire.post(patient.caller, "messaging", path, text, 201, key)
    again = await wire.call(
        patient.caller, "POST", "messaging", path, body=text, expect=201, headers=key
    )
    assert again.json() == asked and again.headers["idempotency-replayed"] == "true"
    question = await wire.hears(QuestionAsked, question_id=asked["id"])
    assert (question.asked_by, question.patient_id) == (patient.id, patient.id)
    for who in (DOCTOR, NURSE):
        await wire.told(who, "question.asked", patient_id=patient.id)

    waiting = await wire.items(NURSE, "messaging", "/v1/questions")
    (mine,) = [q["message"] for q in waiting if q["message"]["id"] == asked["id"]]
    assert mine["author"]["name"] == patient.name, "staff see who asks"
    seen = await wire.items(neighbour.caller, "messaging", path)
    (theirs,) = [m for m in seen if m["id"] == asked["id"]]
    assert theirs["author"]["name"] != patient.name, "neighbours do not"
    assert patient.id not in str(theirs)

    reply = {"text": "三个月内请不要游泳。", "reply_to": asked["id"]}
    answer = await wire.post(NURSE, "messaging", path, reply, 201)
    told = await wire.hears(QuestionAnswered, question_id=asked["id"])
    assert (told.message_id, told.answered_by) == (answer["id"], NURSE.id)
    message = await wire.told(patient.caller, "question.answered")
    assert "游泳" not in f"{message['title']}{message['body']}", "the text stays in the group"
    left = await wire.items(NURSE, "messaging", "/v1/questions")
    assert asked["id"] not in [q["message"]["id"] for q in left]


async def test_a_group_does_not_exist_for_outsiders_and_former_members(
    story: Story, wire: Wire
) -> None:
    patient, group_id = await story.member()
    outsider = await story.adult()
    for who in (outsider.caller, OTHER_NURSE, Caller(patient.id, ("pharmacist",))):
        expect = 403 if "pharmacist" in who.roles else 404
        await wire.get(who, "messaging", f"/v1/groups/{group_id}", expect=expect)

    (membership,) = await wire.items(patient.caller, "enrollment", "/v1/memberships")
    leave = f"/v1/memberships/{membership['id']}/leave"
    await wire.post(outsider.caller, "enrollment", leave, expect=404)
    await wire.post(patient.caller, "enrollment", leave)
    await wire.hears(MemberLeft, person_id=patient.id)

    async def gone() -> bool:
        return await story.group(patient.caller, group_id) is None

    await eventually("the group is gone for who left", gone)


async def test_a_withdrawn_consent_stops_pushes_about_health(story: Story, wire: Wire) -> None:
    patient, group_id = await story.member()
    await story.released(report(patient, story.new_id("r"), story.now()))
    await wire.told(patient.caller, "report.ready")
    consents = await wire.items(patient.caller, "enrollment", "/v1/consents")
    (consent,) = [c for c in consents if c["scope"] == "health_data"]

    path = f"/v1/consents/{consent['id']}/withdraw"
    await wire.post((await story.adult()).caller, "enrollment", path, expect=404)
    await wire.post(patient.caller, "enrollment", path)

    async def pushed() -> int:
        return len([m for m in await wire.inbox(patient.caller) if m["template"] == "report.ready"])

    async def silent() -> bool:
        """The withdrawal is known everywhere: a report that is released is told to nobody."""
        before = await pushed()
        with wire.tracing("a report after the withdrawal") as traceparent:
            await story.released(report(patient, story.new_id("r"), story.now()))
        await wire.outcome(traceparent, "reports", ReportReady)
        await asyncio.sleep(1)  # long enough for a push on the way to arrive
        return await pushed() == before

    await eventually("no push after the withdrawal", silent)
    assert await wire.items(patient.caller, "reports", "/v1/reports"), "reading goes on"
    assert await story.group(patient.caller, group_id), "and so does the membership"


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_an_invitation_speaks_the_persons_language(
    story: Story, wire: Wire, language: str
) -> None:
    patient = await story.adult(age=65, language=language)
    await wire.publish(story.discharge(patient))

    message = await wire.told(patient.caller, "invitation.issued")

    assert message["language"] == language
    assert ("invited" in message["title"]) is (language == "en")
