"""Do the journeys run for a hospital whose systems speak nothing but HL7 v2?

Not one event is published here: everything that the platform knows of these people came in
messages over MLLP.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.common.devstack.day.cast import PHARMACIST, STAFF, Patient
from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.mllp import Sender
from libs.common.events import (
    Gender,
    InvitationWithdrawn,
    MemberJoined,
    PatientMerged,
    RefillEffective,
    RefillSuspended,
    ResultReleased,
)
from tests.e2e.given import Story

ZONE = ZoneInfo("Asia/Shanghai")
CARDIOLOGIST, PHARMACISTS = STAFF["d-3020"].caller, PHARMACIST.caller
_SEX = {Gender.MALE: "M", Gender.FEMALE: "F"}


def stamp(at: datetime) -> str:
    return at.astimezone(ZONE).strftime("%Y%m%d%H%M%S%z")


class His:
    """A hospital's systems, all of them on one connection."""

    def __init__(self, story: Story) -> None:
        self.story, self._count = story, 0

    def patient(self, **wanted: Any) -> Patient:
        """Somebody whom the platform has never heard of."""
        return self.story.casting.adult(**wanted)

    async def sends(
        self, type: str, patient: Patient, *segments: str, pv1: str = "", at: datetime | None = None
    ) -> None:
        self._count += 1
        now = stamp(at or self.story.now())
        kind, trigger = type.split("^")
        whole = [
            f"MSH|^~\\&|HIS|E2E|LIANXIN|LX|{now}||{type}|{self.story.id}-{self._count}|P|2.5.1"
            "||||||UNICODE UTF-8",
            *([f"EVN|{trigger}|{now}"] if kind == "ADT" else []),
            f"PID|1||{patient.id}^^^^PI||{patient.name}||{patient.birth_date:%Y%m%d}"
            f"|{_SEX[patient.gender]}|||||^PRN^CP^^^^{patient.phone}||zh",
            *([pv1] if pv1 else []),
            *segments,
        ]
        async with Sender(self.story.wire.mllp) as sender:
            answer = await sender.send("".join(f"{s}\r" for s in whole).encode())
        assert answer.code == "AA", answer.text.replace("\r", "\n")

    async def discharges(self, patient: Patient, stay: str, trigger: str = "A03") -> None:
        pv1 = [""] * 45
        pv1[1], pv1[2], pv1[6] = "I", "NEURO", "d-3001^沈志远"
        pv1[18], pv1[35], pv1[44] = stay, "01", stamp(self.story.ago(minutes=5))
        diagnosis = "DG1|1||I63.900x001^脑梗死^ICD10|||F"
        await self.sends(f"ADT^{trigger}", patient, diagnosis, pv1=f"PV1|{'|'.join(pv1)}")

    async def reports(self, patient: Patient, number: str) -> None:
        at = stamp(self.story.now())
        await self.sends(
            "ORU^R01",
            patient,
            f"OBR|1||{number}|2345-7^空腹血糖^LN|||{at}|||||||||d-3001^沈志远||||||{at}||CH|F",
            "OBX|1|NM|2345-7^葡萄糖^LN||7.93|mmol/L|3.9-6.1|H|||F",
            pv1="PV1|1|O|NEURO",
        )

    async def prescribes(
        self,
        patient: Patient,
        number: str,
        days_ago: float = 25,
        days: int = 28,
        control: str = "NW",
        parent: str = "",
    ) -> None:
        at = stamp(self.story.ago(days=days_ago))
        await self.sends(
            "RDE^O11",
            patient,
            f"ORC|{control}|{number}||||||{parent}|{at}|||d-3020^医生",
            "RXE||C08CA01^苯磺酸氨氯地平片^ATC|5||mg|TAB^片|^每日一次，每次5毫克，口服|||28|TAB^片",
            f"TQ1|1||QD|||{days}^D",
            pv1="PV1|1|O|CARDIO",
        )


async def test_a03_invites_and_the_patient_joins(story: Story, wire: Wire) -> None:
    his = His(story)
    patient = his.patient(age=66)
    await his.discharges(patient, story.new_id("stay"))

    joined = await story.accepts(await story.invited(patient))

    told = await wire.hears(MemberJoined, person_id=patient.id)
    assert told.group_id == joined["group_id"]
    await eventually("sees the group", lambda: story.group(patient.caller, told.group_id))


async def test_a13_takes_the_invitation_back(story: Story, wire: Wire) -> None:
    his = His(story)
    patient, stay = his.patient(age=59), story.new_id("stay")
    await his.discharges(patient, stay)
    link = await story.invited(patient)

    await his.discharges(patient, stay, "A13")

    told = await wire.hears(InvitationWithdrawn, encounter_id=stay)
    assert told.person_id == patient.id
    body = {"token": link, "consent_to_rules": True, "consent_to_health_data": True}
    refused = await wire.post(None, "enrollment", "/v1/invitations/accept", body, expect=422)
    assert refused["reason"] == "invitation_withdrawn"


