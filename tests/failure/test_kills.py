"""Is anything lost or done twice when parts are killed while all three journeys run?

Every discharge and report is published twice, the second time after something was killed.
Each service, both replicas of enrollment, the broker and the database get a ``kill -9`` in
turn and are started again; nobody helps the others.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from libs.common.cloudevents import CloudEvent
from tests.failure.journeys import Discharges, Refills, Reports, Told
from tests.simulators.smtp import MailServer
from tests.simulators.webhooks import WebhookReceiver
from tests.support.platform import PARTS, Hospital, Platform

DISCHARGES, REPORTS = 1_000, 400
#: Ten times as high, so that nobody of them has a report, too.
PATIENTS = range(5_000, 5_024)


async def kill_in_turn(
    platform: Platform, h: Hospital, parts: tuple[str, ...], chunks: list[list[CloudEvent]]
) -> None:
    """A chunk is published, and while it is handled a part is killed; then the chunk again."""
    for part, chunk in zip(parts, chunks, strict=True):
        await h.publish(*chunk)
        await asyncio.sleep(0.3)
        await platform.kill(part)
        repeating = asyncio.create_task(h.publish(*chunk))  # waits while the broker is away
        await asyncio.sleep(1)
        await platform.start(part)
        await repeating


def chunked(parts: int, *journeys: tuple[Discharges | Reports, int]) -> list[list[CloudEvent]]:
    def of(n: int) -> list[CloudEvent]:
        spans = [(j, n * count // parts, (n + 1) * count // parts) for j, count in journeys]
        return [e for j, begin, end in spans for e in j.events(begin, end)]

    return [of(n) for n in range(parts)]


@pytest.mark.timeout(600)
async def test_each_part_is_killed_and_everything_happens_exactly_once(
    platform: Platform, hospital: Hospital, mails: MailServer, hooks: WebhookReceiver
) -> None:
    discharges = Discharges(hospital, DISCHARGES)
    reports = Reports(hospital, REPORTS)
    refills = Refills(hospital, PATIENTS, pace=4.0)
    chunks = chunked(len(PARTS), (discharges, DISCHARGES), (reports, REPORTS))
    await hospital.publish(*refills.events())

    renewing = asyncio.create_task(refills.run())
    await kill_in_turn(platform, hospital, PARTS, chunks)
    # A replica that goes in good order and comes again moves partitions once more.
    await platform.kill("enrollment-2", signal.SIGTERM)
    await hospital.publish(*chunks[0])
    await platform.start("enrollment-2")
    await renewing
    await hospital.settled()

    assert all(platform.stack.parts[part].running() for part in PARTS)
    await discharges.check()
    await reports.check()
    await refills.check()
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
