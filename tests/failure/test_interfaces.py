"""Is every message that was acknowledged told, exactly once, whatever is killed meanwhile?

A hospital's system sends HL7 v2 as such systems do: one message after another on a
connection, and the same one again until it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Final

import pytest

from libs.common.devstack.mllp import Sender
from libs.common.events import EncounterDischarged, InvitationIssued
from services.interop.settings import Settings
from tests.failure.journeys import require_each, require_order
from tests.support import topics
from tests.support.platform import Hospital, Platform

MESSAGES: Final = 240
CONNECTIONS: Final = 4
#: Seconds between two messages, so that they go on until the last part is killed.
PACE: Final = 0.25
KILLED: Final = ("interop", "kafka", "interop", "mongo")
#: Whose messages come in over MLLP.
HOSPITAL: Final = Settings.model_fields["interop_hospital"].default


def discharge(n: int, at: datetime) -> bytes:
    time = at.strftime("%Y%m%d%H%M%S%z")
    pv1 = "|".join(["I", "NEURO", *[""] * 15, f"hl7-e{n}", *[""] * 16, "01", *[""] * 8, time])
    segments = (
        f"MSH|^~\\&|HIS|KILLS|LIANXIN|LX|{time}||ADT^A03|K{n}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||hl7-p{n}^^^^PI||甲{n}||19600101|F",
        f"PV1||{pv1}",
        "DG1|1||I63.900x001^脑梗死^ICD10|||F",
    )
    return "".join(f"{s}\r" for s in segments).encode()


class HospitalSystem:
    """Sends its messages in order over one connection, each until it is acknowledged."""

    def __init__(self, port: int, messages: list[bytes], pace: float = 0.0) -> None:
        self._port, self._messages, self._pace = port, messages, pace
        self.answers: Counter[str] = Counter()

    async def run(self) -> None:
        waiting = list(self._messages)
        while waiting:
            try:
                async with Sender(self._port) as connection:
                    while waiting:
                        code = (await connection.send(waiting[0])).code
                        self.answers[code] += 1
                        if code == "AA":
                            waiting.pop(0)
                            await asyncio.sleep(self._pace)
                        else:
                            await asyncio.sleep(0.2)
            except (OSError, EOFError, TimeoutError):
                self.answers["none"] += 1
                await asyncio.sleep(0.1)


@pytest.mark.timeout(400)
async def test_every_acknowledged_message_is_told_exactly_once_whatever_is_killed(
    platform: Platform,
) -> None:
    port = platform.stack.ports.mllp
    async with Hospital(platform, HOSPITAL) as hospital:
        at = hospital.ports.clock.now() - timedelta(hours=1)
        all = [discharge(n, at) for n in range(MESSAGES)]
        systems = [HospitalSystem(port, all[n::CONNECTIONS], PACE) for n in range(CONNECTIONS)]
        async with asyncio.TaskGroup() as sending:
            for system in systems:
                sending.create_task(system.run())
            for part in KILLED:
                await asyncio.sleep(0.4)
                await platform.kill(part)
                await platform.start(part)
        struck = sum((s.answers for s in systems), Counter[str]())
        assert struck["none"] >= CONNECTIONS, "the kills came in the middle of it"
        again = HospitalSystem(port, all)
        await again.run()
        await hospital.settled()

        assert again.answers == {"AA": MESSAGES}, "what was stored is acknowledged again"
        kept = await hospital.rows("interop", "messages")
        require_each((r["control"] for r in kept), [f"HIS|KILLS|K{n}" for n in range(MESSAGES)])
        told = await hospital.standing("hospital.encounters", "enrollment.events")
        mine = [e for e in told if str(getattr(e.data, "patient_id", "")).startswith("hl7-p")]
        stays = [f"hl7-e{n}" for n in range(MESSAGES)]
        for kind in (EncounterDischarged, InvitationIssued):
            found = (e.data for e in topics.once(mine) if isinstance(e.data, kind))
            require_each((data.encounter_id for data in found), stays)
        require_order(e for e in mine if isinstance(e.data, InvitationIssued))
