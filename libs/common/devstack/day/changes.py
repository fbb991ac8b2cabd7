"""What must happen when a discharge is taken back, or more becomes known after it?"""

from __future__ import annotations

import asyncio

from libs.common.devstack.day.cast import STAFF
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.discharges import Discharges
from libs.common.devstack.day.hearing import require
from libs.common.devstack.day.plan import Stay
from libs.common.devstack.day.records import linked
from libs.common.events import (
    DischargeCancelled,
    InvitationIssued,
    InvitationWithdrawn,
)


class Changes:
    def __init__(self, day: Day, discharges: Discharges) -> None:
        self._day, self._wire, self._plan = day, day.wire, day.plan
        self._discharges = discharges

    async def play(self) -> None:
        """Discharges that are taken back, a guardian who becomes known, a second stay."""
        await asyncio.gather(
            self._cancelled_while_open(),
            self._cancelled_after_joining(),
            self._cancelled_before_it_came(),
            self._a_mother_becomes_known(),
            self._a_member_is_not_invited_again(),
        )

    def _cancelled(self, stay: Stay, event_id: str) -> DischargeCancelled:
        return DischargeCancelled(
            encounter_id=stay.encounter_id,
            patient_id=stay.patient.id,
            discharge_event_id=event_id,
            cancelled_at=self._day.now(),
            reason="病情变化，继续住院",
        )

    async def _cancelled_while_open(self) -> None:
        stay = self._plan.cancelled_open
        async with self._day.step(
            "a cancelled discharge withdraws its invitation; a later one invites again",
            "撤销出院收回邀请；再次出院重新邀请",
        ):
            link = await self._discharges.link(stay.patient)
            await self._wire.publish(
                self._cancelled(stay, self._discharges.sent[stay.encounter_id])
            )
            await self._wire.hears(InvitationWithdrawn, encounter_id=stay.encounter_id)
            body = {"token": link, "consent_to_rules": True}
            problem = await self._wire.post(
                None, "enrollment", "/v1/invitations/accept", body, expect=422
            )
            require(problem["reason"] == "invitation_withdrawn", problem["reason"])
            await self._discharges.discharge(stay)
            await self._discharges.accept(stay, stay.patient, count=2)

    async def _cancelled_after_joining(self) -> None:
        stay = self._plan.cancelled_joined
        async with self._day.step(
            "who has joined stays when the discharge is cancelled, and staff are told",
            "已入群者在撤销出院后留在群内，并通知医护",
        ):
            await self._wire.publish(
                self._cancelled(stay, self._discharges.sent[stay.encounter_id])
            )
            for staff in (STAFF["d-3001"], STAFF["n-4001"]):
                await self._wire.told(
                    staff.caller, "staff.discharge_cancelled", patient_id=stay.patient.id
                )
            await self._discharges.is_task("cancelled_after_joining", stay)
            groups = await self._wire.items(stay.patient.caller, "messaging", "/v1/groups")
            require(groups, "the member is still in the group")

    async def _cancelled_before_it_came(self) -> None:
        stay = self._plan.cancelled_first
        async with self._day.step(
            "a discharge whose cancellation came first invites nobody", "先到的撤销使出院不再邀请"
        ):
            with self._wire.tracing("a cancelled discharge") as traceparent:
                discharged = self._wire.event(stay.discharged())
                await self._wire.publish(self._cancelled(stay, discharged.id), discharged)
            await self._discharges.comes_to("discharge_cancelled", stay.encounter_id, traceparent)

    async def _a_mother_becomes_known(self) -> None:
        stay, mother = self._plan.late, self._plan.late_guardian
        async with self._day.step(
            "a mother who becomes known after the discharge is invited", "出院后登记的母亲收到邀请"
        ):
            await self._wire.publish(linked(stay.patient, mother, self._day.now()))
            await self._wire.hears(
                InvitationIssued, encounter_id=stay.encounter_id, person_id=mother.id
            )

    async def _a_member_is_not_invited_again(self) -> None:
        stay = self._plan.english
        async with self._day.step(
            "a member who leaves hospital again is not invited again",
            "已是群成员的再次出院不再邀请",
        ):
            id = f"{stay.encounter_id}-2"
            again = stay.discharged().model_copy(
                update={"encounter_id": id, "discharged_at": self._day.now()}
            )
            with self._wire.tracing("another discharge") as traceparent:
                await self._wire.publish(again)
            await self._discharges.comes_to("already_member", id, traceparent)
