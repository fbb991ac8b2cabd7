"""How is a partner's endpoint called, and what does its answer mean?

A POST in the form of Standard Webhooks; ``webhook-sequence`` is the delivery's number. What an
endpoint answers is our verdict by a table.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from libs.common.clock import Clock
from libs.common.signing import secret_of, signed_headers
from libs.common.webhooks import Answered, NoAnswer, WebhookClient
from services.interop.domain.delivering import Verdict
from services.interop.domain.subscription import Subscription

#: RFC 9110, section 15; RFC 6585; RFC 8470. What concerns the endpoint and not what was sent to
#: it leaves the endpoint alone for a while; all else that is no success concerns that delivery.
_AWAY: Final = frozenset({401, 403, 404, 405, 408, 421, 425, 429, 502, 503, 504})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one call; ``reason`` is a word of ours or the status."""

    verdict: Verdict
    reason: str = ""
    retry_after: float | None = None


def meaning(answered: Answered) -> Called:
    if answered.why is not None:
        return Called(Verdict.AWAY, answered.why)
    status = answered.status
    if 200 <= status < 300:
        return Called(Verdict.TAKEN)
    reason = f"http_{status}"
    if status == _GONE:
        return Called(Verdict.GONE, reason)
    away = status in _AWAY or 300 <= status < 400  # redirects are not followed
    return Called(Verdict.AWAY if away else Verdict.REFUSED, reason, answered.retry_after)


#: The part of all calls that one partner may have under way: who is slow holds up nobody else.
SHARE: Final = 4


class Calling:
    """Calls of one process: ``calls`` at a time, of which one partner has a quarter at most,
    each ``seconds`` at most in all."""

    def __init__(self, client: WebhookClient, clock: Clock, *, calls: int, seconds: float) -> None:
        self._client, self._clock = client, clock
        self._at_a_time = asyncio.Semaphore(calls)
        # As many as there are partners, whom the hospital's policies name.
        self._of_partner: defaultdict[tuple[str, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(max(1, calls // SHARE))
        )
        self._seconds = seconds

    async def post(
        self, subscription: Subscription, id: str, number: int, body: bytes, content_type: str
    ) -> Called:
        partner = self._of_partner[subscription.hospital, subscription.client]
        async with partner, self._at_a_time:
            now = self._clock.now()
            secrets = [secret_of(secret) for secret in subscription.secrets(now)]
            headers = {
                "Content-Type": content_type,
                "User-Agent": "lianxin-interop",
                "webhook-sequence": str(number),
                **signed_headers(secrets, id, int(now.timestamp()), body),
            }
            try:
                async with asyncio.timeout(self._seconds):
                    answered = await self._client.post(subscription.terms.endpoint, body, headers)
            except TimeoutError:
                answered = Answered(why=NoAnswer.LOST)
        return meaning(answered)

    async def close(self) -> None:
        await self._client.close()
