"""How is another system's address called, and what can come of it?

Others choose these addresses, so a call never leads into our own network (``targets.py``),
follows no redirect, uses no proxy, and reads little of the answer. What the provider does
is never an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx

from libs.common.targets import ForbiddenTarget, guarded_transport

#: An answer's body means nothing to us; so much is read to keep the connection usable.
_BODY_MAX: Final = 16 * 1024
#: ... and for so many seconds: the status has told us all, and whoever waits for more of it than
#: a call may take would count the call as lost and send again.
_BODY_SECONDS: Final = 1.0


class NoAnswer(StrEnum):
    """Why there is no status."""

    FORBIDDEN = "address_forbidden"
    MALFORMED = "address_malformed"
    UNREACHABLE = "unreachable"  # surely not taken
    LOST = "answer_lost"  # may have been taken


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a call: ``status``, or ``why`` there is none and the ``error``'s class.

    ``retry_after``: seconds that the receiver asked for.
    """

    status: int = 0
    why: NoAnswer | None = None
    error: str = ""
    retry_after: float | None = None


class WebhookClient:
    """Posts to addresses of others. ``trusted`` hosts may lie in our own network."""

    def __init__(
        self, *, timeout: float, connections: int, allow_private: bool, trusted: Iterable[str] = ()
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=guarded_transport(
                connections=connections, allow_private=allow_private, trusted=frozenset(trusted)
            ),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,  # no proxy between the check of an address and its use
        )

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        try:
            request = self._client.build_request("POST", address, content=body, headers=headers)
            if (request.url.port or 0) > 65_535:  # httpx lets it pass; a socket does not
                return Answered(why=NoAnswer.MALFORMED)
            response = await self._client.send(request, stream=True)
        except ForbiddenTarget:
            return Answered(why=NoAnswer.FORBIDDEN)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            return Answered(why=NoAnswer.MALFORMED)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answered(why=NoAnswer.UNREACHABLE, error=type(error).__name__)
        except httpx.HTTPError as error:
            return Answered(why=NoAnswer.LOST, error=type(error).__name__)
        await _finish(response)
        return Answered(
            status=response.status_code,
            retry_after=seconds_of(response.headers.get("Retry-After")),
        )

    async def close(self) -> None:
        await self._client.aclose()


async def _finish(response: httpx.Response) -> None:
    """Read the rest of an answer whose status is known; failing here changes nothing."""
    read = 0
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > _BODY_MAX:
                    break
    with suppress(httpx.HTTPError):
        await response.aclose()


def seconds_of(retry_after: Any) -> float | None:
    # A date is allowed, too (RFC 9110, section 10.2.3); our own backoff does for it.
    text = str(retry_after or "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None
