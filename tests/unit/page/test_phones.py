"""Does everything that a person gets land on their phone, once?"""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.page import inboxes as module
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.inboxes import Inboxes
from libs.common.devstack.page.people import People
from libs.common.devstack.page.phones import MailCatcher, Message, Phones
from libs.common.devstack.page.store import Store
from tests.unit.page.given import event, registered

LINK = "http://127.0.0.1:8001/accept#token=h1.secret"


@pytest.fixture
def people() -> People:
    known = People()
    known.learn(event(registered(webhook="http://127.0.0.1:8000/webhook/own/path")))
    return known


@pytest.fixture
def phones(people: People) -> Phones:
    return Phones(Store(), people, Hub())


def mail(text: str = f"欢迎。\n\n{LINK}\n", id: str = "<1@x>") -> bytes:
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "邀请您加入病友群", id
    message.set_content(text, charset="utf-8", cte="base64")
    return message.as_bytes()


def only(phones: Phones) -> Message:
    (phone,) = phones.all()
    (message,) = phone.messages
    return message


async def test_a_letter_lands_on_the_phone_of_whose_address_it_is(phones: Phones) -> None:
    envelope = Envelope()
    envelope.content, envelope.rcpt_tos = mail(), ["P-1@example.org"]
    loop = asyncio.get_running_loop()
    catcher = MailCatcher(phones)
    server = SMTP(catcher, loop=loop)
    assert await catcher.handle_DATA(server, Session(loop), envelope) == "250 OK"
    message = only(phones)
    assert phones.all()[0].owner.name == "林晓梅"
    assert (message.channel, message.title, message.text) == ("email", "邀请您加入病友群", "欢迎。")
    assert message.link == LINK and message.invites


def test_a_letter_to_somebody_unknown_is_kept_under_the_address(phones: Phones) -> None:
    phones.letter(mail(), ["nobody@example.org"])
    assert phones.all()[0].owner.name == "nobody@example.org"


def test_a_letter_that_comes_again_is_counted_and_shown_once(phones: Phones) -> None:
    for _ in range(3):
        phones.letter(mail(), ["p-1@example.org"])
    phones.letter(mail(id="<2@x>"), ["p-1@example.org"])
    (phone,) = phones.all()
    assert sorted(m.times for m in phone.messages) == [1, 3]


@pytest.mark.parametrize("path", ["/webhook/own/path", "/webhook/p-1"])
def test_a_webhook_lands_on_the_phone_and_is_counted_by_its_key(phones: Phones, path: str) -> None:
    body = {
        "type": "notification",
        "data": {"title": "有新报告", "body": "请登录查看", "link": LINK},
    }
    phones.webhook(path, body, "key-1")
    phones.webhook(path, body, "key-1")
    message = only(phones)
    assert phones.all()[0].owner.id == "p-1"
    assert (message.channel, message.title, message.text) == ("webhook", "有新报告", "请登录查看")
    assert (message.link, message.times) == (LINK, 2)


def test_a_webhook_of_another_form_is_shown_as_it_is(phones: Phones) -> None:
    phones.webhook("/webhook/p-1", ["?"], None)
    assert only(phones).text == '[\n "?"\n]'


def test_the_latest_message_and_the_latest_phone_come_first(phones: Phones, people: People) -> None:
    people.learn(event(registered("赵建国", "p-2")))
    one, two = people.get("h1", "p-1"), people.get("h1", "p-2")
    assert one and two
    phones.inbox(one, [Message("a", 1, "inbox", "a", ""), Message("b", 5, "inbox", "b", "")])
    phones.inbox(two, [Message("c", 9, "inbox", "c", "")])
    found = phones.all()
    assert [p.owner.id for p in found] == ["p-2", "p-1"]
    assert [m.title for m in found[1].messages] == ["b", "a"]


async def test_the_inbox_is_read_as_the_person_and_again_when_notify_was_away(
    phones: Phones, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0)
    issuer = DevelopmentIssuer.at(tmp_path)
    asked: list[httpx.Request] = []

    def notify(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) < 3:
            return httpx.Response(503)
        item = {
            "id": "m-1",
            "title": "有新报告",
            "body": "请登录查看",
            "link": None,
            "at": "2026-11-18T02:00:00.000Z",
            "read_at": None,
        }
        return httpx.Response(200, json={"items": [item], "next": None})

    reader = Inboxes(
        "http://notify",
        issuer,
        people,
        phones,
        lambda: httpx.AsyncClient(transport=httpx.MockTransport(notify)),
    )
    reader.changed("h1", "p-1")
    reader.changed("h1", "unknown")
    task = asyncio.create_task(reader.run())
    async with asyncio.timeout(5):
        while not phones.all():  # noqa: ASYNC110 - nothing tells of it but the phone itself
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    message = only(phones)
    assert (message.channel, message.title, message.text) == ("inbox", "有新报告", "请登录查看")
    assert message.at == 1_794_967_200_000
    assert asked[0].headers["authorization"].startswith("Bearer ")
    assert len(asked) == 3
