"""What must happen when medicines are renewed online?

A doctor approves, a pharmacist passes, three times; the fourth is refused until the
patient has been seen. The medicine comes from a pharmacy that is chosen. For a child a
guardian asks, and a pharmacist may send it back.
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
    FulfilmentMethod,
    FulfilmentStatus,
    FulfilmentUpdated,
    PrescriptionIssued,
    RefillCollected,
    RefillDispensed,
    RefillDoctorDeclined,
    RefillEffective,
    RefillFulfilmentChosen,
    RefillRefused,
)

#: Where the patient is when looking for a pharmacy: nobody's address.
CENTRE = {"latitude": 30.004, "longitude": 120.579}
PHARMACISTS = PHARMACIST.caller
#: Precondition Failed: what was read is not what stands there now.
CHANGED = 412


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
            "the nearest pharmacy is chosen, makes the medicine ready, and it is collected",
            "选择最近的药房，药房备药，患者取药",
        ):
            await self._fetched(patient, effective)
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
            "a guardian's request is returned by the pharmacist, approved with a change and passed",
            "监护人申请，药师退回，原医生调整药量后批准，药师通过",
        ):
            id = await self._ask(guardian, self.child)
            await self._decide(doctor, id, "doctor-decision", decision="approve")
            await self._decide(
                PHARMACISTS, id, "pharmacist-review", decision="return", reason="quantity"
            )
            await self._wire.told(guardian, "refill.returned")
            less = {"value": 5, "unit": "片"}
            await self._decide(doctor, id, "doctor-decision", decision="change", quantity=less)
            await self._wire.told(guardian, "refill.changed")
            await self._decide(PHARMACISTS, id, "pharmacist-review", decision="pass")
            effective = await self._wire.hears(RefillEffective, refill_id=id)
            require(effective.days_supply == 5, "what is dispensed lasts five days")
            await self._wire.told(guardian, "refill.effective")
        async with self._day.step(
            "a doctor declines and the patient's side is told", "医生不同意续方，告知监护人"
        ):
            id = await self._ask(guardian, self.child)
            await self._decide(
                doctor, id, "doctor-decision", decision="decline", reason="not_appropriate"
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

    async def _fetched(self, who: Caller, renewal: RefillEffective) -> None:
        """From the choice of a pharmacy until the medicine is in the patient's hands."""
        found = await self._wire.post(
            who, "prescriptions", "/v1/pharmacies/search", {"place": CENTRE}
        )
        nearest = found["items"][0]["id"]
        path = f"/v1/refills/{renewal.refill_id}"
        current = await self._wire.get(who, "prescriptions", path)
        await self._wire.call(
            who,
            "PUT",
            "prescriptions",
            f"{path}/fulfilment",
            body={"method": FulfilmentMethod.PICKUP, "pharmacy_id": nearest},
            headers={"If-Match": f'"{current["version"]}"'},
        )
        chosen = await self._wire.hears(RefillFulfilmentChosen, refill_id=renewal.refill_id)
        require(chosen.pharmacy_id == nearest, "the pharmacy that was chosen is told")
        steps = (
            (FulfilmentStatus.DISPENSED, RefillDispensed, "refill.dispensed"),
            (FulfilmentStatus.COLLECTED, RefillCollected, "refill.collected"),
        )
        for status, fact, template in steps:
            await self._wire.publish(
                FulfilmentUpdated(
                    fulfilment_id=f"disp-{renewal.refill_id}",
                    prescription_id=renewal.new_prescription_id,
                    patient_id=self.adult.id,
                    pharmacy_id=nearest,
                    status=status,
                    occurred_at=self._day.now(),
                )
            )
            await self._wire.hears(fact, refill_id=renewal.refill_id)
            await self._wire.told(who, template)
        seen = await self._wire.get(who, "prescriptions", path)
        require(seen["status"] == "collected", seen["status"])

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

    async def _decide(self, who: Caller, id: str, verb: str, **body: Any) -> None:
        """Find it on one's work list and decide on the version that was read there; read it again
        if it has changed meanwhile, as when the head is told that little time is left."""
        lists = f"/v1/work-lists/{who.roles[0]}"

        async def look() -> Any:
            found = await self._wire.items(who, "prescriptions", lists)
            return next((r for r in found if r["id"] == id), None)

        async def decided() -> bool:
            waiting = await eventually(f"{id} is on the list of {who.id}", look)
            answer = await self._wire.call(
                who,
                "POST",
                "prescriptions",
                f"/v1/refills/{id}/{verb}",
                body=body,
                expect=None,
                headers={"If-Match": f'"{waiting["version"]}"'},
            )
            if answer.status_code == CHANGED:
                return False
            require(answer.status_code == 200, f"{verb}: {answer.status_code} {answer.text}")
            return True

        await eventually(f"{verb} on {id}", decided)
