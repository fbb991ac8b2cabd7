"""What must hold of any bytes that a sender may send? Each target raises where it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from services.interop.domain.receipt import Standing
from services.interop.edge.frames import Frames, framed
from services.interop.edge.hl7 import charset
from services.interop.edge.hl7.ack import acknowledge, wanted
from services.interop.edge.hl7.escapes import Separators
from services.interop.edge.hl7.header import Header, read_header
from services.interop.edge.hl7.message import parse
from services.interop.edge.hl7.receive import Senders, outcome_of
from services.interop.edge.hl7.refused import ErrorCode, Refused
from services.interop.handlers import HANDLERS, RECEIVE
from tests.fuzz.mutate import Pool
from tests.support.rules import Case
from tests.unit.interop.hl7_given import CORPUS, NOW, ZONE, adult_age, profile, sample

SEEDS = [path.read_bytes() for path in sorted(CORPUS.glob("*.hl7"))]
POOL = Pool(SEEDS)
#: As the sample profile is named in half of the corpus, both profiles are read by.
SENDERS = Senders([sample()], profile(), ZONE, adult_age)
LIMIT = 64


def frames(data: bytes) -> None:
    """The stream gives the same messages however it is cut, and never holds too much."""
    random = Random(len(data))
    whole, cut = Frames(LIMIT, LIMIT), Frames(LIMIT, LIMIT)
    expected, found = whole.feed(data), list[bytes]()
    while data:
        size = random.choice((1, 1, 2, 7, 40))
        found += cut.feed(data[:size])
        data = data[size:]
        assert cut.held <= LIMIT
    assert found == expected
    assert (whole.open, whole.held, whole.broken) == (cut.open, cut.held, cut.broken)
    assert all(len(message) <= LIMIT for message in found)


def messages(raw: bytes) -> None:
    """A message is read, mapped, decided and answered; or refused, and answered. No fault of
    its own makes an error of ours, and no answer could be taken for anything else."""
    received = SENDERS.received(raw, NOW)
    internal = [f for f in received.faults if f.code == str(int(ErrorCode.INTERNAL))]
    assert not internal, internal
    decided = Case(HANDLERS, now=NOW).command(RECEIVE, received, source="/mllp")
    standing = Standing(getattr(decided, "result")["standing"])  # noqa: B009 - of a Decision
    assert (standing is Standing.REFUSED) == bool(received.faults)
    header = read_header(raw)
    code = wanted(header, outcome_of(standing))
    if code is None:
        return
    answer = acknowledge(header, code, "1", NOW, received.faults)
    assert Frames(len(answer)).feed(framed(answer)) == [answer]
    to = header or Header()  # and so its sender reads it
    msh, msa, *errors = (
        line.split(to.separator) for line in answer.decode(to.codec).split("\r") if line
    )
    assert (msh[0], msh[8].split(to.component)[0], msa[0], msa[1]) == ("MSH", "ACK", "MSA", code)
    assert (msa[2] if len(msa) > 2 else "") == to.control_id
    assert {fields[0] for fields in errors} <= {"ERR"}
    assert len(errors) >= bool(received.faults)


def headers(raw: bytes) -> None:
    """What is read of a header alone is what stands in the message."""
    header = read_header(raw)
    try:
        message = parse(raw)
    except Refused:
        return
    first = message.separators.field.join(message.header.fields)
    if header is not None and first.isascii() and first.isprintable():
        assert header.control_id.strip() == message.header.raw(10).strip()
        assert header.message_type == message.header.raw(9).strip()


def texts(raw: bytes) -> None:
    """What an escape stands for is no longer than it is, and can be written anywhere."""
    try:
        text, codec, _ = charset.decode(raw)
    except Refused:
        return
    meant = Separators(codec=codec).unescape(text)
    assert len(meant) <= len(text)
    meant.encode()


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "frames": frames,
    "headers": headers,
    "texts": texts,
    "messages": messages,
}
