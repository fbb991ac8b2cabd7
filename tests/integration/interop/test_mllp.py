"""Does the MLLP port bound whatever a sender does, and leave the others in peace?

Over real sockets on this machine.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from structlog.testing import capture_logs

from libs.common.tls import Renewed
from services.interop.edge.connection import Limits, Peer
from services.interop.edge.frames import framed
from services.interop.edge.mllp import MllpServer
from services.interop.edge.tls import server_context
from tests.integration.interop.authority import Authority

# The hook that replaces this fixture holds for a folder, not for one file.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")

LIMITS = Limits(
    max_connections=400,
    max_per_address=400,
    max_frame=1024 * 1024,
    frame_timeout=5,
    idle_timeout=5,
    drain_timeout=5,
    close_timeout=1,
)
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Receiver:
    """What handles the messages: remembers them, waits while it is told to."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.peers: list[Peer] = []
        self.at_once = self.most_at_once = 0
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.came = asyncio.Event()

    async def __call__(self, message: bytes, peer: Peer) -> bytes:
        self.messages.append(message)
        self.peers.append(peer)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.came.set()
        try:
            await self.let_go.wait()
        finally:
            self.at_once -= 1
        if message == b"bug":
            raise RuntimeError("a bug of ours")
        if message == b"quiet":
            return b""
        if message.startswith(b"long"):
            return b"x" * 100_000
        return b"answer to " + message[:100]


class Place:
    """A running server and those who talk to it."""

    def __init__(self, receiver: Receiver, server: MllpServer) -> None:
        self.receiver, self.server = receiver, server
        self.clients: list[asyncio.StreamWriter] = []

    async def connect(
        self, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> Client:
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=tls, server_hostname=name, local_addr=(address, 0)
        )
        self.clients.append(writer)
        return reader, writer

    async def still_serves_others(self) -> None:
        async with asyncio.timeout(5):
            client = await self.connect()
            assert await asked(client, b"another's") == b"answer to another's"
            client[1].close()

    async def left(self, connections: int) -> None:
        await until(lambda: self.server.connections <= connections)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not met():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


@asynccontextmanager
async def place(
    limits: Limits = LIMITS, tls: ssl.SSLContext | Renewed | None = None
) -> AsyncIterator[Place]:
    receiver = Receiver()
    asked = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls
    server = MllpServer(receiver, limits, asked)
    await server.start("127.0.0.1", 0)
    here = Place(receiver, server)
    try:
        yield here
    finally:
        for writer in here.clients:
            writer.transport.abort()
        await server.stop(within=2)
        assert server.connections == 0
        assert server.held == 0


async def answered(client: Client) -> bytes:
    whole = await client[0].readuntil(b"\x1c\r")
    assert whole[:1] == b"\x0b"
    return whole[1:-2]


async def asked(client: Client, message: bytes) -> bytes:
    client[1].write(framed(message))
    return await answered(client)


async def closed(client: Client) -> bytes:
    """What still comes until the server closes, or resets, the connection."""
    async with asyncio.timeout(10):
        rest = b""
        with suppress(ConnectionError):
            while data := await client[0].read(65_536):
                rest += data
        return rest


@pytest.fixture(
    params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"]
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Services run on uvloop, where they have it."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


# -- the ordinary ---------------------------------------------------------------------------


async def test_many_messages_are_answered_on_one_connection() -> None:
    async with place() as here:
        client = await here.connect()
        for n in range(20):
            assert await asked(client, b"m%d" % n) == b"answer to m%d" % n
        assert {peer.address for peer in here.receiver.peers} == {"127.0.0.1"}
        assert {peer.names for peer in here.receiver.peers} == {frozenset()}


async def test_messages_sent_without_waiting_are_answered_in_order_one_at_a_time() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(b"".join(framed(b"m%d" % n) for n in range(500)))
        assert [await answered(client) for _ in range(500)] == [
            b"answer to m%d" % n for n in range(500)
        ]
        assert here.receiver.most_at_once == 1


async def test_a_sender_that_shuts_its_side_after_the_message_gets_its_answer() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(framed(b"last"))
        client[1].write_eof()
        assert await answered(client) == b"answer to last"
        assert await closed(client) == b""


async def test_a_port_that_takes_nobody_in_any_more_says_so() -> None:
    def broken() -> ssl.SSLContext:
        raise ValueError("a bug of ours")

    server = MllpServer(Receiver(), LIMITS, broken)
    await server.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="a bug of ours"):
            await server.accepting()
    writer.close()
    await server.stop()


