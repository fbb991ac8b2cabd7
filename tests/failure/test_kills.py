"""Is anything lost or done twice when parts are killed while all three journeys run?

Events stream in and people act all the time, so that whatever is killed is in the middle of
its work. Every discharge and report is published twice, the second time after something was
killed. Each service, both replicas of enrollment, the broker and the database get a
``kill -9`` in turn and are started again; nobody helps the others.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence

import pytest

from libs.common.cloudevents import CloudEvent
from tests.failure.journeys import Discharges, Joining, Refills, Reports, Told
from tests.simulators.smtp import MailServer
from tests.simulators.webhooks import WebhookReceiver
from tests.support.platform import PARTS, REPLICAS, Hospital, Platform, eventually

DISCHARGES, REPORTS = 1_000, 400
#: The broker while people still act, the database last: it ends what the dead have left open.
IN_TURN = ("prescriptions", "kafka", *(p for p in REPLICAS if p != "prescriptions"), "mongo")
#: Who renews medicines: nobody of those who leave hospital.
PATIENTS = range(5_000, 5_024)
#: How much goes out at a time, and the seconds between: faster than it is handled.
SLICE, GAP = 6, 0.02


async def stream(h: Hospital, events: Sequence[CloudEvent]) -> None:
    """Publish a few at a time; while the broker is away they wait."""
    for begin in range(0, len(events), SLICE):
        await h.publish(*events[begin : begin + SLICE])
        await asyncio.sleep(GAP)


async def kill_in_turn(
    platform: Platform, h: Hospital, parts: Sequence[str], chunks: Sequence[list[CloudEvent]]
) -> None:
    """While a chunk streams in, a part is killed; after it has come back the chunk comes again."""
    moments = random.Random(9)  # when in the stream; the same in every run
    for part, chunk in zip(parts, chunks, strict=True):
        streaming = asyncio.create_task(stream(h, chunk))
        await asyncio.sleep(moments.uniform(0.2, 0.6))
        await platform.kill(part)
        if part == "kafka":
            await kill_with_full_outbox(platform, h, "prescriptions")
        await platform.start(part)
        await streaming
        await stream(h, chunk)


async def kill_with_full_outbox(platform: Platform, h: Hospital, service: str) -> None:
    """The broker is away and people go on: what is to be told waits, and its service dies."""

    async def waits() -> bool:
        return len(await h.untold(service)) >= 3

    await eventually(waits, 30)
    await platform.kill(service)
    await platform.start(service, wait=False)


def chunked(parts: int, *journeys: tuple[Discharges | Reports, int]) -> list[list[CloudEvent]]:
    """The journeys' events in ``parts`` equal chunks, mixed."""

    def of(n: int) -> list[CloudEvent]:
        spans = [(j, n * count // parts, (n + 1) * count // parts) for j, count in journeys]
        events = [e for j, begin, end in spans for e in j.events(begin, end)]
        return sorted(events, key=lambda e: e.id[::-1])

    return [of(n) for n in range(parts)]


@pytest.mark.timeout(600)
async def test_each_part_is_killed_and_everything_happens_exactly_once(
    platform: Platform, hospital: Hospital, mails: MailServer, hooks: WebhookReceiver
) -> None:
    discharges, reports = Discharges(hospital, DISCHARGES), Reports(hospital, REPORTS)
    refills, joining = Refills(hospital, PATIENTS, pace=5.0), Joining(hospital, DISCHARGES, each=5)
    chunks = chunked(len(IN_TURN), (discharges, DISCHARGES), (reports, REPORTS))
    await hospital.publish(*refills.events())

    async with asyncio.TaskGroup() as people:
        people.create_task(refills.run())
        people.create_task(joining.run())
        await kill_in_turn(platform, hospital, IN_TURN, chunks)
        # A replica that goes in good order and comes again moves partitions once more.
        await platform.kill("enrollment-2", signal.SIGTERM)
        await stream(hospital, chunks[0])
        await platform.start("enrollment-2")
    await hospital.settled()

    assert all(platform.stack.parts[part].running() for part in PARTS)
    for journey in (discharges, reports, refills, joining):
        await journey.check()
    told = Told(hospital, mails, hooks)
    await told.check("invitation.issued", range(DISCHARGES))
    await told.check("report.ready", range(REPORTS))
    await told.check("refill.effective", PATIENTS, each=3)
    await told.check_calls()
    assert await hospital.letters() == []


#: Seconds after which a part is killed, since the events went out.
MOMENTS = (0.0, 0.05, 0.2, 0.5, 1.5)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("journey", ["discharges", "reports", "refills"])
async def test_whichever_part_is_killed_whenever_in_whichever_journey(
    platform: Platform,
    hospital: Hospital,
    mails: MailServer,
    hooks: WebhookReceiver,
    journey: str,
    moment: float,
    part: str,
) -> None:
    count = 300
    told = Told(hospital, mails, hooks)
    if journey == "refills":
        refills = Refills(hospital, PATIENTS)
        await hospital.publish(*refills.events())
        renewing = asyncio.create_task(refills.run())
        await asyncio.sleep(moment)
        await platform.kill(part)
        await platform.start(part)
        await renewing
        await hospital.settled()
        await refills.check()
        await told.check("refill.effective", PATIENTS, each=3)
    else:
        made = Discharges(hospital, count) if journey == "discharges" else Reports(hospital, count)
        await hospital.publish(*made.events(0, count))
        await asyncio.sleep(moment)
        await platform.kill(part)
        repeating = asyncio.create_task(hospital.publish(*made.events(0, count)))
        await platform.start(part)
        await repeating
        await hospital.settled()
        await made.check()
        template = "invitation.issued" if journey == "discharges" else "report.ready"
        await told.check(template, range(count))
    await told.check_calls()
    assert await hospital.letters() == []
