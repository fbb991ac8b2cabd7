"""Which services are up?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from libs.common.devstack.page.hub import Hub

EVERY_SECONDS = 2.0


class Health:
    """Asks every service again and again; ``status`` is up, live, down or unknown."""

    def __init__(self, urls: Mapping[str, str], hub: Hub) -> None:
        self.urls = urls
        self.status: dict[str, str] = dict.fromkeys(urls, "unknown")
        self._hub = hub

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=1.5, trust_env=False) as client:
            while True:
                found = await asyncio.gather(*(self._ask(client, u) for u in self.urls.values()))
                status = dict(zip(self.urls, found, strict=True))
                if status != self.status:
                    self.status = status
                    self._hub.publish("health", None)
                await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, url: str) -> str:
        try:
            if (await client.get(f"{url}/readyz")).status_code == 200:
                return "up"
            return "live" if (await client.get(f"{url}/livez")).status_code == 200 else "down"
        except httpx.HTTPError:
            return "down"