async def test_an_oru_is_pushed_without_its_result_and_read(story: Story, wire: Wire) -> None:
    his = His(story)
    patient = his.patient()
    await his.sends("ADT^A28", patient)
    await his.reports(patient, story.new_id("lab"))

    message = await wire.told(patient.caller, "report.ready", patient_id=patient.id)

    assert "7.93" not in str(message) and "葡萄糖" not in str(message)
    (listed,) = await wire.items(patient.caller, "reports", "/v1/reports")
    shown = await story.read(patient.caller, listed["id"])
    assert [o["value"] for o in shown["observations"]] == [7.93]


async def test_what_an_rde_prescribes_is_renewed(story: Story, wire: Wire) -> None:
    his = His(story)
    patient = his.patient(age=61)
    await his.sends("ADT^A28", patient)
    await his.prescribes(patient, story.new_id("rx"))

    (renewable,) = await story.may_ask(patient.caller, patient)
    asked = await story.asks(patient.caller, patient, renewable["prescription_id"])
    await story.decides(CARDIOLOGIST, asked["id"], "approve", comment="血压平稳，长期用药")
    await story.decides(PHARMACISTS, asked["id"], "pass")

    told = await wire.hears(RefillEffective, refill_id=asked["id"])
    assert (told.number, told.remaining) == (1, 2)


@pytest.mark.parametrize("held", ["original", "copy"])
async def test_a_renewal_in_effect_of_what_is_put_on_hold_is_withheld_and_a_release_changes_nothing(
    story: Story, wire: Wire, held: str
) -> None:
    his = His(story)
    patient, number = his.patient(age=61), story.new_id("rx")
    await his.sends("ADT^A28", patient)
    await his.prescribes(patient, number)
    (renewable,) = await story.may_ask(patient.caller, patient)
    asked = await story.asks(patient.caller, patient, renewable["prescription_id"])
    await story.decides(CARDIOLOGIST, asked["id"], "approve", comment="血压平稳，长期用药")
    await story.decides(PHARMACISTS, asked["id"], "pass")
    effective = await wire.hears(RefillEffective, refill_id=asked["id"])

    if held == "copy":  # the hospital's own of the renewal, under a number of its own
        number = story.new_id("copy")
        await his.prescribes(patient, number, days_ago=0, parent=effective.new_prescription_id)
    await his.prescribes(patient, number, days_ago=0, control="HD")

    void = await wire.hears(RefillSuspended, refill_id=asked["id"])
    assert (void.new_prescription_id, void.reason) == (
        effective.new_prescription_id,
        "prescription_stopped",
    )
    await wire.told(patient.caller, "refill.withheld")
    await his.prescribes(patient, number, days_ago=0, control="RL")
    await his.prescribes(patient, story.new_id("other"), days_ago=0, days=1)
    found = await story.may_ask(patient.caller, patient, count=3 if held == "copy" else 2)
    (on_hold,) = [r for r in found if r["prescription_id"].startswith(number)]
    assert (on_hold["renewable"], on_hold["reason"]) == (False, "prescription_stopped")


async def test_a40_makes_one_patient_of_two_in_every_service(story: Story, wire: Wire) -> None:
    his = His(story)
    kept, gone = his.patient(age=64), his.patient(age=64)
    for patient in (kept, gone):
        await his.sends("ADT^A28", patient, at=story.ago(hours=1))
    await his.discharges(gone, story.new_id("stay"))
    joined = await story.accepts(await story.invited(gone))
    await wire.hears(MemberJoined, person_id=gone.id)
    await his.reports(gone, story.new_id("lab"))
    await wire.hears(ResultReleased, patient_id=gone.id)
    # When leaving hospital: an older one would need a visit after the new diagnosis.
    await his.prescribes(gone, story.new_id("rx"), days_ago=0, days=7)
    await story.may_ask(gone.caller, gone)

    await his.sends("ADT^A40", kept, f"MRG|{gone.id}^^^^PI")

    told = await wire.hears(PatientMerged, patient_id=gone.id)
    assert told.survivor_id == kept.id

    async def reports() -> Any:
        return await wire.items(kept.caller, "reports", "/v1/reports")

    async def groups() -> Any:
        return await wire.items(kept.caller, "enrollment", "/v1/memberships")

    (report,) = await eventually("the survivor has the report", reports)
    assert (await story.read(kept.caller, report["id"]))["observations"][0]["value"] == 7.93
    (membership,) = await eventually("the survivor is a member", groups)
    assert membership["group_id"] == joined["group_id"]
    await eventually(
        "the survivor sees the group", lambda: story.group(kept.caller, joined["group_id"])
    )
    (renewable,) = await story.may_ask(kept.caller, kept)
    await story.asks(kept.caller, kept, renewable["prescription_id"])
    # What comes under the old number later is the survivor's, too.
    await his.reports(gone, story.new_id("lab"))
    await wire.told(kept.caller, "report.ready", count=2)
    assert len(await reports()) == 2
