"""What must happen when patients leave hospital?

The right people are invited and nobody else; what nobody can be invited to stands on the
staff's list; who accepts is in the group, who declines is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from libs.common.devstack.day.cast import OPS, STAFF, Caller, Person
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.plan import Outcome, Stay
from libs.common.devstack.day.wire import Failed, eventually, require
from libs.common.events import (
    DischargeCancelled,
    EncounterDischarged,
    GuardianLinked,
    InvitationDeclined,
    InvitationIssued,
    InvitationWithdrawn,
    LinkScope,
    MemberJoined,
    Relationship,
)

INVITED = "invitation.issued"
#: Seconds between two discharges, so that the day can be watched.
PACE = 0.15
#: How many of the invited answer at once; the others' invitations stay open to be tried.
ACCEPTING = 10


class Discharges:
    def __init__(self, day: Day) -> None:
        self._day, self._wire, self._plan = day, day.wire, day.plan
        #: encounter -> the discharge's event id and its trace.
        self._sent: dict[str, str] = {}
        self.traces: dict[str, str] = {}
        #: Who has joined: (stay, person, group).
        self.joined: list[tuple[Stay, Person, str]] = []

    async def leave(self) -> None:
        """Thirty discharges, one after another, and what they lead to."""
        stays = self._plan.stays
        async with self._day.step(
            f"{len(stays)} patients leave hospital", f"{len(stays)} 位患者出院"
        ):
            for stay in stays:
                await self._discharge(stay)
                await asyncio.sleep(PACE)
        invited = [s for s in stays if s.invited]
        async with self._day.step(
            f"after {len(invited)} of them the right persons are invited, to the right groups",
            f"其中 {len(invited)} 位：正确的人收到正确群的邀请",
        ):
            await asyncio.gather(*(self._is_invited(s) for s in invited))
        async with self._day.step(
            "who can't be invited stands on the staff's list, with the reason",
            "无法邀请的列入工作人员待办，并注明原因",
        ):
            for stay in (self._plan.no_programme, self._plan.alone, self._plan.late):
                await self._is_task(stay.outcome.value, stay)

    async def _discharge(self, stay: Stay) -> None:
        with self._wire.tracing(f"discharge from {stay.department}") as trace:
            (id,) = await self._wire.publish(stay.discharged())
        self._sent[stay.encounter_id] = id
        self.traces[stay.encounter_id] = trace

    async def _is_invited(self, stay: Stay) -> None:
        for person in stay.invited:
            told = await self._wire.hears(
                InvitationIssued,
                f"{person.id} is invited after {stay.encounter_id}",
                encounter_id=stay.encounter_id,
                person_id=person.id,
            )
            require(
                told.programme_id == stay.programme,
                f"{stay.encounter_id} leads to {stay.programme}, not {told.programme_id}",
            )
            await self.link(person)

    async def link(self, person: Person, count: int = 1) -> str:
        """The link that arrived in the person's inbox; of ``count`` invitations the latest."""
        message = await self._wire.told(person.caller, INVITED, count)
        require("/accept#token=" in (message["link"] or ""), f"{person.id} got a link")
        return str(message["link"])

    async def _is_task(self, reason: str, stay: Stay) -> None:
        nurses = [
            p for p in STAFF.values() if stay.department in p.departments and p.role == "nurse"
        ]
        who = nurses[0].caller if nurses else OPS

        async def look() -> Any:
            tasks = await self._wire.items(who, "enrollment", "/v1/staff-tasks")
            return [
                t for t in tasks
                if (t["encounter_id"], t["reason"], t["status"])
                == (stay.encounter_id, reason, "open")
            ]  # fmt: skip

        await eventually(f"{stay.encounter_id} is on the list as {reason}", look)

    # -- answers ------------------------------------------------------------------------

    async def answer(self) -> None:
        """Some accept, with or without the consent to health data; one declines."""
        stays = [s for s in self._plan.usual if s is not self._plan.english]
        accepting, declining = stays[:ACCEPTING], stays[ACCEPTING]
        english = self._plan.english
        async with self._day.step(
            "the accept page opens in Chinese and in English", "邀请页面可用中文和英文打开"
        ):
            for language, text in (("zh-CN", "120"), ("en", "emergency")):
                page = await self._wire.call(
                    None, "GET", "enrollment", "/accept", headers={"Accept-Language": language}
                )
                require(text in page.text, f"the page in {language}")
        async with self._day.step(
            f"{len(accepting) + 1} families accept, one declines", "多个家庭接受邀请，一人谢绝"
        ):
            await asyncio.gather(*(self.accept(s, p) for s in accepting for p in s.invited))
            await self.accept(english, english.patient)
            await self.accept(self._plan.cancelled_joined, self._plan.cancelled_joined.patient)
            await self._decline(declining)

    async def accept(self, stay: Stay, person: Person, count: int = 1) -> None:
        link = await self.link(person, count)
        body = {"token": link, "consent_to_rules": True, "consent_to_health_data": True}
        with self._wire.tracing("an invitation is accepted"):
            done = await self._wire.post(None, "enrollment", "/v1/invitations/accept", body)
        await self._wire.hears(MemberJoined, person_id=person.id, group_id=done["group_id"])
        self.joined.append((stay, person, done["group_id"]))

    async def _decline(self, stay: Stay) -> None:
        person = stay.invited[0]
        link = await self.link(person)
        await self._wire.post(None, "enrollment", "/v1/invitations/decline", {"token": link})
        await self._wire.hears(
            InvitationDeclined, encounter_id=stay.encounter_id, person_id=person.id
        )
        again = {"token": link, "consent_to_rules": True}
        problem = await self._wire.post(
            None, "enrollment", "/v1/invitations/accept", again, expect=422
        )
        require(problem["reason"] == "invitation_declined", problem["reason"])

    # -- second thoughts ----------------------------------------------------------------

    async def change_minds(self) -> None:
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
            link = await self.link(stay.patient)
            await self._wire.publish(self._cancelled(stay, self._sent[stay.encounter_id]))
            await self._wire.hears(InvitationWithdrawn, encounter_id=stay.encounter_id)
            body = {"token": link, "consent_to_rules": True}
            problem = await self._wire.post(
                None, "enrollment", "/v1/invitations/accept", body, expect=422
            )
            require(problem["reason"] == "invitation_withdrawn", problem["reason"])
            await self._discharge(stay)
            await self.accept(stay, stay.patient, count=2)

    async def _cancelled_after_joining(self) -> None:
        stay = self._plan.cancelled_joined
        async with self._day.step(
            "who has joined stays when the discharge is cancelled, and staff are told",
            "已入群者在撤销出院后留在群内，并通知医护",
        ):
            await self._wire.publish(self._cancelled(stay, self._sent[stay.encounter_id]))
            for staff in (STAFF["d-3001"], STAFF["n-4001"]):
                await self._wire.told(
                    staff.caller, "staff.discharge_cancelled", patient_id=stay.patient.id
                )
            await self._is_task("cancelled_after_joining", stay)
            groups = await self._wire.items(stay.patient.caller, "messaging", "/v1/groups")
            require(groups, "the member is still in the group")

    async def _cancelled_before_it_came(self) -> None:
        stay = self._plan.cancelled_first
        async with self._day.step(
            "a discharge whose cancellation came first invites nobody", "先到的撤销使出院不再邀请"
        ):
            discharged = self._wire.event(stay.discharged())
            await self._wire.publish(self._cancelled(stay, discharged.id), discharged)

    async def _a_mother_becomes_known(self) -> None:
        stay, mother = self._plan.late, self._plan.late_guardian
        async with self._day.step(
            "a mother who becomes known after the discharge is invited", "出院后登记的母亲收到邀请"
        ):
            await self._wire.publish(
                GuardianLinked(
                    patient_id=stay.patient.id,
                    person_id=mother.id,
                    relationship=Relationship.MOTHER,
                    scope=(LinkScope.FULL,),
                    verified_by="household_register",
                    linked_at=self._day.now(),
                    contact=self._day.contact(mother),
                )
            )
            await self._wire.hears(
                InvitationIssued, encounter_id=stay.encounter_id, person_id=mother.id
            )

    async def _a_member_is_not_invited_again(self) -> None:
        stay = self._plan.english
        async with self._day.step(
            "a member who leaves hospital again is not invited again",
            "已是群成员的再次出院不再邀请",
        ):
            again = stay.discharged().model_copy(
                update={"encounter_id": f"{stay.encounter_id}-2", "discharged_at": self._day.now()}
            )
            await self._wire.publish(again)

    # -- at the end ---------------------------------------------------------------------

    async def nobody_else(self) -> None:
        """The deceased, the transferred, the past: now that all is quiet, nobody was invited."""
        plan = self._plan
        silent = (plan.alone, plan.no_programme, plan.deceased, plan.transferred, plan.past)
        async with self._day.step(
            "nobody else was invited: not after a death, a transfer, or long ago",
            "其他人未被邀请：去世、转院、历史补录等",
        ):
            for stay in (*silent, plan.cancelled_first):
                require(stay.outcome is not Outcome.INVITED, "the plan")
                require(
                    not self._wire.heard(InvitationIssued, encounter_id=stay.encounter_id),
                    f"{stay.encounter_id} invited nobody",
                )
                require(
                    not await self._wire.inbox(stay.patient.caller),
                    f"{stay.patient.id} heard nothing",
                )
            again = f"{plan.english.encounter_id}-2"
            require(
                not self._wire.heard(InvitationIssued, encounter_id=again),
                f"{again} invited nobody",
            )
            known = {s.encounter_id for s in (*plan.stays, plan.cancelled_first)}
            sent = {e.data.encounter_id for e in self._wire.heard(EncounterDischarged)}  # type: ignore[attr-defined]
            if not known <= sent:
                raise Failed(f"not all discharges were heard: {sorted(known - sent)}")


def first_with(joined: Sequence[tuple[Stay, Person, str]], department: str) -> tuple[Person, str]:
    """The first member of a group of the department, and the group."""
    return next((p, g) for s, p, g in joined if s.department == department)


def staff_of(department: str, role: str) -> Caller:
    return next(
        p.caller for p in STAFF.values() if p.role.value == role and department in p.departments
    )
