"""What if systems of a hospital or its partners do not speak Kafka?"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from libs.common.devstack.day.cast import DOCTORS, Caller, Patient
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.mllp import Sender
from libs.common.events import Gender, InvitationIssued, InvitationWithdrawn
from libs.common.signing import secret_of, signature

ZONE = ZoneInfo("Asia/Shanghai")
DEPARTMENT = "NEURO"
#: The client of policies/partners/sample.yaml.
PARTNER = Caller("sample-partner", ("integration",))
HEADERS = ("id", "timestamp", "signature")
_SEX = {Gender.MALE: "M", Gender.FEMALE: "F"}


class Interfaces:
    """One stay of ``patient``, told by ADT messages over MLLP; a partner follows it by webhooks."""

    def __init__(self, day: Day, patient: Patient) -> None:
        self._day, self._wire, self._patient = day, day.wire, patient
        self._encounter = f"hl7-{patient.id}"

    async def play(self) -> None:
        p, now = self._patient, self._day.now()
        created = await self._subscribes()
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
        await self._was_told(created)

    async def _subscribes(self) -> dict[str, Any]:
        """The partner of ``policies/partners/sample.yaml``, with a receiver on the page."""
        wire = self._wire
        terms = {
            "name": f"day {self._day.id}",
            "endpoint": f"{wire.page}/partner/{self._encounter}",
            "types": [InvitationIssued.TYPE, InvitationWithdrawn.TYPE],
            "filter": {"encounter_id": [self._encounter]},
        }
        async with self._day.step(
            "a partner system subscribes to this stay's invitations, and its endpoint is greeted",
            "合作系统订阅此次住院的邀请，其接收地址通过握手",
        ):
            created: dict[str, Any] = await wire.post(
                PARTNER, "interop", "/v1/subscriptions", terms, expect=201
            )

            async def greeted() -> bool:
                path = f"/v1/subscriptions/{created['id']}"
                return bool((await wire.get(PARTNER, "interop", path))["status"] == "active")

            await eventually("its subscription is active", greeted)
        return created

    async def _was_told(self, created: dict[str, Any]) -> None:
        wire, path = self._wire, f"/v1/subscriptions/{created['id']}"
        secret = secret_of(created["secret"])
        async with self._day.step(
            "the partner's webhooks come signed, numbered and in order",
            "合作系统收到的 webhook 带签名、连续编号、顺序正确",
        ):

            async def told() -> list[dict[str, Any]] | None:
                shown = await wire.get(None, "page", f"/api/partners/{self._encounter}")
                received = shown["received"][1:]  # after the handshake
                return received if len(received) >= 2 else None

            received = await eventually("both came to the partner", told)
            for sent in received:
                id, time, given = (sent["headers"][f"webhook-{h}"] for h in HEADERS)
                right = signature(secret, id, int(time), sent["body"].encode())
                require(given == right, f"the signature of {id} is that of its secret")
            events = [json.loads(sent["body"]) for sent in received]
            found = [(e["type"], e["deliverynumber"]) for e in events]
            wanted = [(InvitationIssued.TYPE, 1), (InvitationWithdrawn.TYPE, 2)]
            require(found == wanted, f"{wanted}, but {found}")
            await wire.call(PARTNER, "DELETE", "interop", path, expect=204)

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
