"""What if a hospital's systems speak HL7 v2, and not Kafka?"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from libs.common.devstack.day.cast import DOCTORS, Patient
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import require
from libs.common.devstack.mllp import Sender
from libs.common.events import Gender, InvitationIssued, InvitationWithdrawn

ZONE = ZoneInfo("Asia/Shanghai")
DEPARTMENT = "NEURO"
_SEX = {Gender.MALE: "M", Gender.FEMALE: "F"}


class Interfaces:
    """One stay of ``patient``, told by ADT messages over MLLP."""

    def __init__(self, day: Day, patient: Patient) -> None:
        self._day, self._wire, self._patient = day, day.wire, patient
        self._encounter = f"hl7-{patient.id}"

    async def play(self) -> None:
        p, now = self._patient, self._day.now()
        async with self._day.step(
            "a discharge that comes as HL7 v2 (A03) is acknowledged and invites",
            "以 HL7 v2（A03）送来的出院得到确认并发出邀请",
        ):
            await self._sent("A03", now)
            await self._wire.hears(InvitationIssued, encounter_id=self._encounter, person_id=p.id)
        async with self._day.step(
            "its cancellation (A13) withdraws the invitation",
            "撤销出院（A13）收回邀请",
        ):
            await self._sent("A13", now)
            await self._wire.hears(InvitationWithdrawn, encounter_id=self._encounter)

    async def _sent(self, trigger: str, discharged: datetime) -> None:
        async with Sender(self._wire.mllp) as his:
            answer = await his.send(self._message(trigger, discharged))
        require(answer.code == "AA", answer.text.replace("\r", " "))

    def _message(self, trigger: str, discharged: datetime) -> bytes:
        p, doctor = self._patient, DOCTORS[DEPARTMENT]
        at = discharged.astimezone(ZONE).strftime("%Y%m%d%H%M%S%z")
        pv1 = [""] * 45
        pv1[1], pv1[2], pv1[6] = "I", DEPARTMENT, f"{doctor.id}^{doctor.name}"
        pv1[18], pv1[35], pv1[44] = self._encounter, "01", at
        segments = [
            f"MSH|^~\\&|HIS|DAY|LIANXIN|LX|{at}||ADT^{trigger}|{trigger}-{p.id}|P|2.5.1"
            "||||||UNICODE UTF-8",
            f"EVN|{trigger}|{at}",
            f"PID|1||{p.id}^^^^PI||{p.name}||{p.birth_date:%Y%m%d}|{_SEX[p.gender]}",
            f"PV1|{'|'.join(pv1)}",
            "DG1|1||I63.900x001^脑梗死^ICD10|||F",
        ]
        return "".join(f"{s}\r" for s in segments).encode()