async def test_a_message_that_wants_no_answer_gets_none() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(framed(b"quiet"))
        assert await asked(client, b"m") == b"answer to m"


async def test_junk_between_messages_is_skipped_and_logged_once_without_its_content() -> None:
    async with place() as here:
        client = await here.connect()
        with capture_logs() as logs:
            client[1].write(b"hello?" + framed(b"m"))
            assert await answered(client) == b"answer to m"
            client[1].write(b"hello again" + framed(b"n"))
            assert await answered(client) == b"answer to n"
        junk = [entry for entry in logs if entry["event"] == "mllp_junk"]
        assert [entry["bytes"] for entry in junk] == [6]
        assert "hello" not in str(logs)


async def test_a_bug_of_ours_acknowledges_nothing_and_closes() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(framed(b"bug"))
        assert await closed(client) == b""
        await here.still_serves_others()


# -- senders that misbehave -----------------------------------------------------------------


async def test_a_sender_that_stops_in_the_middle_of_a_message_is_left_in_time() -> None:
    async with place(replace(LIMITS, frame_timeout=0.3)) as here:
        client = await here.connect()
        with capture_logs() as logs:
            client[1].write(framed(b"whole") + b"\x0bMSH|hal")
            assert await answered(client) == b"answer to whole"
            await here.still_serves_others()
            assert await closed(client) == b""
            await here.left(0)
        assert "frame_timeout" in [entry.get("why") for entry in logs]
        assert b"MSH|hal" not in here.receiver.messages


async def test_a_message_that_trickles_in_ends_when_its_time_is_over() -> None:
    async with place(replace(LIMITS, frame_timeout=0.5)) as here:
        client = await here.connect()
        begun = asyncio.get_running_loop().time()
        client[1].write(b"\x0b")
        with suppress(ConnectionError, RuntimeError):
            while not client[0].at_eof():
                client[1].write(b"x")
                await client[1].drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await client[0].read(1)
        assert 0.4 < asyncio.get_running_loop().time() - begun < 3


async def test_a_sender_that_hangs_up_in_the_middle_leaves_no_message() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(b"\x0bMSH|half")
        client[1].write_eof()
        assert await closed(client) == b""
        assert here.receiver.messages == []


async def test_a_connection_that_says_nothing_or_only_junk_is_closed() -> None:
    async with place(replace(LIMITS, idle_timeout=0.3)) as here:
        silent, noisy = await here.connect(), await here.connect()
        for _ in range(20):
            if not noisy[1].is_closing():
                noisy[1].write(b"?")
            await asyncio.sleep(0.05)
        assert await closed(silent) == await closed(noisy) == b""


