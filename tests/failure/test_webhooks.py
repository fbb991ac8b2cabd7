"""Does a partner get every event, in order for each patient, whatever is killed meanwhile?

Interop is killed while it delivers, and the broker and the database under it. The receiver
fails now and then as well, and counts by what is first.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from itertools import cycle
from typing import Any, Final

import pytest

from libs.common.events import PatientDeceased
from services.interop.senders.cloudevents import HANDSHAKE
from tests.simulators.webhooks import webhook_receiver
from tests.support.platform import Hospital, Platform, eventually

PATIENTS: Final = 12
KILLED: Final = ("interop", "mongo", "interop", "kafka", "interop")
#: The hospital and the client of policies/partners/sample.yaml.
HOSPITAL: Final = "h1"
CLIENT: Final = "sample-partner"


async def _delivering(hospital: Hospital, path: str, headers: dict[str, str]) -> None:
    """Until something has been delivered and something has not."""

    async def under_way() -> bool:
        view = (await hospital.call("GET", "interop", path, headers=headers)).json()
        return bool(view.get("waiting"))

    await eventually(under_way, 60)


@pytest.mark.timeout(500)
async def test_every_event_is_delivered_in_order_and_numbered_without_gaps_whatever_is_killed(
    platform: Platform,
) -> None:
    async with Hospital(platform, HOSPITAL) as hospital, webhook_receiver() as receiver:
        headers = hospital.headers(CLIENT, "integration")
        terms = {
            "endpoint": receiver.url,
            "types": [PatientDeceased.TYPE],
            "filter": {"patient_id": [f"killed-{n}" for n in range(PATIENTS)]},
        }
        answer = await hospital.insist(
            "POST", "interop", "/v1/subscriptions", headers=headers, body=terms, key="kills"
        )
        assert answer.status_code == 201, answer.text
        id = answer.json()["id"]
        path = f"/v1/subscriptions/{id}"

        async def greeted() -> bool:
            view = (await hospital.call("GET", "interop", path, headers=headers)).json()
            return bool(view["status"] == "active")

        await eventually(greeted, 60)
        receiver.pace = 0.05
        done = asyncio.Event()
        publishing = asyncio.create_task(_publish(hospital, done))
        words = cycle(["500", "lose", "503"])
        for part in KILLED:
            receiver.script.extend(next(words) for _ in range(3))
            await _delivering(hospital, path, headers)
            await asyncio.sleep(0.3)
            await platform.kill(part)
            await platform.start(part)
        done.set()
        total = PATIENTS * await publishing

        seen: dict[str, Any] = {}

        async def all_of_it() -> bool:
            seen.update((await hospital.call("GET", "interop", path, headers=headers)).json())
            return (seen.get("last"), seen.get("waiting")) == (total, 0)

        try:
            await eventually(all_of_it, 200, every=1.0)
        except TimeoutError:
            raise AssertionError(f"of {total} events: {seen}") from None
        got = [json.loads(r.body) for r in receiver.received if r.taken]
        rows = await hospital.rows("interop", "deliveries", subscription_id=id)
    assert sorted(r["number"] for r in rows) == list(range(1, total + 1))
    assert {r["status"] for r in rows} == {"delivered"}
    _in_order([e for e in got if e["type"] != HANDSHAKE], total)
    assert len(got) > total, "what was cut off was sent again"


async def _publish(hospital: Hospital, done: asyncio.Event) -> int:
    """One event of each patient, again and again until the last part was killed; how often."""
    n = 0
    while not done.is_set():
        now = hospital.ports.clock.now()
        await hospital.publish(
            *(
                hospital.event(
                    PatientDeceased(patient_id=f"killed-{p}", deceased_at=now),
                    f"killed-{p}-{n:03}",
                )
                for p in range(PATIENTS)
            )
        )
        n += 1
        await asyncio.sleep(2.0)
    return n


def _in_order(events: list[dict[str, Any]], total: int) -> None:
    """The first delivery of each, by patient and by number."""
    first: dict[str, dict[str, Any]] = {}
    for event in events:
        first.setdefault(event["id"], event)
    assert len(first) == total
    lanes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in first.values():
        lanes[event["data"]["patient_id"]].append(event)
    for lane in lanes.values():
        assert [e["id"] for e in lane] == sorted(e["id"] for e in lane)
        assert [e["deliverynumber"] for e in lane] == sorted(e["deliverynumber"] for e in lane)
    assert sorted(e["deliverynumber"] for e in first.values()) == list(range(1, total + 1))
