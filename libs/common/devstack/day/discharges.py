"""What must happen when patients leave hospital?

The right people are invited and nobody else; what nobody can be invited to stands on the
staff's list; who accepts is in the group, who declines is not.
"""

from __future__ import annotations

import asyncio
from typing import Any

from libs.common.devstack.day.cast import OPS, STAFF, Person
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.day.plan import Stay
from libs.common.events import (
    EncounterDischarged,
    InvitationDeclined,
    InvitationIssued,
    MemberJoined,
)

INVITED = "invitation.issued"
#: Seconds between two discharges, so that the day can be watched.
PACE = 0.15
#: How many of the invited answer at once; the others' invitations stay open to be tried.
ACCEPTING = 10


class Discharges:
    def __init__(self, day: Day) -> None:
        self._day, self._wire, self._plan = day, day.wire, day.plan
        #: encounter -> the discharge's event id, and the ``traceparent`` of its trace.
        self.sent: dict[str, str] = {}
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
                await self.discharge(stay)
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
                await self.is_task(stay.outcome.value, stay)

    async def discharge(self, stay: Stay) -> None:
        with self._wire.tracing(f"discharge from {stay.department}") as traceparent:
            (id,) = await self._wire.publish(stay.discharged())
        self.sent[stay.encounter_id] = id
        self.traces[stay.encounter_id] = traceparent

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

    async def is_task(self, reason: str, stay: Stay) -> None:
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
        with self._wire.tracing("the invitation is accepted", self.traces[stay.encounter_id]):
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

    # -- nobody -------------------------------------------------------------------------

    async def comes_to(self, outcome: str, encounter_id: str, traceparent: str) -> None:
        """Enrollment has decided on the discharge, and nobody was invited by it."""
        decided = await self._wire.outcome(traceparent, "enrollment", EncounterDischarged)
        require(decided == outcome, f"{encounter_id} comes to {outcome}, not {decided}")
        require(
            not self._wire.heard(InvitationIssued, encounter_id=encounter_id),
            f"{encounter_id} invited nobody",
        )

    async def nobody_else(self) -> None:
        """The deceased, the transferred, the past: nobody has heard anything."""
        plan = self._plan
        async with self._day.step(
            "nobody is invited after a death, a transfer, or long ago",
            "去世、转院、历史补录的出院不邀请任何人",
        ):
            for outcome, stay in (
                ("deceased", plan.deceased),
                ("transferred", plan.transferred),
                ("backfill", plan.past),
                ("no_guardian", plan.alone),
                ("no_programme", plan.no_programme),
            ):
                traceparent = self.traces[stay.encounter_id]
                await self.comes_to(outcome, stay.encounter_id, traceparent)
                heard = await self._wire.inbox(stay.patient.caller)
                require(not heard, f"{stay.patient.id} heard nothing")
