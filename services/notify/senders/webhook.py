"""How does a message reach a person's own software, and what do its answers mean?

A POST in the form of Standard Webhooks (standardwebhooks.com, version 1): ``webhook-id`` is the
idempotency key and stays the same at every attempt, as does the body; timestamp and
signature are those of the attempt. Redirects are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from libs.common.clock import Clock
from libs.common.events import Channel
from libs.common.signing import signed_headers
from libs.common.webhooks import NoAnswer, WebhookClient
from services.notify.domain.channels import KINDS
from services.notify.domain.delivering import Verdict
from services.notify.ports import Codes, Outgoing, Result, meaning

#: RFC 9110, section 15, RFC 6585 and RFC 8470. A repetition is harmless (same key), so
#: everything that may pass is tried again.
HTTP_CODES: Final[Codes] = {
    401: (Verdict.REFUSED, "not_authorized"),
    403: (Verdict.REFUSED, "not_authorized"),
    404: (Verdict.REFUSED, "address_unknown"),
    408: (Verdict.PASSING, "provider_slow"),
    409: (Verdict.PASSING, "provider_busy"),
    410: (Verdict.REFUSED, "address_gone"),
    413: (Verdict.REFUSED, "too_large"),
    423: (Verdict.PASSING, "provider_busy"),
    425: (Verdict.PASSING, "provider_busy"),
    429: (Verdict.PASSING, "rate_limited"),
    501: (Verdict.REFUSED, "protocol"),
    503: (Verdict.PASSING, "provider_busy"),
    505: (Verdict.REFUSED, "protocol"),
}
HTTP_CLASSES: Final[Codes] = {
    2: (Verdict.SENT, ""),
    3: (Verdict.REFUSED, "redirected"),
    4: (Verdict.REFUSED, "rejected"),
    5: (Verdict.PASSING, "provider_error"),
}
_WITHOUT_ANSWER: Final = {
    NoAnswer.FORBIDDEN: Verdict.REFUSED,
    NoAnswer.MALFORMED: Verdict.REFUSED,
    NoAnswer.UNREACHABLE: Verdict.PASSING,
    NoAnswer.LOST: Verdict.LOST,
}


def body_of(message: Outgoing) -> bytes:
    """The same bytes for the same message, whenever it is sent."""
    data = {
        "notification_id": message.notification_id,
        "hospital": message.hospital,
        "recipient_id": message.recipient_id,
        "patient_id": message.patient_id,
        "template": message.template,
        "urgency": message.urgency.value,
        "language": message.language,
        "title": message.title,
        "body": message.body,
        "link": message.link,
    }
    whole = {
        "type": "notification",
        "timestamp": message.event_time.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


class WebhookSender:
    """Webhooks to persons' own software, never to addresses inside our network.

    ``trusted`` are the hosts of the operator's own choice, which may be inside it.
    """

    channel = Channel.WEBHOOK
    kind = KINDS[Channel.WEBHOOK]

    def __init__(
        self,
        *,
        secret: bytes,
        timeout: float,
        connections: int,
        clock: Clock,
        allow_private: bool = False,
        trusted: Iterable[str] = (),
    ) -> None:
        self._secret, self._clock = secret, clock
        self._client = WebhookClient(
            timeout=timeout, connections=connections, allow_private=allow_private, trusted=trusted
        )

    async def send(self, message: Outgoing) -> Result:
        body = body_of(message)
        now = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "lianxin-notify",
            "Idempotency-Key": message.key,
            **signed_headers([self._secret], message.key, now, body),
        }
        answered = await self._client.post(message.address, body, headers)
        if answered.why is not None:
            return Result(_WITHOUT_ANSWER[answered.why], answered.why, answered.error)
        result = meaning(HTTP_CODES, answered.status, HTTP_CLASSES)
        if result.verdict is Verdict.PASSING:
            return replace(result, retry_after=answered.retry_after)
        return result

    async def close(self) -> None:
        await self._client.close()