async def test_a_message_of_a_gigabyte_costs_its_limit_and_its_connection() -> None:
    async with place() as here:
        client = await here.connect()
        with capture_logs() as logs:
            client[1].write(b"\x0b")
            most, chunk = 0, b"x" * 65_536
            with pytest.raises((ConnectionError, RuntimeError)):  # uvloop has the latter
                for _ in range(1024 * 1024 * 1024 // len(chunk)):
                    client[1].write(chunk)
                    await client[1].drain()
                    await asyncio.sleep(0)
                    most = max(most, here.server.held)
            await here.left(0)
        assert 0 < most <= LIMITS.max_frame
        assert "frame_too_large" in [entry.get("why") for entry in logs]
        await here.still_serves_others()


async def test_all_unfinished_messages_together_are_bounded_too() -> None:
    async with place(replace(LIMITS, max_held=2 * 1024 * 1024)) as here:
        clients = [await here.connect() for _ in range(8)]
        for _, writer in clients:
            writer.write(b"\x0b" + b"x" * 700_000)
        await here.left(2)
        assert here.server.held <= 2 * 1024 * 1024
        await here.still_serves_others()


async def test_who_holds_most_is_closed_and_not_who_happens_to_send_next() -> None:
    async with place(replace(LIMITS, max_held=2 * 1024 * 1024)) as here:
        hoarders = [await here.connect() for _ in range(3)]
        for (_, writer), size in zip(hoarders, (600_000, 800_000, 600_000), strict=True):
            writer.write(b"\x0b" + b"x" * size)
        await until(lambda: here.server.held == 2_000_000)
        innocent = await here.connect()
        with capture_logs() as logs:
            assert await asked(innocent, b"y" * 500_000) == b"answer to " + b"y" * 100
            assert await closed(hoarders[1]) == b""
            await here.left(3)
        assert [entry["why"] for entry in logs if entry["event"] == "mllp_closed"] == [
            "memory_full"
        ]
        assert here.server.held == 1_200_000
        hoarders[0][1].write(b"\x1c\r")
        assert await answered(hoarders[0]) == b"answer to " + b"x" * 100


async def test_who_holds_most_is_closed_while_its_message_is_handled_too() -> None:
    async with place(replace(LIMITS, max_held=1024 * 1024)) as here:
        here.receiver.let_go.clear()
        large, small = await here.connect(), await here.connect()
        large[1].write(framed(b"x" * 900_000))
        await here.receiver.came.wait()
        with capture_logs() as logs:
            small[1].write(framed(b"y" * 300_000))
            assert await closed(large) == b""
        assert "memory_full" in [entry.get("why") for entry in logs]
        here.receiver.let_go.set()
        assert await answered(small) == b"answer to " + b"y" * 100
        await here.still_serves_others()


async def test_a_large_message_is_taken_whole() -> None:
    async with place() as here:
        message = b"x" * LIMITS.max_frame
        assert await asked(await here.connect(), message) == b"answer to " + b"x" * 100
        assert here.receiver.messages == [message]


async def test_three_hundred_connections_are_served_beside_one_another() -> None:
    async with place() as here:
        clients = [await here.connect() for _ in range(300)]
        for n, (_, writer) in enumerate(clients):
            writer.write(framed(b"m%d" % n))
        answers = [await answered(client) for client in clients]
        assert answers == [b"answer to m%d" % n for n in range(300)]


async def test_connections_beyond_the_limit_are_closed_at_once_and_the_others_stay() -> None:
    async with place(replace(LIMITS, max_connections=20)) as here:
        first = [await here.connect() for _ in range(20)]
        with capture_logs() as logs:
            for _ in range(280):
                assert await closed(await here.connect()) == b""
        for client in first:
            assert await asked(client, b"m") == b"answer to m"
        full = [entry for entry in logs if entry["event"] == "mllp_connections_full"]
        assert 1 <= len(full) < 20
        first[0][1].close()
        await here.left(19)
        await here.still_serves_others()


async def test_one_address_does_not_take_the_places_of_the_others() -> None:
    async with place(replace(LIMITS, max_per_address=4)) as here:
        first = [await here.connect(address="127.0.0.2") for _ in range(4)]
        with capture_logs() as logs:
            for _ in range(20):
                assert await closed(await here.connect(address="127.0.0.2")) == b""
        full = [entry for entry in logs if entry["event"] == "mllp_connections_full"]
        assert 1 <= len(full) < 20
        assert {entry["last"] for entry in full} == {"127.0.0.2"}
        await here.still_serves_others()
        for client in first:
            assert await asked(client, b"m") == b"answer to m"
        first[0][1].close()
        await here.left(3)
        assert await asked(await here.connect(address="127.0.0.2"), b"m") == b"answer to m"


async def test_who_has_been_idle_longest_gives_way_to_who_finds_no_place() -> None:
    async with place(
        replace(LIMITS, max_connections=3, give_way_after=0.5, give_way_unused_after=0.5)
    ) as here:
        longest, idle, recent = [await here.connect() for _ in range(3)]
        assert await asked(idle, b"m") == b"answer to m"
        await asyncio.sleep(0.6)
        assert await asked(recent, b"m") == b"answer to m"
        with capture_logs() as logs:
            new = await here.connect()
            assert await asked(new, b"m") == b"answer to m"
            assert await closed(longest) == b""
            newer = await here.connect()
            assert await asked(newer, b"m") == b"answer to m"
            assert await closed(idle) == b""
            assert await closed(await here.connect()) == b""  # nobody is idle for long enough
        assert [entry["why"] for entry in logs if entry["event"] == "mllp_closed"] == [
            "gave_way",
            "gave_way",
        ]
        for client in (recent, new, newer):
            assert await asked(client, b"m") == b"answer to m"


async def test_who_only_connects_keeps_no_sender_out_and_senders_keep_their_places() -> None:
    async with place(replace(LIMITS, max_connections=4, give_way_unused_after=0.2)) as here:
        senders = [await here.connect() for _ in range(2)]
        for client in senders:
            assert await asked(client, b"m") == b"answer to m"
        silent = [await here.connect() for _ in range(2)]
        assert await closed(await here.connect()) == b""  # not yet
        await asyncio.sleep(0.3)
        late = await here.connect()
        assert await asked(late, b"m") == b"answer to m"
        assert await closed(silent[0]) == b""
        for client in (*senders, late):
            assert await asked(client, b"m") == b"answer to m"


async def test_nobody_gives_way_in_the_middle_of_a_message() -> None:
    async with place(
        replace(LIMITS, max_connections=2, give_way_after=0.1, give_way_unused_after=0.1)
    ) as here:
        here.receiver.let_go.clear()
        half, handled = await here.connect(), await here.connect()
        handled[1].write(framed(b"handled"))
        half[1].write(b"\x0bha")
        await here.receiver.came.wait()
        await until(lambda: here.server.held == len(b"handled") + len(b"ha"))
        await asyncio.sleep(0.2)
        assert await closed(await here.connect()) == b""
        here.receiver.let_go.set()
        half[1].write(b"lf\x1c\r")
        assert await answered(half) == b"answer to half"
        assert await answered(handled) == b"answer to handled"


async def test_at_the_limit_of_an_address_only_its_own_give_way() -> None:
    async with place(
        replace(LIMITS, max_per_address=1, give_way_after=0.1, give_way_unused_after=0.1)
    ) as here:
        other = await here.connect(address="127.0.0.2")
        old = await here.connect()
        await asyncio.sleep(0.2)
        assert await asked(await here.connect(), b"m") == b"answer to m"
        assert await closed(old) == b""
        assert await asked(other, b"m") == b"answer to m"


async def test_a_sender_that_never_reads_its_answers_is_left_and_the_others_are_served() -> None:
    async with place(replace(LIMITS, drain_timeout=0.5)) as here:
        _, writer = await here.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with capture_logs() as logs:
            # Each answer is 100 KB: they fill the sockets' buffers, then ours.
            writer.write(b"".join(framed(b"long %d" % n) for n in range(2_000)))
            await here.still_serves_others()
            await here.left(0)
        assert "answers_not_read" in [entry.get("why") for entry in logs]
        assert len(here.receiver.messages) < 500


async def test_a_sender_that_resets_the_connection_disturbs_nobody() -> None:
    async with place() as here:
        here.receiver.let_go.clear()
        _, writer = await here.connect()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(framed(b"m"))
        await here.receiver.came.wait()
        writer.transport.abort()
        here.receiver.let_go.set()
        await here.left(0)
        await here.still_serves_others()


# -- stopping -------------------------------------------------------------------------------


async def test_stopping_answers_what_is_in_flight_and_takes_nothing_more() -> None:
    async with place() as here:
        idle, busy = await here.connect(), await here.connect()
        assert await asked(idle, b"m") == b"answer to m"
        here.receiver.came.clear()
        here.receiver.let_go.clear()
        busy[1].write(framed(b"in flight") + framed(b"after it"))
        await here.receiver.came.wait()
        stopping = asyncio.create_task(here.server.stop(within=5))
        assert await closed(idle) == b""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", busy[1].get_extra_info("peername")[1])
        assert not stopping.done()
        here.receiver.let_go.set()
        assert await closed(busy) == framed(b"answer to in flight")
        await stopping
        assert here.receiver.messages == [b"m", b"in flight"]


async def test_stopping_does_not_wait_for_ever() -> None:
    async with place() as here:
        here.receiver.let_go.clear()
        client = await here.connect()
        client[1].write(framed(b"stuck"))
        await here.receiver.came.wait()
        async with asyncio.timeout(3):
            await here.server.stop(within=0.2)
        assert await closed(client) == b""


async def test_stopping_cuts_a_message_that_is_not_finished() -> None:
    async with place() as here:
        client = await here.connect()
        client[1].write(b"\x0bhalf")
        await until(lambda: here.server.held > 0)
        await here.server.stop(within=1)
        assert await closed(client) == b""
        assert here.receiver.messages == []


# -- TLS ------------------------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def server_tls(ours: Authority) -> ssl.SSLContext:
    return server_context(certificate=ours.issue("server"), client_ca=ours.path)


@pytest.fixture
def client_tls(ours: Authority) -> Callable[[Path | None], ssl.SSLContext]:
    def context(certificate: Path | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(ours.path))
        if certificate is not None:
            made.load_cert_chain(certificate)
        return made

    return context


ClientTls = Callable[[Path | None], ssl.SSLContext]


async def test_a_senders_certificate_names_it(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls
) -> None:
    async with place(tls=server_tls) as here:
        certificate = ours.issue("Lab-East")
        client = await here.connect(client_tls(certificate))
        assert await asked(client, b"m") == b"answer to m"
        (peer,) = here.receiver.peers
        pem = x509.load_pem_x509_certificate(certificate.read_bytes())
        fingerprint = pem.fingerprint(hashes.SHA256()).hex()
        assert peer.names == {"lab-east", "localhost", f"sha256:{fingerprint}"}
        assert [peer.address for peer in here.receiver.peers] == ["127.0.0.1"]


async def test_of_a_certificate_with_two_common_names_neither_counts(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls
) -> None:
    async with place(tls=server_tls) as here:
        assert await asked(await here.connect(client_tls(ours.issue("lab", "his"))), b"m")
        (peer,) = here.receiver.peers
        assert not peer.names & {"lab", "his"}


async def test_without_a_certificate_that_we_trust_nobody_is_let_in(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls, tmp_path: Path
) -> None:
    strangers = Authority(tmp_path, "strangers").issue("lab-east")
    async with place(tls=server_tls) as here:
        for certificate in (None, strangers):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client = await here.connect(client_tls(certificate))
                client[1].write(framed(b"m"))
                await client[1].drain()
                # In TLS 1.3 a client learns of it only when it reads.
                if not await client[0].read(1):
                    raise ConnectionResetError
        await here.left(0)
        assert here.receiver.messages == []
        assert await asked(await here.connect(client_tls(ours.issue("his"))), b"m")


async def test_without_client_certificates_everybody_is_let_in_and_nobody_named(
    ours: Authority, client_tls: ClientTls
) -> None:
    async with place(tls=server_context(certificate=ours.issue("server"))) as here:
        assert await asked(await here.connect(client_tls(None)), b"m") == b"answer to m"
        assert [peer.names for peer in here.receiver.peers] == [frozenset()]


async def test_a_certificate_that_was_renewed_is_shown_without_a_restart(
    ours: Authority, client_tls: ClientTls, tmp_path: Path
) -> None:
    file = tmp_path / "tls.crt"
    put(file, ours)
    async with place(tls=Renewed(partial(server_context, certificate=file), file)) as here:
        first = await here.connect(client_tls(None))
        before = shown_to(first)
        assert shown_to(await here.connect(client_tls(None))) == before
        with capture_logs() as logs:
            for broken in ("no certificate", "nor this", None):
                file.write_text(broken) if broken else file.unlink()
                for _ in range(2):
                    assert shown_to(await here.connect(client_tls(None))) == before
        assert [e["log_level"] for e in logs if e["event"] == "certificate_not_taken"] == [
            "error"
        ] * 3
        after = put(file, ours)
        assert shown_to(await here.connect(client_tls(None))) == after != before
        assert await asked(first, b"m") == b"answer to m"


def put(file: Path, ours: Authority) -> bytes:
    """A certificate of its own each time, put in place as a whole; in DER."""
    new = ours.issue("server")
    certificate = x509.load_pem_x509_certificate(new.read_bytes())
    new.replace(file)
    return certificate.public_bytes(serialization.Encoding.DER)


def shown_to(client: Client) -> bytes:
    return bytes(client[1].get_extra_info("ssl_object").getpeercert(binary_form=True))


async def test_handshakes_that_are_never_finished_count_and_end(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls
) -> None:
    limits = replace(LIMITS, max_connections=5, handshake_timeout=0.5)
    async with place(limits, server_tls) as here:
        silent = [await here.connect() for _ in range(5)]
        await until(lambda: here.server.connections == 5)
        with pytest.raises((ssl.SSLError, OSError)):
            await here.connect(client_tls(ours.issue("his")))
        for client in silent:
            assert await closed(client) == b""
        await here.left(0)
        assert await asked(await here.connect(client_tls(ours.issue("his"))), b"m")


async def test_a_sender_without_tls_is_not_understood_and_disturbs_nobody(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls
) -> None:
    async with place(tls=server_tls) as here:
        plain = await here.connect()
        plain[1].write(framed(b"MSH|^~\\&|HIS"))
        await closed(plain)
        assert await asked(await here.connect(client_tls(ours.issue("his"))), b"m")
        assert len(here.receiver.messages) == 1


async def test_a_large_message_and_a_stop_pass_through_tls(
    ours: Authority, server_tls: ssl.SSLContext, client_tls: ClientTls
) -> None:
    async with place(tls=server_tls) as here:
        client = await here.connect(client_tls(ours.issue("his")))
        assert await asked(client, b"x" * LIMITS.max_frame) == b"answer to " + b"x" * 100
        here.receiver.came.clear()
        here.receiver.let_go.clear()
        client[1].write(framed(b"in flight"))
        await here.receiver.came.wait()
        stopping = asyncio.create_task(here.server.stop(within=5))
        await asyncio.sleep(0.05)
        here.receiver.let_go.set()
        assert await closed(client) == framed(b"answer to in flight")
        await stopping
