"""What has a partner system received by webhooks? A receiver for the day and for who tries one.

``POST /partner/<name>`` takes whatever comes, ``GET /api/partners/<name>`` shows it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from fastapi import APIRouter, Request

#: Of each name, and names; the page forgets the rest.
KEPT, NAMES = 200, 20


def router() -> APIRouter:
    routes = APIRouter()
    taken: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=KEPT))

    @routes.post("/partner/{name}", status_code=204)
    async def take(name: str, request: Request) -> None:
        body = (await request.body()).decode("utf-8", "replace")
        headers = {k: v for k, v in request.headers.items() if k.startswith("webhook-")}
        if name in taken or len(taken) < NAMES:
            taken[name].append({"headers": headers, "body": body})

    @routes.get("/api/partners/{name}")
    async def shown(name: str) -> dict[str, Any]:
        """The latest last: the headers of Standard Webhooks, and the body as it came."""
        return {"received": list(taken[name]) if name in taken else []}

    return routes
