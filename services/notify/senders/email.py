"""How does a message become an e-mail, and what do a mail server's answers mean?

SMTP is a blind channel: once the text has gone out and no answer comes back, nobody can
tell whether it was taken. Everything before the text is sent is surely not taken. The
Message-ID is the idempotency key, so that whoever gets a repetition may know it.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from contextlib import suppress
from email.header import Header
from email.message import Message
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr
from typing import Any, Final, Literal

import aiosmtplib
import structlog

from libs.common.clock import Clock
from libs.common.events import Channel
from services.notify.domain.channels import KINDS
from services.notify.domain.delivering import ANSWER_LOST, Verdict
from services.notify.ports import Codes, Outgoing, Result, meaning

log = structlog.get_logger()

#: RFC 5321, section 4.2.3, and RFC 4954 for authentication. What only the operator can
#: mend (credentials, TLS) is passing: the message is right and goes out when it is mended.
SMTP_CODES: Final[Codes] = {
    421: (Verdict.PASSING, "provider_closing"),
    432: (Verdict.PASSING, "provider_credentials"),
    450: (Verdict.PASSING, "mailbox_busy"),
    451: (Verdict.PASSING, "provider_error"),
    452: (Verdict.PASSING, "provider_full"),
    454: (Verdict.PASSING, "provider_error"),
    455: (Verdict.PASSING, "provider_error"),
    500: (Verdict.REFUSED, "protocol"),
    501: (Verdict.REFUSED, "address_malformed"),
    502: (Verdict.REFUSED, "protocol"),
    503: (Verdict.REFUSED, "protocol"),
    504: (Verdict.REFUSED, "protocol"),
    521: (Verdict.REFUSED, "address_takes_no_mail"),
    530: (Verdict.PASSING, "provider_credentials"),
    534: (Verdict.PASSING, "provider_credentials"),
    535: (Verdict.PASSING, "provider_credentials"),
    538: (Verdict.PASSING, "provider_credentials"),
    550: (Verdict.REFUSED, "mailbox_unavailable"),
    551: (Verdict.REFUSED, "mailbox_moved"),
    552: (Verdict.REFUSED, "mailbox_full"),
    553: (Verdict.REFUSED, "address_malformed"),
    554: (Verdict.REFUSED, "rejected"),
    555: (Verdict.REFUSED, "protocol"),
    556: (Verdict.REFUSED, "address_takes_no_mail"),
}
SMTP_CLASSES: Final[Codes] = {
    4: (Verdict.PASSING, "unknown_passing_code"),
    5: (Verdict.REFUSED, "unknown_code"),
}
_POLICY: Final = compat32.clone(linesep="\r\n")
#: HTML Living Standard, "valid e-mail address": what people have, without the quoting and
#: the line breaks that the grammar of mail allows beside it.
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
Security = Literal["none", "starttls", "tls"]
#: A connection is not used again after so many seconds: servers close idle ones
#: (RFC 5321, section 4.5.3.2.7, asks them for five minutes; many take less).
IDLE_SECONDS: Final = 30.0


class EmailSender:
    """E-mail through one mail server, over connections that are kept for a while."""

    channel = Channel.EMAIL
    kind = KINDS[Channel.EMAIL]

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: Security,
        sender: str,
        sender_name: str = "",
        username: str = "",
        password: str = "",
        timeout: float,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._security = host, port, security
        if not _ADDRESS.fullmatch(sender):
            raise ValueError("SMTP_FROM is no address")
        self._from, self._domain = sender, sender.partition("@")[2]
        self._from_header = formataddr((sender_name, sender))
        self._credentials = (username, password)
        self._timeout, self._clock, self._tls = timeout, clock, tls
        self._idle: deque[tuple[aiosmtplib.SMTP, float]] = deque()

    async def send(self, message: Outgoing) -> Result:
        if not _ADDRESS.fullmatch(message.address):
            return Result(Verdict.REFUSED, "address_malformed")
        recipient, mail = message.address, self._mail(message)
        server = self._kept()
        if server is not None:
            result = await self._send(server, recipient, mail)
            if result is not None:
                return result
            # The server had closed the connection before anything was sent: a new one.
        try:
            server = await self._connect()
        except aiosmtplib.SMTPResponseException as error:
            # Not an answer to this message: whatever it says, it may be mended.
            known = meaning(SMTP_CODES, error.code, SMTP_CLASSES)
            return Result(Verdict.PASSING, known.reason, known.code)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Result(Verdict.PASSING, "unreachable", type(error).__name__)
        return await self._send(server, recipient, mail) or Result(
            Verdict.PASSING, "unreachable", "closed"
        )

    async def _send(self, server: aiosmtplib.SMTP, recipient: str, mail: bytes) -> Result | None:
        """The result; None if the server closed the connection when nothing had been sent."""
        text_sent = False
        try:
            await server.mail(self._from)
            await server.rcpt(recipient)
            text_sent = True
            await server.data(mail)
        except aiosmtplib.SMTPResponseException as error:
            if text_sent and not 400 <= error.code < 600:
                server.close()
                return Result(Verdict.LOST, ANSWER_LOST, str(error.code))
            if error.code == 421:  # it closes, as servers do with idle connections
                server.close()
                return None if not text_sent else meaning(SMTP_CODES, 421, SMTP_CLASSES)
            with suppress(aiosmtplib.SMTPException, OSError):
                await server.rset()
            self._keep(server)
            return meaning(SMTP_CODES, error.code, SMTP_CLASSES)
        except (aiosmtplib.SMTPException, OSError) as error:
            server.close()
            if text_sent:
                return Result(Verdict.LOST, ANSWER_LOST, type(error).__name__)
            if isinstance(error, TimeoutError):
                return Result(Verdict.PASSING, "unreachable", type(error).__name__)
            return None
        except BaseException:  # cancelled: whoever cancels knows what was under way
            server.close()
            raise
        self._keep(server)
        return Result(Verdict.SENT, code="250")

    async def _connect(self) -> aiosmtplib.SMTP:
        username, password = self._credentials
        server = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            timeout=self._timeout,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            username=username or None,
            password=password or None,
            tls_context=self._tls,
        )
        try:
            await server.connect()
        except BaseException:
            server.close()
            raise
        return server

    def _kept(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            server, since = self._idle.pop()
            if server.is_connected and self._clock.monotonic() - since < IDLE_SECONDS:
                return server
            server.close()
        return None

    def _keep(self, server: aiosmtplib.SMTP) -> None:
        if server.is_connected:
            self._idle.append((server, self._clock.monotonic()))

    def _mail(self, message: Outgoing) -> bytes:
        # By the older classes: the newer ones take milliseconds to parse what we make here.
        text = message.body if message.link is None else f"{message.body}\n\n{message.link}"
        mail: Message[Any, Any] = MIMEText(text + "\n", "plain", "utf-8", policy=_POLICY)
        mail["Message-ID"] = f"<{message.key}@{self._domain}>"
        mail["Date"] = format_datetime(message.created_at)
        mail["From"] = self._from_header
        mail["To"] = message.address
        mail["Subject"] = Header(" ".join(message.title.split()), "utf-8", header_name="Subject")
        mail["Content-Language"] = message.language
        # No out-of-office answers to us: RFC 3834, section 5.
        mail["Auto-Submitted"] = "auto-generated"
        return mail.as_bytes()

    async def close(self) -> None:
        while self._idle:
            server, _ = self._idle.popleft()
            with suppress(aiosmtplib.SMTPException, OSError):
                await server.quit(timeout=1)
            server.close()
