"""One suite for the fake and the real senders, and what only real servers can show."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from libs.common.clock import SystemClock
from libs.common.events import Channel, Urgency
from libs.common.signing import secret_of, signature
from libs.common.targets import ForbiddenTarget, _Guard, is_public
from libs.common.webhooks import seconds_of
from services.notify.domain.channels import Kind
from services.notify.domain.delivering import Verdict
from services.notify.ports import Outgoing, Sender, meaning
from services.notify.senders.email import SMTP_CLASSES, SMTP_CODES, EmailSender
from services.notify.senders.webhook import (
    HTTP_CLASSES,
    HTTP_CODES,
    WebhookSender,
    body_of,
)
from services.notify.settings import Settings
from tests.fakes.channels import FakeSender
from tests.simulators.smtp import MailServer, mail_server
from tests.simulators.webhooks import WebhookReceiver, webhook_receiver

SECRET = b"0123456789abcdef0123456789abcdef"
AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def outgoing(address: str, **changes: Any) -> Outgoing:
    given: dict[str, Any] = {
        "key": "5f0c7d5e-0000-5000-8000-000000000001",
        "address": address,
        "hospital": "h1",
        "notification_id": "n1",
        "recipient_id": "p1",
        "patient_id": None,
        "template": "invitation.issued",
        "urgency": Urgency.ROUTINE,
        "language": "zh-CN",
        "title": "邀请您加入医院的病友群",
        "body": "医院邀请您加入病友群，请打开链接。",
        "link": "https://lianxin.example/accept#token=secret",
        "event_time": AT,
        "created_at": AT,
    }
    return Outgoing(**(given | changes))


def email_sender(port: int, **changes: Any) -> EmailSender:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "notify@hospital.test",
        "sender_name": "某某医院",
        "timeout": 1.0,
        "clock": SystemClock(),
    }
    return EmailSender(**(given | changes))


def webhook_sender(**changes: Any) -> WebhookSender:
    given: dict[str, Any] = {
        "secret": SECRET,
        "timeout": 1.0,
        "connections": 8,
        "clock": SystemClock(),
        "allow_private": True,
    }
    return WebhookSender(**(given | changes))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


# -- one suite for both -----------------------------------------------------------------


@dataclass(frozen=True)
class Provider:
    """A sender with what stands behind it. ``taken`` are (key, text) of what it has."""

    sender: Sender
    address: str
    script: Callable[[str], None]
    taken: Callable[[], list[tuple[str, str]]]
    nobody: Sender  # the same where nobody listens


#: The suite's words in those of each simulator.
EMAIL_WORDS = {"take": "take", "refuse": "refuse", "busy": "busy", "lose": "lose"}
HTTP_WORDS = {"take": "204", "refuse": "410", "busy": "503", "lose": "lose"}


def _fake(channel: Channel, address: str) -> Provider:
    fake, nobody = FakeSender(channel), FakeSender(channel)
    nobody.reachable = False
    return Provider(
        fake, address, fake.script.append, lambda: [(m.key, m.body) for m in fake.taken], nobody
    )


def _mail(server: MailServer) -> Provider:
    def taken() -> list[tuple[str, str]]:
        return [
            (m.message_id.strip("<>").partition("@")[0], m.text.splitlines()[0])
            for m in server.mails
        ]

    return Provider(
        email_sender(server.port),
        "patient@example.org",
        lambda word: server.script.append(EMAIL_WORDS[word]),
        taken,
        email_sender(free_port()),
    )


def _webhook(receiver: WebhookReceiver) -> Provider:
    def taken() -> list[tuple[str, str]]:
        refused = {HTTP_WORDS["refuse"], HTTP_WORDS["busy"]}
        return [
            (r.key, r.data["body"])
            for r, word in zip(receiver.received, words, strict=False)
            if word not in refused
        ]

    words: list[str] = []

    def script(word: str) -> None:
        words.append(HTTP_WORDS[word])
        receiver.script.append(HTTP_WORDS[word])

    return Provider(webhook_sender(), receiver.url, script, taken, webhook_sender())


@pytest.fixture(params=["fake", "real"])
async def which(request: pytest.FixtureRequest) -> Literal["fake", "real"]:
    word: Literal["fake", "real"] = request.param
    return word


@pytest.fixture(params=[Channel.EMAIL, Channel.WEBHOOK])
async def provider(which: str, request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    channel: Channel = request.param
    async with AsyncExitStack() as stack:
        if which == "fake":
            address = "p1@example.org" if channel is Channel.EMAIL else "https://p1.example.org/"
            made = _fake(channel, address)
        elif channel is Channel.EMAIL:
            made = _mail(await stack.enter_async_context(mail_server()))
        else:
            made = _webhook(await stack.enter_async_context(webhook_receiver()))
        yield made
        await made.sender.close()
        await made.nobody.close()


async def test_a_message_that_is_taken_is_sent(provider: Provider) -> None:
    provider.script("take")
    message = outgoing(provider.address)
    result = await provider.sender.send(message)
    assert result.verdict is Verdict.SENT
    assert provider.taken() == [(message.key, message.body)]


async def test_what_is_refused_for_good_says_why(provider: Provider) -> None:
    provider.script("refuse")
    result = await provider.sender.send(outgoing(provider.address))
    assert result.verdict is Verdict.REFUSED
    assert result.reason
    assert result.code
    assert provider.taken() == []


async def test_a_fault_that_passes_is_no_refusal(provider: Provider) -> None:
    provider.script("busy")
    result = await provider.sender.send(outgoing(provider.address))
    assert (result.verdict, bool(result.reason)) == (Verdict.PASSING, True)
    assert provider.taken() == []


async def test_a_lost_answer_is_told_from_a_fault(provider: Provider) -> None:
    provider.script("lose")
    result = await provider.sender.send(outgoing(provider.address))
    assert result.verdict is Verdict.LOST
    assert len(provider.taken()) == 1


async def test_a_repetition_carries_the_same_key(provider: Provider) -> None:
    message = outgoing(provider.address)
    for word in ("lose", "take"):
        provider.script(word)
        await provider.sender.send(message)
    assert provider.taken() == [(message.key, message.body)] * 2


async def test_a_provider_that_is_away_is_a_passing_fault(provider: Provider) -> None:
    address = provider.address
    if isinstance(provider.nobody, WebhookSender):
        address = f"http://127.0.0.1:{free_port()}/"
    result = await provider.nobody.send(outgoing(address))
    assert (result.verdict, result.reason) == (Verdict.PASSING, "unreachable")


async def test_an_address_of_another_kind_is_refused(provider: Provider) -> None:
    wrong = "not an address" if provider.sender.channel is Channel.WEBHOOK else "https://x.test/"
    result = await provider.sender.send(outgoing(wrong))
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "address_malformed")


async def test_a_fault_of_one_message_does_not_touch_the_next(provider: Provider) -> None:
    words = ["refuse", "busy", "lose", "take", "refuse", "take"]
    verdicts = []
    for n, word in enumerate(words):
        provider.script(word)
        verdicts.append(
            (await provider.sender.send(outgoing(provider.address, key=f"k{n}"))).verdict
        )
    R, P, L, S = Verdict.REFUSED, Verdict.PASSING, Verdict.LOST, Verdict.SENT
    assert verdicts == [R, P, L, S, R, S]
    assert [key for key, _ in provider.taken()] == ["k2", "k3", "k5"]


async def test_many_can_be_sent_at_a_time(provider: Provider) -> None:
    for _ in range(20):
        provider.script("take")
    results = await asyncio.gather(
        *(provider.sender.send(outgoing(provider.address, key=f"k{n}")) for n in range(20))
    )
    assert {r.verdict for r in results} == {Verdict.SENT}
    assert {key for key, _ in provider.taken()} == {f"k{n}" for n in range(20)}


async def test_the_channels_declare_what_they_promise(provider: Provider) -> None:
    promises = {Channel.EMAIL: Kind.BLIND, Channel.WEBHOOK: Kind.KEYED}
    assert provider.sender.kind is promises[provider.sender.channel]


# -- mail servers -----------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def sender(server: MailServer) -> AsyncIterator[EmailSender]:
    made = email_sender(server.port)
    yield made
    await made.close()


MAIL = outgoing("patient@example.org")


async def test_a_mail_reads_as_it_was_written(server: MailServer, sender: EmailSender) -> None:
    await sender.send(MAIL)
    [mail] = server.mails
    assert (mail.sender, mail.recipient) == ("notify@hospital.test", "patient@example.org")
    assert mail.message["Subject"] == MAIL.title
    assert mail.message["From"].addresses[0].display_name == "某某医院"
    assert mail.text.splitlines() == [MAIL.body, "", MAIL.link]
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Content-Language"] == "zh-CN"
    assert mail.message["Date"].datetime == AT
    assert mail.message_id == f"<{MAIL.key}@hospital.test>"


@pytest.mark.parametrize(
    "title", ["一" * 120, "word " * 24, "a\r\nBcc: b@example.org", "x" * 120, "=?utf-8?q?x?=", "😀"]
)
async def test_whatever_a_title_holds_it_is_one_header(
    server: MailServer, sender: EmailSender, title: str
) -> None:
    mail = replace(MAIL, title=title)
    assert (await sender.send(mail)).verdict is Verdict.SENT
    message = server.mails[0].message
    assert str(message["Subject"]) == " ".join(title.split())
    assert message["Bcc"] is None
    assert all(len(line) <= 78 for line in sender._mail(mail).split(b"\r\n"))
    assert b"\n" not in sender._mail(mail).replace(b"\r\n", b"")


async def test_a_connection_is_used_again(server: MailServer, sender: EmailSender) -> None:
    for n in range(3):
        server.script.append("busy" if n == 1 else "take")
        await sender.send(replace(MAIL, key=f"k{n}"))
    assert (len(server.mails), server.connections) == (2, 1)


@pytest.mark.parametrize("word", ["close", "idle"])
async def test_a_kept_connection_that_was_closed_costs_no_attempt(
    server: MailServer, sender: EmailSender, word: str
) -> None:
    await sender.send(MAIL)
    server.script.append(word)
    result = await sender.send(replace(MAIL, key="k2"))
    assert result.verdict is Verdict.SENT
    assert (len(server.mails), server.connections) == (2, 2)


@pytest.mark.parametrize("word", ["close", "idle"])
async def test_a_new_connection_that_is_closed_before_the_text_is_a_passing_fault(
    server: MailServer, sender: EmailSender, word: str
) -> None:
    server.script.append(word)
    assert (await sender.send(MAIL)).verdict is Verdict.PASSING
    assert server.mails == []


@pytest.mark.parametrize("word", ["lose", "hang"])
async def test_no_answer_to_the_text_is_a_lost_one(server: MailServer, word: str) -> None:
    sender = email_sender(server.port, timeout=0.3)
    server.script.append(word)
    assert (await sender.send(MAIL)).verdict is Verdict.LOST
    assert (await sender.send(MAIL)).verdict is Verdict.SENT
    assert {m.message_id for m in server.mails} == {f"<{MAIL.key}@hospital.test>"}
    await sender.close()


async def test_a_connection_lost_before_the_text_is_not_a_lost_answer(
    server: MailServer, sender: EmailSender
) -> None:
    server.script.append("drop")
    assert (await sender.send(MAIL)).verdict is Verdict.PASSING


async def test_a_text_that_is_not_wanted_is_refused(
    server: MailServer, sender: EmailSender
) -> None:
    server.script.append("bad_text")
    result = await sender.send(MAIL)
    assert (result.verdict, result.reason, result.code) == (Verdict.REFUSED, "rejected", "554")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "a@",
        "a@b@c",
        "a b@example.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "用户@example.org",
    ],
)
async def test_no_mail_goes_to_what_is_no_address(
    server: MailServer, sender: EmailSender, address: str
) -> None:
    result = await sender.send(replace(MAIL, address=address))
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "address_malformed")
    assert server.mails == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server ``localhost``, and what a client needs to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pem, secret)
    return serving, ssl.create_default_context(cafile=str(pem))


async def test_starttls_is_used_and_the_server_must_prove_who_it_is(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    serving, trusting = certificate
    async with mail_server(tls=serving) as server:
        trusts = email_sender(server.port, host="localhost", security="starttls", tls=trusting)
        assert (await trusts.send(MAIL)).verdict is Verdict.SENT
        await trusts.close()
        stranger = email_sender(server.port, host="localhost", security="starttls")
        result = await stranger.send(MAIL)
        assert (result.verdict, result.reason) == (Verdict.PASSING, "unreachable")
        await stranger.close()
    assert len(server.mails) == 1


async def test_without_starttls_on_the_server_nothing_is_sent_in_the_open(
    server: MailServer,
) -> None:
    sender = email_sender(server.port, security="starttls")
    assert (await sender.send(MAIL)).verdict is Verdict.PASSING
    assert server.mails == []
    await sender.close()


# -- webhooks ---------------------------------------------------------------------------


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as running:
        yield running


@pytest.fixture
async def hooks() -> AsyncIterator[WebhookSender]:
    made = webhook_sender()
    yield made
    await made.close()


async def test_a_webhook_is_signed_as_standard_webhooks_says(
    receiver: WebhookReceiver, hooks: WebhookSender
) -> None:
    message = outgoing(receiver.url)
    await hooks.send(message)
    [got] = receiver.received
    timestamp = int(got.headers["webhook-timestamp"])
    assert abs(timestamp - datetime.now(UTC).timestamp()) < 60
    assert got.headers["webhook-id"] == got.headers["idempotency-key"] == message.key
    assert got.headers["webhook-signature"] == signature(SECRET, message.key, timestamp, got.body)
    assert got.data["link"] == message.link
    assert got.headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_reference_implementation() -> None:
    # The vector of standardwebhooks.com's own libraries (python, tests/test_webhooks.py).
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


async def test_a_repetition_is_the_same_to_the_byte(
    receiver: WebhookReceiver, hooks: WebhookSender
) -> None:
    message = outgoing(receiver.url)
    receiver.script.extend(["500", "lose", "204"])
    for _ in range(3):
        await hooks.send(message)
    assert len({r.body for r in receiver.received}) == 1
    assert receiver.received[0].body == body_of(message)


async def test_what_the_receiver_asks_for_is_told(
    receiver: WebhookReceiver, hooks: WebhookSender
) -> None:
    receiver.script.append("429:7")
    result = await hooks.send(outgoing(receiver.url))
    assert (result.verdict, result.reason, result.retry_after) == (
        Verdict.PASSING,
        "rate_limited",
        7.0,
    )


@pytest.mark.parametrize("asked", ["soon", "-1", "1e9", "99999999999", "٣"])
async def test_nonsense_asked_for_is_ignored(
    receiver: WebhookReceiver, hooks: WebhookSender, asked: str
) -> None:
    assert seconds_of(asked) is None


async def test_redirects_are_not_followed(receiver: WebhookReceiver, hooks: WebhookSender) -> None:
    receiver.script.append("redirect")
    result = await hooks.send(outgoing(receiver.url))
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "redirected")
    assert receiver.received == []


async def test_a_port_that_no_socket_has_is_refused(hooks: WebhookSender) -> None:
    result = await hooks.send(outgoing("http://127.0.0.1:65536/hook"))
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "address_malformed")


async def test_a_body_without_end_does_no_harm(
    receiver: WebhookReceiver, hooks: WebhookSender
) -> None:
    receiver.script.append("flood")
    async with asyncio.timeout(3):
        result = await hooks.send(outgoing(receiver.url))
    assert result.verdict is Verdict.SENT


async def test_what_was_taken_is_taken_however_long_the_rest_of_the_answer_lasts(
    receiver: WebhookReceiver,
) -> None:
    hooks = webhook_sender(connections=2)
    receiver.script.extend(["trickle"] * 3)
    for _ in range(4):  # and no connection is lost by it
        async with asyncio.timeout(3):
            assert (await hooks.send(outgoing(receiver.url))).verdict is Verdict.SENT
    await hooks.close()


async def test_an_answer_that_never_comes_is_lost(receiver: WebhookReceiver) -> None:
    hooks = webhook_sender(timeout=0.2)
    receiver.script.append("hang")
    assert (await hooks.send(outgoing(receiver.url))).verdict is Verdict.LOST
    await hooks.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "ff02::1",
        "64:ff9b::7f00:1",
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0", "2130706433", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_webhook_leads_inside(receiver: WebhookReceiver, host: str, scheme: str) -> None:
    hooks = webhook_sender(allow_private=False)
    result = await hooks.send(outgoing(f"{scheme}://{host}:{receiver.port}/"))
    assert (result.verdict, result.reason) == (Verdict.REFUSED, "address_forbidden")
    assert receiver.connections == 0
    await hooks.close()


async def test_the_operators_own_receiver_may_be_inside(receiver: WebhookReceiver) -> None:
    hooks = webhook_sender(allow_private=False, trusted=["127.0.0.1"])
    assert (await hooks.send(outgoing(receiver.url))).verdict is Verdict.SENT
    await hooks.close()


async def test_a_name_is_resolved_once_and_every_answer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    dialled: list[str] = []
    answers = iter([["8.8.8.8", "127.0.0.1"], ["8.8.8.8"]])

    async def resolve(host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (a, port)) for a in next(answers)]

    async def dial(_self: Any, host: str, *_more: Any) -> Any:
        dialled.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", dial)
    guard = _Guard(frozenset())
    with pytest.raises(ForbiddenTarget):
        await guard.connect_tcp("rebinds.example", 443)
    with pytest.raises(httpcore.ConnectError):
        await guard.connect_tcp("rebinds.example", 443)
    assert (len(asked), dialled) == (2, ["8.8.8.8"])


# -- tables and settings ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "classes", "code", "verdict", "reason"),
    [
        (SMTP_CODES, SMTP_CLASSES, 550, Verdict.REFUSED, "mailbox_unavailable"),
        (SMTP_CODES, SMTP_CLASSES, 535, Verdict.PASSING, "provider_credentials"),
        (SMTP_CODES, SMTP_CLASSES, 499, Verdict.PASSING, "unknown_passing_code"),
        (SMTP_CODES, SMTP_CLASSES, 599, Verdict.REFUSED, "unknown_code"),
        (SMTP_CODES, SMTP_CLASSES, 250, Verdict.REFUSED, "unknown_code"),
        (HTTP_CODES, HTTP_CLASSES, 200, Verdict.SENT, ""),
        (HTTP_CODES, HTTP_CLASSES, 410, Verdict.REFUSED, "address_gone"),
        (HTTP_CODES, HTTP_CLASSES, 418, Verdict.REFUSED, "rejected"),
        (HTTP_CODES, HTTP_CLASSES, 599, Verdict.PASSING, "provider_error"),
        (HTTP_CODES, HTTP_CLASSES, 100, Verdict.REFUSED, "unknown_code"),
    ],
)
def test_a_providers_code_becomes_our_word(
    codes: Any, classes: Any, code: int, verdict: Verdict, reason: str
) -> None:
    result = meaning(codes, code, classes)
    assert (result.verdict, result.reason, result.code) == (verdict, reason, str(code))


def test_every_word_of_the_tables_may_stand_in_an_event() -> None:
    tables: Iterable[Any] = (SMTP_CODES, SMTP_CLASSES, HTTP_CODES, HTTP_CLASSES)
    for table in tables:
        for verdict, reason in table.values():
            assert verdict is Verdict.SENT or reason.replace("_", "").islower()


@pytest.mark.parametrize(
    "changes",
    [
        {"smtp_host": "mail.test"},
        {"webhook_secret": "0123456789"},
        {"webhook_secret": "whsec_" + base64.b64encode(b"short").decode()},
        {"webhook_secret": "whsec_!!!"},
        {"webhook_default_url": "https://app.test/"},
        {
            "webhook_secret": "whsec_" + base64.b64encode(SECRET).decode(),
            "webhook_default_url": "ftp://app.test/",
        },
    ],
)
def test_settings_that_can_not_work_stop_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Settings(**changes)


def test_secrets_are_not_shown() -> None:
    text = "whsec_" + base64.b64encode(SECRET).decode()
    settings = Settings(webhook_secret=SecretStr(text), smtp_password=SecretStr("hush"))
    assert text not in repr(settings)
    assert "hush" not in repr(settings)
