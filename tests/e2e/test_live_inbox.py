"""Does an open inbox show what comes, at once, once, and only to its owner?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from libs.common.devstack.day.cast import Caller
from libs.common.devstack.day.hearing import DEADLINE
from libs.common.devstack.day.records import report
from libs.common.devstack.day.wire import Wire
from libs.common.events import NotificationRead
from tests.e2e.given import Story


class Stream:
    """Server-sent events, one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, within: float = DEADLINE) -> tuple[str, dict[str, Any]]:
        """The id and the data of the next message."""
        async with asyncio.timeout(within):
            fields: dict[str, str] = {}
            async for line in self._lines:
                name, _, value = line.partition(":")
                if line and name:
                    fields[name] = value.strip()
                elif fields.get("event") == "message":
                    return fields["id"], json.loads(fields["data"])
                else:
                    fields = {}
        raise AssertionError("the stream ended")


@asynccontextmanager
async def live(wire: Wire, who: Caller, **headers: str) -> AsyncIterator[Stream]:
    told = {"Authorization": f"Bearer {wire.token(who)}"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{wire.services['notify']}/v1/inbox/live"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=DEADLINE) as client,
        client.stream("GET", url, headers=told) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def test_a_message_appears_in_the_open_inbox_of_its_owner_alone(
    story: Story, wire: Wire
) -> None:
    patient, neighbour = await story.adult(), await story.adult()
    async with live(wire, patient.caller) as mine, live(wire, neighbour.caller) as theirs:
        await story.released(report(patient, story.new_id("r"), story.now()))
        id, message = await mine.next()
        assert (id, message["template"]) == (str(message["number"]), "report.ready")
        await story.released(report(neighbour, story.new_id("r"), story.now()))
        _, other = await theirs.next()
        assert other["patient_id"] == neighbour.id, "the first that the neighbour sees is theirs"


async def test_who_reconnects_gets_what_came_meanwhile_and_nothing_twice(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult()
    async with live(wire, patient.caller) as stream:
        await story.released(report(patient, story.new_id("r"), story.now()))
        last, first = await stream.next()
    await story.released(report(patient, story.new_id("r"), story.now()))
    await wire.told(patient.caller, "report.ready", count=2)

    async with live(wire, patient.caller, Last_Event_ID=last) as stream:
        number, second = await stream.next()

    assert int(number) == int(last) + 1
    assert second["id"] != first["id"]


async def test_reading_a_message_is_told_and_only_its_owner_can(story: Story, wire: Wire) -> None:
    patient, neighbour = await story.adult(), await story.adult()
    await story.released(report(patient, story.new_id("r"), story.now()))
    message = await wire.told(patient.caller, "report.ready")
    path = f"/v1/inbox/{message['id']}/read"

    await wire.post(neighbour.caller, "notify", path, expect=404)
    await wire.post(patient.caller, "notify", path)

    told = await wire.hears(NotificationRead, notification_id=message["id"])
    assert told.recipient_id == patient.id
    (read,) = await wire.inbox(patient.caller)
    assert read["read_at"]
