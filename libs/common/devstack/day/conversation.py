"""What must happen in the groups when people have joined?

Each new member is welcomed, finds the rules and the education sheets, and gets an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libs.common.devstack.day.cast import STAFF, Caller, Person
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.day.plan import Stay
from libs.common.events import QuestionAnswered, QuestionAsked

QUESTION = "医生您好，出院后第三天左手还有点麻，需要提前复查吗？"
ANSWER = "您好，轻微麻木在恢复期常见，复查按出院单时间即可。突然加重或说话不清请拨打 120。"


class Conversation:
    def __init__(self, day: Day, joined: Sequence[tuple[Stay, Person, str]]) -> None:
        self._day, self._wire, self._joined = day, day.wire, joined

    async def play(self) -> None:
        async with self._day.step(
            "every new member is welcomed, with the rules and the education sheets",
            "每位新成员收到欢迎语、群规和宣教资料",
        ):
            for stay, person, group_id in self._joined:
                await self._welcomed(stay, person, group_id)
        stay, person, group_id = next(j for j in self._joined if j[0].programme == "stroke")
        async with self._day.step(
            "a member asks, the nurse finds the question and answers, the member is told",
            "群成员提问，护士在待答列表中回复，成员收到通知",
        ):
            await self._question(person.caller, STAFF["n-4001"].caller, group_id)
        async with self._day.step(
            "for somebody outside, the group does not exist", "群外的人看不到该群"
        ):
            outside = self._day.plan.no_programme.patient.caller
            await self._wire.get(
                outside, "messaging", f"/v1/groups/{group_id}/messages", expect=404
            )

    async def _welcomed(self, stay: Stay, person: Person, group_id: str) -> None:
        path = f"/v1/groups/{group_id}"

        async def look() -> Any:
            answer = await self._wire.call(
                person.caller, "GET", "messaging", f"{path}/messages", expect=None
            )
            if answer.status_code != 200:
                return None
            return [
                m for m in answer.json()["items"] if m["kind"] == "welcome" and m["only_for_me"]
            ]

        (welcome,) = await eventually(f"{person.id} is welcomed in {group_id}", look)
        require("120" in welcome["text"], "the welcome says to call 120")
        group = await self._wire.get(person.caller, "messaging", path)
        kinds = {m["kind"] for m in group["pinned"]}
        require("rules" in kinds, "the rules are pinned")
        if stay.programme not in ("neuro", "gi-surgery"):  # for all others there are sheets
            require("education" in kinds, f"{stay.programme} has education sheets")

    async def _question(self, member: Caller, nurse: Caller, group_id: str) -> None:
        path = f"/v1/groups/{group_id}/messages"
        asked = await self._wire.post(member, "messaging", path, {"text": QUESTION}, expect=201)
        await self._wire.hears(QuestionAsked, question_id=asked["id"])
        await self._wire.told(nurse, "question.asked")
        waiting = await self._wire.items(nurse, "messaging", "/v1/questions")
        require(asked["id"] in [q["message"]["id"] for q in waiting], "the nurse finds it")
        reply = {"text": ANSWER, "reply_to": asked["id"]}
        await self._wire.post(nurse, "messaging", path, reply, expect=201)
        await self._wire.hears(QuestionAnswered, question_id=asked["id"], answered_by=nurse.id)
        await self._wire.told(member, "question.answered")
        read = await self._wire.get(member, "messaging", path)
        require(ANSWER in [m["text"] for m in read["items"]], "the member reads the answer")
