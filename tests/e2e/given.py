"""What do the journeys begin with? People, discharges, reports and prescriptions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from libs.common.devstack.day.cast import Caller, Casting, Patient, Person
from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.plan import Outcome, Stay
from libs.common.devstack.day.records import family, request
from libs.common.devstack.day.wire import Wire
from libs.common.events import (
    EncounterDischarged,
    InvitationIssued,
    MemberJoined,
    RefillEffective,
    ReportReady,
    ResultReleased,
)

STROKE = ("I63.900x001", "脑梗死")
NEPHROTIC = ("N04.900", "肾病综合征")


class Story:
    """The people and ids of one test, and steps that several journeys share."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.id = f"t{number}"
        webhook = f"{wire.page}/webhook"
        self.casting = Casting(self.id, self.now().date(), webhook)
        self._count = 0

    def now(self) -> datetime:
        return self.wire.ports.clock.now()

    def ago(self, **time: float) -> datetime:
        return self.now() - timedelta(**time)

    def new_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self.id}-{self._count}"

    # -- people -------------------------------------------------------------------------

    async def adult(self, **wanted: Any) -> Patient:
        """An adult whom the hospital knows."""
        return await self.known(self.casting.adult(**wanted))

    async def child(self, *guardians: str, **wanted: Any) -> Patient:
        return await self.known(self.casting.child(*guardians, **wanted))

    async def known(self, patient: Patient) -> Patient:
        await self.wire.publish(*family(patient, self.ago(hours=6)))
        return patient

    # -- discharges ---------------------------------------------------------------------

    def discharge(
        self,
        patient: Patient,
        department: str = "NEURO",
        diagnosis: tuple[str, str] = STROKE,
        **changes: Any,
    ) -> EncounterDischarged:
        stay = Stay(
            self.new_id("e"),
            patient,
            department,
            diagnosis,
            None,
            None,
            Outcome.INVITED,
            (),
            self.ago(minutes=5),
        )
        return stay.discharged().model_copy(update=changes)

    async def invited(self, person: Person, count: int = 1) -> str:
        """The link in the person's inbox."""
        message = await self.wire.told(person.caller, "invitation.issued", count)
        return str(message["link"])

    async def accepts(self, link: str, health_data: bool = True) -> dict[str, Any]:
        body = {"token": link, "consent_to_rules": True, "consent_to_health_data": health_data}
        done: dict[str, Any] = await self.wire.post(
            None, "enrollment", "/v1/invitations/accept", body
        )
        return done

    async def member(self, **wanted: Any) -> tuple[Patient, str]:
        """A stroke patient who has joined, and the group."""
        patient = await self.adult(**({"age": 60} | wanted))
        await self.wire.publish(self.discharge(patient))
        done = await self.accepts(await self.invited(patient))
        group_id = done["group_id"]
        await self.wire.hears(MemberJoined, person_id=patient.id)
        await eventually(
            f"{patient.id} sees the group", lambda: self.group(patient.caller, group_id)
        )
        return patient, group_id

    async def group(self, who: Caller, group_id: str) -> Any:
        """The group as the person sees it; None if they don't."""
        answer = await self.wire.call(
            who, "GET", "messaging", f"/v1/groups/{group_id}", expect=None
        )
        return answer.json() if answer.status_code == 200 else None

    async def invitations(self, who: Caller, encounter_id: str) -> list[dict[str, Any]]:
        """The invitations of a stay, as staff see them."""
        query = {"encounter_id": encounter_id}
        return await self.wire.items(who, "enrollment", "/v1/invitations", query)

    async def outcome(self, event: EncounterDischarged) -> str:
        """Publish a discharge; what enrollment makes of it."""
        with self.wire.tracing("a discharge") as traceparent:
            await self.wire.publish(event)
        return await self.wire.outcome(traceparent, "enrollment", EncounterDischarged)

    def was_invited(self, event: EncounterDischarged) -> bool:
        return bool(self.wire.heard(InvitationIssued, encounter_id=event.encounter_id))

    # -- reports ------------------------------------------------------------------------

    async def released(self, report: ReportReady) -> ReportReady:
        await self.wire.publish(report)
        await self.wire.hears(ResultReleased, report_id=report.report_id, version=report.version)
        return report

    async def read(self, who: Caller, report_id: str, expect: int = 200) -> Any:
        return await self.wire.get(who, "reports", f"/v1/reports/{report_id}", expect=expect)

    # -- renewals -----------------------------------------------------------------------

    async def may_ask(self, who: Caller, patient: Patient, count: int = 1) -> list[dict[str, Any]]:
        """What the person may renew, once the record and ``count`` prescriptions are there."""

        async def look() -> Any:
            answer = await self.wire.call(
                who,
                "GET",
                "prescriptions",
                "/v1/renewable",
                expect=None,
                query={"patient_id": patient.id},
            )
            found = answer.json()["items"] if answer.status_code == 200 else []
            recorded = all(r["reason"] != "age_unknown" for r in found)
            return found if recorded and len(found) >= count else None

        found: list[dict[str, Any]] = await eventually("the prescriptions have arrived", look)
        return found

    async def asks(
        self,
        who: Caller,
        patient: Patient,
        rx: str = "",
        expect: int = 201,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        body = request(patient, rx)
        answer: dict[str, Any] = await self.wire.post(
            who, "prescriptions", "/v1/refills", body, expect=expect, headers=headers
        )
        return answer

    async def decides(
        self, who: Caller, refill_id: str, decision: str, expect: int = 200, **body: Any
    ) -> dict[str, Any]:
        """As doctor or pharmacist, whatever version it has."""
        verb = "pharmacist-review" if "pharmacist" in who.roles else "doctor-decision"
        answer: dict[str, Any] = await self.wire.post(
            who,
            "prescriptions",
            f"/v1/refills/{refill_id}/{verb}",
            {"decision": decision, **body},
            expect=expect,
            headers={"If-Match": "*"},
        )
        return answer

    async def renewed(
        self, who: Caller, patient: Patient, doctor: Caller, pharmacist: Caller
    ) -> RefillEffective:
        """Asked for, approved and passed."""
        asked = await self.asks(who, patient)
        await self.decides(doctor, asked["id"], "approve")
        await self.decides(pharmacist, asked["id"], "pass")
        return await self.wire.hears(RefillEffective, refill_id=asked["id"])
