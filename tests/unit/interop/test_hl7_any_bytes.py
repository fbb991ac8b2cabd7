"""Are any bytes a message or refused, in time and memory that grow with their size?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.interop.edge.hl7.mapping import map_message
from services.interop.edge.hl7.message import Message, parse
from services.interop.edge.hl7.refused import ErrorCode, Refused
from tests.unit.interop.hl7_given import CORPUS, NOW, ZONE, adult_age, profile, raw, sample

CORPUS_BYTES = [path.read_bytes() for path in sorted(CORPUS.glob("*.hl7"))]

#: What could cost more than its size: lines that are joined, groups in groups, endless notes.
LINES = [
    "OBX|1|TX|a||b||||||F\r",
    "OBX|1|TX|a||b||||||F\rOBX|1|NM|a||b||||||Q\r",
    "OBR|1|1|1|x^y^L|||||||||||||||||||||F\r",
    "NK1|1|a|MTH\r",
    "ZZZ|\r",
]


def outcome(sent: bytes) -> Message | Refused:
    """Fails on anything but a message or a refusal, of the parser and of every mapping."""
    found: Message | Refused
    try:
        found = parse(sent)
        for by in (profile(), sample()):
            map_message(found, by, ZONE, NOW, adult_age)
    except Refused as refused:
        found = refused
    return found


@given(st.binary(max_size=2_000))
@settings(max_examples=200, deadline=1_000)
def test_any_bytes_are_a_message_or_refused(sent: bytes) -> None:
    outcome(sent)
    outcome(b"MSH|^~\\&|" + sent)


@given(st.sampled_from(CORPUS_BYTES), st.data())
@settings(max_examples=400, deadline=1_000)
def test_a_damaged_message_is_a_message_or_refused(sent: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sent)))
    until = data.draw(st.integers(at, min(len(sent), at + 40)))
    bits = st.sampled_from([b"|", b"^", b"~", b"\\", b"&", b"\r", b'""', b"\xff", b"-9", b"OBX|"])
    put = b"".join(data.draw(st.lists(st.one_of(bits, st.binary(max_size=8)), max_size=6)))
    assert getattr(outcome(sent[:at] + put + sent[until:]), "code", None) is not ErrorCode.INTERNAL


@pytest.mark.parametrize("filler", ["|", "^", "~", "\\", "&", "\r", "7", *LINES])
def test_a_message_of_many_parts_is_read_in_time_that_grows_with_its_size(filler: str) -> None:
    body = filler * (1_000_000 // len(filler))
    sent = raw("ORU^R01", "PID|1||7^^^^MR", "OBR|1|1|1|x^y^L", f"OBX|1|TX|a||{body}")
    outcome(sent)  # the test's time limit is the assertion


@pytest.mark.parametrize(
    ("kind", "before", "filler", "after"),
    [
        ("SIU^S12", "SCH|1|2\r", "AIS|1||a^b\rTQ1|1||||||20261120\rNTE|1||x|PI\r", ""),
        ("SIU^S12", "SCH|1|2|||||||||||||||||||||||||", "7^H~", "\rAIS|1||a^b\r"),
        ("SIU^S15", "SCH|1|2|||||||||||||||||||||||||", "7^H~", ""),
        ("SIU^S12", "SCH|1|2\r", "AIS|1||a^b\rAIL|1||c\r", ""),
        ("ORM^O01", "ORC|NW|1\r", "OBR|1|||a^b\rTQ1|1||||||20261120\r", ""),
        ("ORM^O01", "", "ORC|NW|1\rOBR|1|||a^b\r", ""),
        ("ADT^A03", "PV1|1|O|X||||||||||||||||V1\r", "PR1|1||a^b|c|20261101\r", ""),
        ("ADT^A03", "PV1|1|O|X\r", "DG1|1||I10\rAL1|1|DA|a^b\rIAM|1|DA|c|d|e|A\r", ""),
        ("MDM^T02", "TXA|1|DS||||2026||||||D1|||||AU\r", "OBX|1|ED|a||^a^b^Base64^YQ==\r", ""),
    ],
)
def test_so_is_one_of_each_family_of_messages(
    kind: str, before: str, filler: str, after: str
) -> None:
    many = filler * (1_000_000 // len(filler))
    outcome(raw(kind, "PID|1||7^^^^MR", before + many + after))
