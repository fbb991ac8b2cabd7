"""What must happen when medicines are renewed online?

A doctor approves, a pharmacist passes, three times; the fourth is refused until the
patient has been seen. For a child a guardian asks, and a pharmacist may send it back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from libs.common.devstack.day.cast import DOCTORS, PHARMACIST, Caller, Patient
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.day.records import ENALAPRIL, prescription, request, visit
from libs.common.events import (
    PrescriptionIssued,
    RefillDoctorDeclined,
    RefillEffective,
    RefillRefused,
)

PHARMACISTS = PHARMACIST.caller


class Renewals:
    def __init__(self, day: Day, adult: Patient, child: Patient) -> None:
        self._day, self._wire = day, day.wire
        self.adult, self.child = adult, child

    def prescriptions(self) -> list[PrescriptionIssued]:
        """What was prescribed two months ago."""
        at = self._day.now() - timedelta(days=60)
        return [
            prescription(self.adult, at),
            prescription(self.child, at, "PED-NEPH", ENALAPRIL),
        ]

    # -- an adult -----------------------------------------------------------------------

    async def of_an_adult(self) -> None:
        """Three renewals, a fourth that is refused, a visit, and one more that is left open."""
        patient, doctor = self.adult.caller, DOCTORS["CARDIO"].caller
        for number in (1, 2, 3):
            async with self._day.step(
                f"renewal {number}: asked for, approved by a doctor, passed by a pharmacist",
                f"第 {number} 次续方：申请、医生批准、药师审核通过",
            ):
                id = await self._ask(patient, self.adult)
                await self._decide(doctor, id, "doctor-decision", decision="approve")
                await self._decide(PHARMACISTS, id, "pharmacist-review", decision="pass")
                effective = await self._wire.hears(RefillEffective, refill_id=id)
                require(
                    (effective.number, effective.remaining) == (number, 3 - number),
                    f"renewal {number} leaves {3 - number}",
                )
                for template in ("refill.requested", "refill.approved", "refill.effective"):
                    await self._wire.told(patient, template, count=number)
        async with self._day.step(
            "a pharmacy scans the printed prescription: both signatures hold, of this text only",
            "药店扫描处方二维码：两个电子签名有效，改动一字即无效",
        ):
            await self._scanned(patient, id)
        async with self._day.step(
            "the fourth renewal is refused in plain words", "第 4 次续方被拒，并说明原因"
        ):
            problem = await self._ask_in_vain(patient, self.adult)
            require(problem["reason"] == "renewal_limit_reached", problem["reason"])
            require(problem.get("detail"), "the refusal says why in words")
            await self._wire.hears(
                RefillRefused, patient_id=self.adult.id, reason="renewal_limit_reached"
            )
            await self._wire.told(patient, "refill.refused")
        async with self._day.step(
            "after a visit in person it can be renewed again", "到院复诊后可再次续方"
        ):
            await self._wire.publish(visit(self.adult, f"v-{self.adult.id}", self._day.now()))
            await eventually("the visit resets the count", self._may_renew)
            await self._ask(patient, self.adult)

    async def _may_renew(self) -> Any:
        found = await self._renewable(self.adult.caller, self.adult)
        return found["renewable"] and found["renewals_left"] == 3

    # -- a child ------------------------------------------------------------------------

    async def of_a_child(self) -> None:
        """A guardian asks; the pharmacist returns it once; another one is declined."""
        ((_, mother),) = self.child.guardians
        guardian, doctor = mother.caller, DOCTORS["PED-NEPH"].caller
        async with self._day.step(
            "a child can't ask for a renewal, and for a stranger it does not exist",
            "儿童不能自行申请续方；他人查无此方",
        ):
            await self._renewable(guardian, self.child)
            problem = await self._ask_in_vain(self.child.caller, self.child)
            require(problem["reason"] == "guardian_needed", problem["reason"])
            await self._ask_in_vain(self.adult.caller, self.child, expect=404)
        async with self._day.step(
            "a guardian's request is returned by the pharmacist, approved again and passed",
            "监护人申请，药师退回，原医生再次批准后通过",
        ):
            id = await self._ask(guardian, self.child)
            await self._decide(doctor, id, "doctor-decision", decision="approve")
            await self._decide(
                PHARMACISTS, id, "pharmacist-review", decision="return", reason="dose"
            )
            await self._wire.told(guardian, "refill.returned")
            await self._decide(doctor, id, "doctor-decision", decision="approve", comment="已核对")
            await self._decide(PHARMACISTS, id, "pharmacist-review", decision="pass")
            await self._wire.hears(RefillEffective, refill_id=id)
            await self._wire.told(guardian, "refill.effective")
        async with self._day.step(
            "a doctor declines and the patient's side is told", "医生不同意续方，告知监护人"
        ):
            id = await self._ask(guardian, self.child)
            await self._decide(
                doctor, id, "doctor-decision", decision="decline", reason="visit_needed"
            )
            await self._wire.hears(RefillDoctorDeclined, refill_id=id)
            await self._wire.told(guardian, "refill.declined")

    # -- steps --------------------------------------------------------------------------

    async def _scanned(self, holder: Caller, id: str) -> None:
        """The holder shows the prescription at a pharmacy that knows nothing of us."""
        path = f"/v1/refills/{id}/prescription"
        paper = await self._wire.call(holder, "GET", "prescriptions", f"{path}.pdf")
        require(paper.content.startswith(b"%PDF-"), "the prescription can be printed")
        copy = await self._wire.get(holder, "prescriptions", path)
        asked = dict(parse_qsl(urlsplit(copy["link"]).fragment))
        verified = await self._wire.call(
            None,
            "GET",
            "prescriptions",
            f"/v1/prescriptions/{asked['p']}/verification",
            query={"hospital": asked["h"]},
            headers={"Verification-Code": asked["c"]},
        )
        standing = verified.json()
        require(standing["valid"] and standing["standing"]["dispensable"], standing["reason"])
        text, jws = copy["document"], copy["signatures"]
        for document, valid in ((text, True), (text.replace(self.adult.id, "somebody"), False)):
            found = await self._wire.post(
                None,
                "prescriptions",
                "/v1/prescriptions/verification",
                {"document": document, "signatures": jws},
            )
            require(found["valid"] is valid, f"signatures of this text: {found['valid']}")

    async def _renewable(self, who: Caller, patient: Patient) -> dict[str, Any]:
        """What the person reads about the prescription, once it and the record are there."""

        async def look() -> Any:
            answer = await self._wire.call(
                who,
                "GET",
                "prescriptions",
                "/v1/renewable",
                expect=None,
                query={"patient_id": patient.id},
            )
            items = answer.json()["items"] if answer.status_code == 200 else []
            return items if all(i["reason"] != "age_unknown" for i in items) else None

        found: list[dict[str, Any]] = await eventually(f"what {who.id} may renew", look)
        return found[0]

    async def _ask(self, who: Caller, patient: Patient) -> str:
        await self._renewable(who, patient)
        answer = await self._wire.post(
            who, "prescriptions", "/v1/refills", request(patient), expect=201
        )
        return str(answer["id"])

    async def _ask_in_vain(
        self, who: Caller, patient: Patient, expect: int = 422
    ) -> dict[str, Any]:
        answer: dict[str, Any] = await self._wire.post(
            who, "prescriptions", "/v1/refills", request(patient), expect=expect
        )
        return answer

    async def _decide(self, who: Caller, id: str, verb: str, **body: str) -> None:
        """Find it on one's work list and decide on the version that was read there."""
        lists = f"/v1/work-lists/{who.roles[0]}"

        async def look() -> Any:
            found = await self._wire.items(who, "prescriptions", lists)
            return next((r for r in found if r["id"] == id), None)

        waiting = await eventually(f"{id} is on the list of {who.id}", look)
        await self._wire.post(
            who,
            "prescriptions",
            f"/v1/refills/{id}/{verb}",
            body,
            headers={"If-Match": f'"{waiting["version"]}"'},
        )
