"""Whom may a webhook's address lead to?

Persons and partners choose these addresses, so they must not lead into our own network. The
check is made where the connection is opened, on the very address that is dialled: a name that
is resolved twice could answer differently the second time (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from libs.common import tls


class ForbiddenTarget(Exception):
    """The address leads where webhooks must not go."""


#: RFC 6052, section 2.1: the last 32 bits are the IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether ``address`` (an IP literal) is one of the internet at large."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:  # where it really leads
            ip = inner
    return ip.is_global and not ip.is_multicast


async def leads_inside(host: str) -> bool:
    """Whether ``host`` is now known to lie inside; what can't be resolved is not.

    ``ValueError`` for a name that no network knows.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return not all(is_public(str(f[4][0])) for f in found)


class _Guard(httpcore.AsyncNetworkBackend):
    """Resolves once, checks every answer, and dials one of those answers."""

    def __init__(self, trusted: frozenset[str]) -> None:
        self._trusted = trusted
        self._dial = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if host in self._trusted:
            return await self._dial.connect_tcp(host, port, timeout, local_address, socket_options)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError from error
        addresses = list(dict.fromkeys(str(f[4][0]) for f in found))
        if not addresses or not all(map(is_public, addresses)):
            raise ForbiddenTarget
        return await self._dial.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    def __init__(self, connections: int, trusted: frozenset[str]) -> None:
        super().__init__(trust_env=False)
        self._trusted = trusted
        # httpx offers no public way to give its pool a network backend.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls.trusting(None),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Guard(trusted),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "https" and request.url.host not in self._trusted:
            raise ForbiddenTarget  # what it says about a person would travel in the open
        return await super().handle_async_request(request)


def guarded_transport(
    *, connections: int, allow_private: bool, trusted: frozenset[str]
) -> httpx.AsyncBaseTransport:
    if allow_private:
        limits = httpx.Limits(max_connections=connections, keepalive_expiry=30.0)
        return httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    return _GuardedTransport(connections, trusted)
