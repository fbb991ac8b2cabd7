"""How does a message reach a person's own software, and what do its answers mean?

A POST in the form of Standard Webhooks (standardwebhooks.com, version 1): ``webhook-id`` is the
idempotency key and stays the same at every attempt, as does the body; timestamp and
signature are those of the attempt. Redirects are not followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import httpx

from libs.common.clock import Clock
from libs.common.events import Channel
from services.notify.domain.channels import KINDS
from services.notify.domain.delivering import ANSWER_LOST, Verdict
from services.notify.ports import Codes, Outgoing, Result, meaning
from services.notify.senders.targets import ForbiddenTarget, guarded_transport

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
#: An answer's body means nothing to us; so much is read to keep the connection usable.
_BODY_MAX: Final = 16 * 1024


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


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
        self._client = httpx.AsyncClient(
            transport=guarded_transport(
                connections=connections, allow_private=allow_private, trusted=frozenset(trusted)
            ),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,  # no proxy between the check of an address and its use
        )

    async def send(self, message: Outgoing) -> Result:
        body = body_of(message)
        now = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "lianxin-notify",
            "Idempotency-Key": message.key,
            "webhook-id": message.key,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._secret, message.key, now, body),
        }
        try:
            request = self._client.build_request(
                "POST", message.address, content=body, headers=headers
            )
            response = await self._client.send(request, stream=True)
        except ForbiddenTarget:
            return Result(Verdict.REFUSED, "address_forbidden")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            return Result(Verdict.REFUSED, "address_malformed")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Result(Verdict.PASSING, "unreachable", type(error).__name__)
        except httpx.HTTPError as error:
            return Result(Verdict.LOST, ANSWER_LOST, type(error).__name__)
        await _finish(response)
        result = meaning(HTTP_CODES, response.status_code, HTTP_CLASSES)
        if result.verdict is Verdict.PASSING:
            asked = _seconds(response.headers.get("Retry-After"))
            return Result(result.verdict, result.reason, result.code, asked)
        return result

    async def close(self) -> None:
        await self._client.aclose()


async def _finish(response: httpx.Response) -> None:
    """Read the rest of an answer whose status is known; failing here changes nothing."""
    read = 0
    with suppress(httpx.HTTPError):
        async for chunk in response.aiter_raw():
            read += len(chunk)
            if read > _BODY_MAX:
                break
    with suppress(httpx.HTTPError):
        await response.aclose()


def _seconds(retry_after: Any) -> float | None:
    # A date is allowed, too (RFC 9110, section 10.2.3); our own backoff does for it.
    text = str(retry_after or "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None
