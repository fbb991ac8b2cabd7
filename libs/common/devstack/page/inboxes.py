"""How does the page know what is in the in-app inboxes? It asks notify, as each person would.

A ``notification.sent`` by the channel inbox says whose inbox has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import structlog

from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.page.people import Key, People, Person
from libs.common.devstack.page.phones import Message, Phones

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0
SETTLE_SECONDS = 0.2


class Inboxes:
    """Reads the inboxes that are said to have changed, one after another."""

    def __init__(
        self,
        notify_url: str,
        issuer: DevelopmentIssuer,
        people: People,
        phones: Phones,
        client: Callable[[], httpx.AsyncClient] = lambda: httpx.AsyncClient(trust_env=False),
    ) -> None:
        self._url, self._issuer = notify_url, issuer
        self._people, self._phones = people, phones
        self._client = client
        self._changed: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def changed(self, hospital: str, person_id: str) -> None:
        self._changed[hospital, person_id] = None
        self._wake.set()

    async def run(self) -> None:
        async with self._client() as client:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(SETTLE_SECONDS)
                for key in list(self._changed):
                    person = self._people.get(*key)
                    if person is None or await self._read(client, person):
                        self._changed.pop(key, None)
                    else:
                        self._wake.set()
                        await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, client: httpx.AsyncClient, person: Person) -> bool:
        token = self._issuer.token(
            person=person.id,
            hospital=person.hospital,
            roles=sorted(person.roles) or ["patient"],
            departments=person.departments,
        )
        try:
            answer = await client.get(
                f"{self._url}/v1/inbox",
                params={"limit": 200},
                headers={"authorization": f"Bearer {token}"},
            )
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            log.warning("inbox_refused", status=answer.status_code)
            return answer.status_code < 500
        self._phones.inbox(person, [message(item) for item in answer.json().get("items", ())])
        return True


def message(item: dict[str, Any]) -> Message:
    """One item of ``GET /v1/inbox`` as a message on a phone."""
    at = datetime.fromisoformat(item["at"])
    return Message(
        id=str(item["id"]),
        at=int(at.timestamp() * 1000),
        channel="inbox",
        title=item.get("title") or "",
        text=item.get("body") or "",
        link=item.get("link"),
        read=bool(item.get("read_at")),
    )
