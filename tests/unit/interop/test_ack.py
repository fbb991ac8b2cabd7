"""Does a sender hear what it asked for, in its own terms, whatever it sent?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.interop.domain.receipt import Fault
from services.interop.edge.hl7.ack import Code, Outcome, acknowledge, wanted
from services.interop.edge.hl7.header import Header, read_header
from services.interop.edge.hl7.message import parse

NOW = datetime(2026, 3, 1, 8, 30, 5, tzinfo=timezone(timedelta(hours=8)))
MSH = (
    "MSH|^~\\&|HIS|EAST^1.2^ISO|LIANXIN|HUB|20260301083000||ADT^A03^ADT_A03|4711|P|{version}"
    "|||{accept}|{application}||{charset}"
)


def msh(
    version: str = "2.5.1", accept: str = "", application: str = "", charset: str = ""
) -> bytes:
    text = MSH.format(version=version, accept=accept, application=application, charset=charset)
    return text.encode() + b"\rPID|1"


def header(raw: bytes) -> Header:
    found = read_header(raw)
    assert found is not None
    return found


def answer(raw: bytes, code: Code = Code.AR, *errors: Fault) -> list[str]:
    to = header(raw)
    text = acknowledge(to, code, "A1", NOW, errors).decode(to.codec)
    assert text.endswith("\r")
    return text.split("\r")[:-1]


MISSING = Fault(segment="PID", field=3, code="101", text="no identifier of ours")
UNORDERED = Fault(segment="PV1", sequence=2, code="100", text="a second visit")


# -- which code -----------------------------------------------------------------------------

A: list[str | None] = ["AA", "AE", "AR"]
C: list[str | None] = ["CA", "CE", "CR"]
#: MSH-15, MSH-16: what is sent for a message that is stored, to be sent again, never right.
ASKED: dict[tuple[str, str], list[str | None]] = {
    ("", ""): A,
    ("", "AL"): A,
    ("", "NE"): [None, None, None],
    ("", "ER"): [None, "AE", "AR"],
    ("", "SU"): ["AA", None, None],
    ("AL", ""): C,
    ("AL", "AL"): C,
    ("AL", "NE"): C,
    ("AL", "ER"): C,
    ("AL", "SU"): C,
    ("NE", ""): [None, None, None],
    ("NE", "AL"): A,
    ("NE", "NE"): [None, None, None],
    ("NE", "ER"): [None, "AE", "AR"],
    ("NE", "SU"): ["AA", None, None],
    ("ER", ""): [None, "CE", "CR"],
    ("ER", "AL"): ["AA", "CE", "CR"],
    ("ER", "NE"): [None, "CE", "CR"],
    ("ER", "ER"): [None, "CE", "CR"],
    ("ER", "SU"): ["AA", "CE", "CR"],
    ("SU", ""): ["CA", None, None],
    ("SU", "AL"): ["CA", "AE", "AR"],
    ("SU", "NE"): ["CA", None, None],
    ("SU", "ER"): ["CA", "AE", "AR"],
    ("SU", "SU"): ["CA", None, None],
}


def test_the_table_of_conditions_is_complete() -> None:
    assert set(ASKED) == set(product(["", "AL", "NE", "ER", "SU"], repeat=2))


@pytest.mark.parametrize("asked", ASKED)
def test_the_sender_hears_what_it_asked_for(asked: tuple[str, str]) -> None:
    to = header(msh(accept=asked[0], application=asked[1]))
    assert [wanted(to, outcome) for outcome in Outcome] == ASKED[asked]


def test_a_condition_that_nobody_knows_is_answered_always() -> None:
    assert [wanted(header(msh(accept="YES")), outcome) for outcome in Outcome] == C


def test_conditions_may_be_written_small() -> None:
    assert wanted(header(msh(accept="ne", application="al")), Outcome.STORED) is Code.AA


def test_an_acknowledgement_is_not_acknowledged() -> None:
    ack = header(acknowledge(header(msh()), Code.AA, "A1", NOW))
    assert [wanted(ack, outcome) for outcome in Outcome] == [None, None, None]


def test_without_a_header_the_original_mode_holds() -> None:
    assert wanted(None, Outcome.NEVER) is Code.AR


# -- what it says ---------------------------------------------------------------------------


def test_sender_and_receiver_are_swapped_and_all_else_stays_the_senders() -> None:
    assert answer(msh(charset="UNICODE UTF-8"), Code.AA) == [
        "MSH|^~\\&|LIANXIN|HUB|HIS|EAST^1.2^ISO|20260301083005+0800||ACK^A03^ACK|A1|P|2.5.1"
        "||||||UNICODE UTF-8",
        "MSA|AA|4711",
    ]


def test_from_2_5_on_each_error_has_a_segment() -> None:
    assert answer(msh(), Code.AR, MISSING, UNORDERED)[1:] == [
        "MSA|AR|4711",
        "ERR||PID^1^3|101^Required field missing^HL70357|E||||no identifier of ours",
        "ERR||PV1^2|100^Segment sequence error^HL70357|E||||a second visit",
    ]


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.4^CHN"])
def test_before_2_5_the_errors_share_a_segment_and_the_text_is_in_the_msa(version: str) -> None:
    assert answer(msh(version), Code.AR, MISSING, UNORDERED)[1:] == [
        "MSA|AR|4711|no identifier of ours; a second visit",
        "ERR|PID^1^3^101&Required field missing&HL70357~PV1^2^^100&Segment sequence error&HL70357",
    ]


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6", "2.7.1", "2.8", "2.9", "3.0", "", "x"])
def test_the_newer_form_is_for_all_later_and_unknown_versions(version: str) -> None:
    assert len(answer(msh(version), Code.AR, MISSING, UNORDERED)) == 4


def test_a_version_that_is_missing_is_said_by_us() -> None:
    assert header("\r".join(answer(msh(""))).encode()).version == "2.5.1"


def test_errors_beside_an_acceptance_are_warnings() -> None:
    assert answer(msh(), Code.AA, MISSING)[2].split("|")[4] == "W"


def test_an_old_text_is_no_longer_than_its_field() -> None:
    long = MISSING.model_copy(update={"text": "x" * 200})
    assert answer(msh("2.3"), Code.AR, long)[1] == f"MSA|AR|4711|{'x' * 80}"


def test_separators_and_line_ends_in_a_text_stay_text() -> None:
    nasty = MISSING.model_copy(update={"text": "a|b^c~d\\e&f\r\nMSH|g\x0b\x1ch"})
    lines = answer(msh(), Code.AR, nasty)
    assert lines[2].split("|")[8] == r"a\F\b\S\c\R\d\E\e\T\f MSH\F\g h"
    assert len(lines) == 3


def test_the_senders_own_separators_are_used() -> None:
    raw = b"MSH#*-%@#HIS#EAST###20260301##ADT*A08#9#P#2.6\r"
    odd = MISSING.model_copy(update={"text": "a|b#c*d-e%f@g"})
    assert answer(raw, Code.AE, odd) == [
        "MSH#*-%@###HIS#EAST#20260301083005+0800##ACK*A08*ACK#A1#P#2.6",
        "MSA#AE#9",
        "ERR##PID*1*3#101*Required field missing*HL70357#E####a|b%F%c%S%d%R%e%E%f%T%g",
    ]


def test_a_truncation_character_is_escaped_too() -> None:
    raw = msh("2.7").replace(b"^~\\&", b"^~\\&#", 1)
    number = MISSING.model_copy(update={"text": "no. #1"})
    assert answer(raw, Code.AR, number)[2].endswith(r"|no. \P\1")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf-8"),
        ("UNICODE UTF-8", "utf-8"),
        ("GB18030", "gb18030"),
        ("GB 18030-2000", "gb18030"),
    ],
)
def test_the_answer_is_in_the_senders_character_set(charset: str, codec: str) -> None:
    raw = msh(charset=charset).decode().replace("HIS", "检验系统").encode(codec)
    chinese = MISSING.model_copy(update={"text": "缺少患者标识"})
    text = acknowledge(header(raw), Code.AR, "A1", NOW, [chinese]).decode(codec)
    assert "|检验系统|" in text
    assert "|缺少患者标识" in text


@pytest.mark.parametrize(("charset", "text"), [("8859/1", b"Gr\xfc\xdfe ?"), ("ASCII", b"Gr??e ?")])
def test_what_the_character_set_lacks_is_replaced(charset: str, text: bytes) -> None:
    greeting = MISSING.model_copy(update={"text": "Grüße 您"})
    raw = acknowledge(header(msh(charset=charset)), Code.AR, "A1", NOW, [greeting])
    assert raw.endswith(b"|" + text + b"\r")


def test_what_is_in_no_character_set_comes_back_as_it_was() -> None:
    raw = msh().replace(b"4711", b"\xff\xfe4711\x81")
    assert b"MSA|AA|\xff\xfe4711\x81\r" in acknowledge(header(raw), Code.AA, "A1", NOW)


def test_a_second_byte_that_looks_like_a_separator_separates_nothing() -> None:
    # In GB18030 the second byte of 倈 is that of "|".
    raw = msh(charset="GB18030").decode().replace("HIS", "倈倈").encode("gb18030")
    assert raw.count(b"|") > msh(charset="GB18030").count(b"|")
    assert header(raw).sending_application == "倈倈"
    assert header(raw).control_id == "4711"


# -- what can be read of it -----------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n", b"  ", b"\xef\xbb\xbf\r\n"])
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b""])
def test_a_header_is_read_behind_a_bom_and_before_any_line_end(before: bytes, end: bytes) -> None:
    raw = before + msh().split(b"\r")[0].rstrip(b"|") + end
    assert header(raw).control_id == "4711"
    assert header(raw).version == "2.5.1"


def test_a_control_id_comes_back_to_the_blank() -> None:
    assert "MSA|AA|4711 " in answer(msh().replace(b"4711", b"4711 "), Code.AA)


def test_a_header_that_ends_early_has_empty_fields() -> None:
    short = header(b"MSH|^~\\&|HIS")
    assert (short.sending_application, short.control_id, short.trigger) == ("HIS", "", "")
    assert answer(b"MSH|^~\\&|HIS", Code.AR)[0].startswith("MSH|^~\\&|||HIS||2026")


def test_missing_encoding_characters_are_the_usual_ones() -> None:
    assert header(b"MSH|^|HIS").encoding == "^~\\&"
    assert header(b"MSH||HIS").encoding == "^~\\&"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"MSH",
        b"msh|^~\\&|",
        b"PID|1",
        b"MSHABC",
        b"MSH ^~",
        b"MSH\r|",
        b"FHS|^~\\&|",
        b"\x00" * 99,
    ],
)
def test_without_an_msh_the_answer_refers_to_nothing(raw: bytes) -> None:
    assert read_header(raw) is None
    none = Fault(segment="MSH", code="100", text="no MSH")
    assert acknowledge(None, Code.AR, "A1", datetime(2026, 3, 1, tzinfo=UTC), [none]) == (
        b"MSH|^~\\&|||||20260301000000+0000||ACK|A1|P|2.5.1||||||UNICODE UTF-8\r"
        b"MSA|AR\r"
        b"ERR||MSH^1|100^Segment sequence error^HL70357|E||||no MSH\r"
    )


def test_a_first_line_without_end_is_looked_at_no_further_than_needed() -> None:
    endless = header(msh().split(b"\r")[0] + b"|x" * 10_000_000)
    assert endless.control_id == "4711"


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd_for_an_answer(rest: bytes) -> None:
    for raw in (rest, b"MSH" + rest, b"MSH|^~\\&|" + rest):
        to = read_header(raw)
        for outcome in Outcome:
            wanted(to, outcome)
        acknowledge(to, Code.AR, "A1", NOW, [MISSING])


@given(st.text(max_size=60), st.sampled_from(["2.3", "2.5.1"]))
def test_an_answer_can_be_read_as_a_message(text: str, version: str) -> None:
    fault = MISSING.model_copy(update={"text": text.encode(errors="replace").decode()})
    ack = parse(acknowledge(header(msh(version)), Code.AR, "A1", NOW, [fault]))
    assert ack.type == ("ACK", "A03")
    assert ack.need("MSA").text(2) == "4711"
    assert len(ack.all("ERR")) == 1
