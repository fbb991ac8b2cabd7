"""A mail server that does what a test tells it to, on the test's own event loop.

``script`` holds what happens to the next messages, one word each; when it is empty they
are taken. Words: ``take``; ``refuse`` (550 to RCPT); ``busy`` (451 to RCPT); ``bad_text``
(554 after the text); ``lose`` (takes the text, then hangs up without an answer); ``drop``
(hangs up in the middle of the text, which is gone); ``hang`` (takes the text and never
answers); ``close`` (hangs up at MAIL); ``idle`` (421 at MAIL, as after a long pause).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that the server took."""

    sender: str
    recipient: str
    message: EmailMessage

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        return str(self.message.get_content())


class MailServer:
    """``address`` is where it listens, ``mails`` what it has taken so far."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.script: deque[str] = deque()
        self.connections = 0
        self.port = 0
        self.came = asyncio.Event()
        self._now: dict[Session, str] = {}

    # -- aiosmtpd's hooks ---------------------------------------------------------------

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        word = self.script.popleft() if self.script else "take"
        self._now[session] = word
        if word == "close":
            server.transport.abort()
        if word == "idle":
            return "421 4.4.2 idle for too long"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        word = self._now[session]
        if word == "refuse":
            return "550 5.1.1 no such mailbox"
        if word == "busy":
            return "451 4.3.0 try again"
        if word == "drop":
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        word = self._now[session]
        if word == "bad_text":
            return "554 5.6.0 not this text"
        content = envelope.content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        parsed = message_from_bytes(content, policy=policy.default)
        self.mails.append(Mail(envelope.mail_from, envelope.rcpt_tos[0], parsed))
        self.came.set()
        if word == "lose":
            server.transport.abort()
        if word == "hang":
            await asyncio.sleep(3600)
        return "250 OK"


@asynccontextmanager
async def mail_server(
    port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[MailServer]:
    """A running server on this machine, on a free port if none is given; ``tls`` offers
    STARTTLS."""
    server = MailServer()
    loop = asyncio.get_running_loop()
    open_connections: list[SMTP] = []

    def connection() -> SMTP:
        server.connections += 1
        smtp = SMTP(server, hostname="mail.test", tls_context=tls, loop=loop, enable_SMTPUTF8=False)
        open_connections.append(smtp)
        return smtp

    listening = await loop.create_server(connection, "127.0.0.1", port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for smtp in open_connections:
            if isinstance(smtp.transport, asyncio.Transport):
                smtp.transport.abort()
            task = smtp._handler_coroutine
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await listening.wait_closed()
