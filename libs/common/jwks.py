"""With which keys does the issuer sign?

Those of its JWKS document (RFC 7517), kept in memory: read again when they are old or
when a token names one that we do not know, but never more often than the issuer can bear.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import jwt
import structlog

from libs.common import tls
from libs.common.clock import Clock

log = structlog.get_logger()

#: Signatures that we take: asymmetric ones only, so that no public key is ever a secret.
#: Source: RFC 8725 (JSON Web Token Best Current Practices), sections 3.1 and 3.2.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
#: The key set is asked for again after this many seconds, so that withdrawn keys go.
MAX_AGE: Final = 600.0
#: At most one request for the key set in this many seconds, whatever tokens come in;
#: while we have no keys at all, the shorter time.
COOL_DOWN: Final = 30.0
COOL_DOWN_AT_START: Final = 1.0
#: One request takes so many seconds at most in all: an issuer that answers byte by byte would
#: keep whoever waits for its keys, and no key would be read again.
READ_SECONDS: Final = 10.0
#: A key set above this size is not one.
MAX_BYTES: Final = 256 * 1024


class KeysUnavailable(Exception):
    """The issuer's keys have never been read, so nothing can be told about any token."""


FetchKeys = Callable[[], Awaitable[Mapping[str, Any]]]


def fetch_keys(url: str, ca: Path | None = None) -> FetchKeys:
    """How to read the JWKS document at ``url``: ``https:``, ``http:``, or ``file:``; ``ca``
    vouches for its server, the system's authorities if it is None."""
    if urlsplit(url).scheme == "file":
        path = Path(url2pathname(urlsplit(url).path))

        async def read() -> Mapping[str, Any]:
            return _key_set(await asyncio.to_thread(path.read_bytes))

        return read

    async def get() -> Mapping[str, Any]:
        trusted = await asyncio.to_thread(tls.trusting, ca)  # read anew: it may be renewed
        # Redirects are not followed: only the configured address may say what we trust.
        async with httpx.AsyncClient(verify=trusted, timeout=5.0, follow_redirects=False) as client:
            response = await client.get(url, headers={"Accept": "application/json"})
            response.raise_for_status()
            return _key_set(response.content)

    return get


def _key_set(body: bytes) -> Mapping[str, Any]:
    if len(body) > MAX_BYTES:
        raise ValueError("the key set is too large")
    found = json.loads(body)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("not a JWKS document (RFC 7517)")
    return found


class Keys:
    """The issuer's keys: cached, read again when old or when a token names an unknown one.

    A failed reading keeps the keys that we have: the issuer may be away, our users not.
    """

    def __init__(self, fetch: FetchKeys, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Sequence[jwt.PyJWK] | None = None
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

        #: Counts the readings; what was verified with an earlier one has to be verified again.
        self.generation = 0

    def refresh_if_old(self) -> None:
        """Begin to read old keys again; nobody waits for it."""
        if self._keys is not None and self._clock.monotonic() - self._read_at > MAX_AGE:
            self._start_reading()

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if self._keys is None or (self._match(kid, algorithm) is None and kid is not None):
            await self._read()
        if self._keys is None:
            raise KeysUnavailable
        return self._match(kid, algorithm)

    def _match(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [
            k
            for k in self._keys or ()
            if k.algorithm_name == algorithm and (kid is None or k.key_id == kid)
        ]
        # Without a kid only a sole key is beyond doubt.
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None

    async def _read(self) -> None:
        self._start_reading()
        if self._reading is not None:
            # Shielded: one impatient request must not end the reading for the others.
            await asyncio.shield(self._reading)

    def _start_reading(self) -> None:
        if self._reading is not None and not self._reading.done():
            return
        cool_down = COOL_DOWN_AT_START if self._keys is None else COOL_DOWN
        if self._clock.monotonic() - self._tried_at < cool_down:
            self._reading = None
            return
        self._tried_at = self._clock.monotonic()
        # In a context of its own: it reads for many requests, and belongs to no one's trace.
        self._reading = asyncio.create_task(self._read_once(), context=contextvars.Context())

    async def _read_once(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                keys = usable_keys(await self._fetch())
            if not keys:
                raise ValueError("no usable key")
        except Exception as error:
            log.warning("jwks_not_read", error=type(error).__name__, kept=len(self._keys or ()))
            return
        self._keys = keys
        self.generation += 1
        self._read_at = self._clock.monotonic()


def usable_keys(document: Mapping[str, Any]) -> list[jwt.PyJWK]:
    """The signing keys of a JWKS document that we could verify with; others are passed over."""
    keys = []
    for entry in document.get("keys", ()):
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue
        if key.algorithm_name in ALGORITHMS:
            keys.append(key)
    return keys
