"""Is every message that was acknowledged told, exactly once, whatever is killed meanwhile?

A hospital's system sends HL7 v2 as such systems do: one message after another on a
connection, and the same one again until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import httpx
import pytest

from libs.common.devstack.mllp import Sender
from libs.common.events import EVENT_TYPES, EncounterDischarged, InvitationIssued, PatientDeceased
from services.interop.settings import Settings
from tests.failure.journeys import require_each, require_order
from tests.support import topics
from tests.support.platform import Hospital, Platform, eventually

CONNECTIONS: Final = 4
#: From which number on a test sends messages of its own, beside those from 0: all share the topics.
AWAY, SAMPLED, ROLLED = 1_000_000, 2_000_000, 3_000_000
#: Seconds between an answer and the next message.
PACE: Final = 0.1
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
    """Sends messages in order over one connection, each until it is acknowledged.

    ``port`` is asked for each connection: several replicas may listen.
    """

    def __init__(
        self, port: Callable[[], int], messages: Iterable[bytes], pace: float = 0.0
    ) -> None:
        self._port, self._messages, self._pace = port, messages, pace
        self.answers: Counter[str] = Counter()
        self.acknowledged = 0
        self.in_flight = False  # sent and not answered
        self.stop = False

    async def run(self) -> None:
        messages = iter(self._messages)
        message = next(messages, None)
        while message is not None:
            try:
                async with Sender(self._port()) as connection:
                    while message is not None:
                        self.in_flight = True
                        code = (await connection.send(message)).code
                        self.in_flight = False
                        self.answers[code] += 1
                        if code == "AA":
                            self.acknowledged += 1
                            message = None if self.stop else next(messages, None)
                        await asyncio.sleep(self._pace if code == "AA" else 0.2)
            except (OSError, EOFError, TimeoutError):
                self.answers["none"] += 1
                await asyncio.sleep(0.1)
            finally:
                self.in_flight = False


class Senders:
    """All of them, and what happens to the platform while they send."""

    def __init__(self, platform: Platform, at: datetime) -> None:
        self._platform = platform
        port = platform.stack.ports.mllp
        self.systems = [
            HospitalSystem(
                lambda: port, (discharge(n, at) for n in itertools.count(first, CONNECTIONS)), PACE
            )
            for first in range(CONNECTIONS)
        ]

    @property
    def acknowledged(self) -> list[int]:
        """The numbers of the messages that were."""
        return [
            first + n * CONNECTIONS
            for first, system in enumerate(self.systems)
            for n in range(system.acknowledged)
        ]

    async def goes_on(self, messages: int = 8) -> None:
        """So many more are acknowledged."""
        enough = len(self.acknowledged) + messages
        await eventually(lambda: self._true(len(self.acknowledged) >= enough))

    async def all_wait(self) -> None:
        """Each has sent a message and has no answer."""
        await eventually(lambda: self._true(all(s.in_flight for s in self.systems)), every=0.02)

    @staticmethod
    async def _true(value: bool) -> bool:
        return value

    def signal(self, part: str, sig: signal.Signals) -> None:
        self._platform.stack.parts[part].kill(sig)

    async def killed_in_full_swing(self, part: str) -> None:
        await self.goes_on()
        await self._platform.kill(part)
        await self._platform.start(part)

    async def killed_between_message_and_answer(self, part: str) -> None:
        """The database stands still, so that there is a message on every connection of which
        nobody can say whether it is stored, when ``part`` is killed."""
        await self.goes_on()
        self.signal("mongo", signal.SIGSTOP)
        await self.all_wait()
        await self._platform.kill(part)
        self.signal("mongo", signal.SIGCONT)
        await self._platform.start(part)

    async def killed_with_what_was_not_told(self) -> None:
        """The broker is away: what is acknowledged waits, and its service dies."""
        await self.goes_on()
        await self._platform.kill("kafka")
        await self.goes_on()
        await self._platform.kill("interop")
        await self._platform.start("kafka")
        await self._platform.start("interop")


@pytest.mark.timeout(600)
async def test_every_acknowledged_message_is_told_exactly_once_whatever_is_killed(
    platform: Platform,
) -> None:
    async with Hospital(platform, HOSPITAL) as hospital:
        at = hospital.ports.clock.now() - timedelta(hours=1)
        senders = Senders(platform, at)
        async with asyncio.TaskGroup() as sending:
            for system in senders.systems:
                sending.create_task(system.run())
            await senders.killed_in_full_swing("interop")
            await senders.killed_between_message_and_answer("interop")
            await senders.killed_with_what_was_not_told()
            await senders.killed_between_message_and_answer("mongo")
            await senders.killed_in_full_swing("mongo")
            await senders.goes_on()
            for system in senders.systems:
                system.stop = True
        struck = sum((s.answers for s in senders.systems), Counter[str]())
        # interop three times; nobody else's death ends a connection.
        assert struck["none"] >= 3 * CONNECTIONS, "the kills came in the middle of it"
        await hospital.settled()

        # Before anything is sent again, or that would make good what was lost.
        numbers = senders.acknowledged
        await all_told_once(hospital, numbers)
        port = platform.stack.ports.mllp
        again = HospitalSystem(lambda: port, [discharge(n, at) for n in numbers])
        await again.run()
        assert again.answers == {"AA": len(numbers)}, "what was stored is acknowledged again"
        await hospital.settled()
        await all_told_once(hospital, numbers)


@pytest.mark.timeout(300)
async def test_without_the_database_nothing_is_taken_and_then_the_same_bytes_are(
    platform: Platform,
) -> None:
    async with Hospital(platform, HOSPITAL) as hospital:
        number = AWAY
        message = discharge(number, hospital.ports.clock.now() - timedelta(hours=1))
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "https://his.hospital.example/",
            "type": PatientDeceased.TYPE,
            "time": "2026-11-18T01:12:00Z",
            "data": {
                "patient_id": f"away-{uuid.uuid4().hex}",
                "deceased_at": "2026-11-18T01:00:00Z",
            },
        }
        url = platform.stack.service_url("interop") + "/v1/events"
        headers = hospital.headers("sample-partner", "integration")
        headers |= {"Content-Type": "application/cloudevents+json"}

        async def by_http() -> httpx.Response:
            return await hospital.http.post(url, content=json.dumps(event), headers=headers)

        async def by_mllp() -> str:
            try:
                async with Sender(platform.stack.ports.mllp) as his:
                    return (await his.send(message, 40)).code
            except (OSError, EOFError, TimeoutError):
                return "none"

        await platform.kill("mongo")
        answer, code = await asyncio.gather(by_http(), by_mllp())
        assert (answer.status_code, answer.json()["reason"]) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert code in ("AE", "none")
        await platform.start("mongo")
        control = f"HIS|KILLS|K{number}"
        assert await hospital.rows("interop", "messages", control=control) == []
        assert await hospital.untold("interop") == []

        async def taken() -> bool:
            return (await by_http()).status_code == 202 and await by_mllp() == "AA"

        await eventually(taken, 60)
        await hospital.settled()
        (kept,) = await hospital.rows("interop", "messages", control=control)
        promised = {(event["id"], PatientDeceased.TYPE), *((id, t) for t, id in kept["events"])}
        told = await hospital.standing(*{EVENT_TYPES[type].TOPIC for _, type in promised})
        assert promised <= {(e.id, e.type) for e in told}


async def all_told_once(hospital: Hospital, numbers: list[int]) -> None:
    """Each message is kept once, with events that each stand on their topics; and each stay
    was told once, and invited to once."""
    kept = await hospital.rows("interop", "messages", sender="HIS|KILLS")
    require_each((r["control"] for r in kept), [f"HIS|KILLS|K{n}" for n in numbers])
    promised = {id: type for row in kept for type, id in row["events"]}
    told = await hospital.standing(*{EVENT_TYPES[type].TOPIC for type in promised.values()})
    lost = promised.keys() - {e.id for e in told}
    assert not lost, Counter(promised[id] for id in lost)
    stays = [f"hl7-e{n}" for n in numbers]
    invited = await hospital.standing("enrollment.events")
    for kind, events in ((EncounterDischarged, told), (InvitationIssued, invited)):
        found = [e for e in topics.once(events) if isinstance(e.data, kind)]
        mine = [e for e in found if str(getattr(e.data, "encounter_id", "")).startswith("hl7-e")]
        require_each((getattr(e.data, "encounter_id", "") for e in mine), stays)
        if kind is EncounterDischarged:
            assert {e.id for e in mine} <= promised.keys()
        else:
            require_order(mine)
