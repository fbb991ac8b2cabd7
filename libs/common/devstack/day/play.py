"""How is a hospital day played through the running platform?

Its acts run side by side as in a hospital. Every step is checked against what must
happen; the first that fails ends the day, and :func:`play` answers 1.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from libs.common.devstack.day.cast import STAFF, Casting, Patient
from libs.common.devstack.day.changes import Changes
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.conversation import Conversation
from libs.common.devstack.day.diary import Diary, StepFailed
from libs.common.devstack.day.discharges import Discharges
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.day.interfaces import Interfaces
from libs.common.devstack.day.plan import Plan, Planning
from libs.common.devstack.day.records import family, practitioner
from libs.common.devstack.day.renewals import Renewals
from libs.common.devstack.day.results import Results
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.stack import Stack
from libs.common.devstack.timeline import Timeline
from libs.common.events import NotificationFailed, PatientRegistered

#: The day's number counts seconds from here, so that no two days share their people.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # without letters that look like digits
SERVICES_OF_A_DISCHARGE = {"enrollment", "messaging", "notify"}


def play_day(stack: Stack, timeline: Timeline) -> int:
    """:func:`play`; a signal ends the day in good order before its own handler runs."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    came: list[signal.Signals] = []

    async def interruptible() -> int:
        playing = asyncio.create_task(play(stack, timeline))

        def stop(number: signal.Signals) -> None:
            came.append(number)
            playing.cancel()

        for number in handlers:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await asyncio.wait([playing])
        return 1 if playing.cancelled() else playing.result()

    try:
        return asyncio.run(interruptible())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


async def play(stack: Stack, timeline: Timeline) -> int:
    """Play the day; 0, or 1 after the step that failed has been told.

    ``DAY`` names a day whose people shall be played; else each day has its own.
    """
    name = os.environ.get("DAY") or named(int((datetime.now(UTC) - EPOCH).total_seconds()))
    diary = Diary(timeline.tell)
    began = asyncio.get_running_loop().time()
    async with Wire.to(stack) as wire:
        try:
            await _play(wire, diary, name)
        except* StepFailed:
            first = diary.failed[0]
            await diary.say(f"the day failed at: {first}", f"这一天未能完成，失败于：{first}")
    if diary.failed:
        return 1
    seconds = asyncio.get_running_loop().time() - began
    await diary.say(
        f"the day is over: {diary.steps} steps in {seconds:.0f} s, all as they must be",
        f"这一天结束：{diary.steps} 个步骤全部符合预期，用时 {seconds:.0f} 秒",
    )
    return 0


def named(seconds: int) -> str:
    """A number in a few letters, as it stands in the ids of the day."""
    text = ""
    while seconds:
        seconds, digit = divmod(seconds, len(DIGITS))
        text = DIGITS[digit] + text
    return text or "0"


async def _play(wire: Wire, diary: Diary, name: str) -> None:
    now = wire.ports.clock.now()
    casting = Casting(name, now.astimezone(ZONE).date(), f"{wire.page}/webhook")
    day = Day(name, wire, diary, Planning(casting, now).plan())
    renewals = Renewals(day, casting.adult(age=66), casting.child("mother", age=9))
    await _becomes_known(day, renewals)
    discharges, results = Discharges(day), Results(day)
    interfaces = Interfaces(day, casting.adult(age=71))
    adults, child = _for_reports(day.plan)
    async with asyncio.TaskGroup() as acts:
        acts.create_task(_stays(day, discharges))
        acts.create_task(results.play(adults, child))
        acts.create_task(renewals.of_an_adult())
        acts.create_task(renewals.of_a_child())
        acts.create_task(interfaces.play())
    await discharges.nobody_else()
    await _is_shown(day, discharges)


async def _stays(day: Day, discharges: Discharges) -> None:
    await discharges.leave()
    await discharges.answer()
    async with asyncio.TaskGroup() as acts:
        acts.create_task(Conversation(day, tuple(discharges.joined)).play())
        acts.create_task(Changes(day, discharges).play())


def _for_reports(plan: Plan) -> tuple[list[Patient], Patient]:
    patients = [s.patient for s in plan.usual]
    return (
        [p for p in patients if not p.guardians],
        next(p for p in patients if len(p.guardians) == 2),
    )


async def _becomes_known(day: Day, renewals: Renewals) -> None:
    """Staff, patients, guardians and old prescriptions, as the hospital's systems tell them."""
    now, wire = day.now(), day.wire
    # Their records are older than anything that happens to them today.
    earlier = now - timedelta(hours=6)
    patients = [*day.plan.patients, renewals.adult, renewals.child]
    staff = [practitioner(p, now) for p in STAFF.values()]
    people = [e for p in patients for e in family(p, earlier)]
    guardians = len(people) - len(patients)
    async with day.step(
        f"day {day.id} begins: {len(staff)} staff, {len(patients)} patients, "
        f"{guardians} guardians become known",
        f"{day.id} 日开始：{len(staff)} 名医护、{len(patients)} 位患者、{guardians} 位监护人建档",
    ):
        await wire.publish(*staff, *people, *renewals.prescriptions())
        await wire.hears(PatientRegistered, patient_id=patients[-1].id)


async def _is_shown(day: Day, discharges: Discharges) -> None:
    wire, english = day.wire, day.plan.english
    async with day.step(
        "mail and app messages have arrived on the phones", "邮件和应用消息已到达手机"
    ):
        invited = {p.id: p for s in day.plan.usual for p in s.invited}

        async def look() -> bool:
            found = (await wire.get(None, "page", "/api/phones"))["phones"]
            got = {p["person"]: {m["channel"] for m in p["messages"]} for p in found}
            return all(
                got.get(id, set()) >= {"inbox", "webhook" if p.webhook else "email"}
                for id, p in invited.items()
            )

        await eventually("everybody invited has it on the phone", look)
    async with day.step(
        "one discharge is one trace through the services", "一次出院是贯穿各服务的一条追踪"
    ):
        trace = discharges.traces[english.encounter_id][3:35]

        async def traced() -> bool:
            answer = await wire.call(None, "GET", "page", f"/api/traces/{trace}", expect=None)
            found = answer.json()["services"] if answer.status_code == 200 else []
            return set(found) >= SERVICES_OF_A_DISCHARGE

        await eventually(f"its trace goes through {sorted(SERVICES_OF_A_DISCHARGE)}", traced)
    async with day.step("nothing was set aside, no channel gave up", "没有死信，没有发送失败"):
        require(not wire.dead_letters, f"no dead letters, but {wire.dead_letters[:3]}")
        failed = wire.heard(NotificationFailed)
        require(not failed, f"no channel failed, but {len(failed)} did")
