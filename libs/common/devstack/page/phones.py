"""What arrived on each person's phone?

Letters come in by SMTP, webhooks by HTTP, and the in-app inbox is read from notify. A
letter is told apart by its Message-ID and a webhook by its idempotency key; one that
comes again is counted, not shown twice.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.people import Key, People, Person
from libs.common.devstack.page.store import Store

_LINK = re.compile(r"https?://[^\s<>\"']+")
KEPT_LETTERS = 20_000


@dataclass(frozen=True, slots=True)
class Message:
    """One thing on a phone. ``at`` is unix ms; ``times`` how often it arrived."""

    id: str
    at: int
    channel: str
    title: str
    text: str
    link: str | None = None
    times: int = 1
    read: bool = False

    @property
    def invites(self) -> bool:
        return self.link is not None and "/accept" in self.link


@dataclass(frozen=True, slots=True)
class Phone:
    """One person's messages, the newest first."""

    owner: Person
    messages: Sequence[Message]

    @property
    def latest(self) -> int:
        return self.messages[0].at if self.messages else 0


class Phones:
    def __init__(self, store: Store, people: People, hub: Hub) -> None:
        self._store, self._people, self._hub = store, people, hub
        self._inboxes: dict[Key, Sequence[Message]] = {}

    def letter(self, raw: bytes, recipients: Sequence[str]) -> None:
        """Keep an e-mail for each of its recipients."""
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)  # what this policy makes
        body = mail.get_body(("plain", "html"))
        text = str(body.get_content()).strip() if body is not None else ""
        id = str(mail["Message-ID"] or hashlib.sha256(raw).hexdigest())
        for address in recipients:
            self._keep(f"{id}|{address}", "email", address, str(mail["Subject"] or ""), text, None)
            self._tell(self._people.by_email(address))

    def webhook(self, path: str, body: Any, key: str | None) -> None:
        """Keep what was posted to a person's webhook."""
        fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
        inner = fields.get("data")
        if isinstance(inner, dict) and not fields.get("title"):
            fields = inner
        title = str(fields.get("title") or fields.get("subject") or "")
        text = str(fields.get("text") or fields.get("body") or "")
        if not title and not text:
            text = json.dumps(body, ensure_ascii=False, indent=1)
        link = fields.get("link") or fields.get("url")
        id = key or hashlib.sha256(f"{path}|{text}|{time.time_ns()}".encode()).hexdigest()
        self._keep(f"{id}|{path}", "webhook", path, title, text, str(link) if link else None)
        self._tell(self._people.by_webhook(path))

    def inbox(self, person: Person, messages: Sequence[Message]) -> None:
        """Take the person's whole in-app inbox as it is now."""
        key = (person.hospital, person.id)
        if self._inboxes.get(key) != messages:
            self._inboxes[key] = messages
            self._tell(person)

    def all(self) -> list[Phone]:
        """Everybody who got something, the latest first."""
        found: defaultdict[Key, list[Message]] = defaultdict(list)
        owners: dict[Key, Person] = {}
        for key, messages in self._inboxes.items():
            person = self._people.get(*key)
            if person is not None and messages:
                owners[key] = person
                found[key] += messages
        for address, message in self._letters():
            person = self._owner(message.channel, address)
            key = (person.hospital, person.id)
            owners[key] = person
            found[key].append(message)
        phones = [
            Phone(owners[key], sorted(messages, key=lambda m: (m.at, m.id), reverse=True))
            for key, messages in found.items()
        ]
        return sorted(phones, key=lambda p: (p.latest, p.owner.id), reverse=True)

    def of(self, hospital: str, id: str) -> Phone | None:
        return next(
            (p for p in self.all() if (p.owner.hospital, p.owner.id) == (hospital, id)), None
        )

    def _owner(self, channel: str, address: str) -> Person:
        found = (
            self._people.by_email(address)
            if channel == "email"
            else self._people.by_webhook(address)
        )
        return found or Person("", address, address)

    def _tell(self, person: Person | None) -> None:
        if person is not None:
            self._hub.publish("phone", (person.hospital, person.id))

    def _keep(
        self, id: str, channel: str, address: str, title: str, text: str, link: str | None
    ) -> None:
        if link is None and (match := _LINK.search(text)):
            link = match[0]
        if link is not None:
            text = text.removesuffix(link).rstrip()  # it has a button of its own
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO letters VALUES (?,?,?,?,?,?,?,1)"
                " ON CONFLICT (id) DO UPDATE SET attempts = attempts + 1",
                (id, time.time_ns() // 1_000_000, channel, address, title, text, link),
            )
            db.execute(
                "DELETE FROM letters WHERE rowid <= (SELECT MAX(rowid) - ? FROM letters)",
                (KEPT_LETTERS,),
            )

    def _letters(self) -> list[tuple[str, Message]]:
        return [
            (
                r["address"],
                Message(
                    r["id"], r["at"], r["channel"], r["title"], r["text"], r["link"], r["attempts"]
                ),
            )
            for r in self._store.all("SELECT * FROM letters")
        ]


class MailCatcher:
    """The handler of a small SMTP server that delivers to the phones, and to nobody else."""

    def __init__(self, phones: Phones) -> None:
        self._phones = phones

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content or b""
        raw = content.encode() if isinstance(content, str) else content
        self._phones.letter(raw, envelope.rcpt_tos)
        return "250 OK"
