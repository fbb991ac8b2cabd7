"""Is any message read as it was meant, and anything else refused at its place?"""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from services.interop.edge.hl7 import types
from services.interop.edge.hl7.message import NULL, Segment, parse
from services.interop.edge.hl7.refused import ErrorCode, Refused
from tests.unit.interop.hl7_given import ZONE, message, raw


def field(text: str) -> Segment:
    return message("ADT^A08", f"ZZ1|{text}").need("ZZ1")


def test_segments_fields_repetitions_and_components_count_as_in_the_standard() -> None:
    found = message("ADT^A08", "PID|1||a^b&c~d", "NK1|1", "NK1|2")
    pid = found.need("PID")
    assert found.header.text(9) == "ADT" and found.header.text(9, 2) == "A08"
    assert found.header.raw(1) == "|" and found.header.raw(2) == "^~\\&"
    assert pid.text(3, 2, 2) == "c" and [v.text() for v in pid.values(3)] == ["a", "d"]
    assert [s.sequence for s in found.all("NK1")] == [1, 2]
    assert pid.text(99) is None and pid.text(3, 9) is None


def test_groups_run_from_one_segment_of_a_kind_to_the_next() -> None:
    found = message("ORU^R01", "PID|1", "ORC|a", "OBR|1", "OBX|1", "OBX|2", "OBR|2", "NTE|1")
    first, second = found.groups("OBR")
    assert [s.name for s in first.segments] == ["OBX", "OBX"]
    assert [s.name for s in second.segments] == ["NTE"]
    assert found.before(first.head, "ORC", within="OBR") is not None
    assert found.before(second.head, "ORC", within="OBR") is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a\\T\\b", "a&b"),
        ("\\F\\\\S\\\\R\\\\E\\", "|^~\\"),
        ("one\\.br\\two", "one\ntwo"),
        ("\\H\\bold\\N\\", "bold"),
        ("\\E\\T\\E\\", "\\T\\"),  # an escaped escape is not read twice
        ("\\XE4B8AD\\", "中"),
        ("\\X4\\", "\\X4\\"),  # half a byte is no escape
        ("\\Zown\\", "\\Zown\\"),
        ("c:\\temp", "c:\\temp"),
    ],
)
def test_escapes_are_replaced_once_and_what_is_none_stays(written: str, meant: str) -> None:
    assert field(written).text(1) == meant


def test_an_explicit_null_is_nothing_and_can_be_told_from_silence() -> None:
    found = field('""|')
    assert found.text(1) is None and found.raw(1) == NULL
    assert found.text(2) is None and found.raw(2) == ""


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "  \r\n\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_marks_and_blanks_make_no_difference(end: str, bom: bytes) -> None:
    sent = bom + raw("ADT^A08", "PID|1||7").replace(b"\r", end.encode()) + end.encode()
    assert parse(sent).need("PID").text(3) == "7"


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("GB18030", "gb18030"),
        ("GB 18030-2000", "gb18030"),
        ("", "utf-8"),
        ("", "gb18030"),
        ("ASCII", "gb18030"),  # says one thing and does another
    ],
)
def test_chinese_is_read_in_every_character_set(declared: str, codec: str) -> None:
    # The second byte of the first is that of "|", of the second that of "^".
    text = "PID|1||丂緗癩~7"
    sent = raw("ADT^A08", text, charset=declared).decode().encode(codec)
    assert [v.text() for v in parse(sent).need("PID").values(3)] == ["丂緗癩", "7"]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("路隆", "gb18030"), ("José", "utf-8"), ("Иван", "utf-8"), ("张三", "utf-8")],
)
def test_a_short_name_is_read_though_nothing_says_how(name: str, codec: str) -> None:
    sent = raw("ADT^A08", f"PID|1||{name}").decode().encode(codec)
    assert parse(sent).need("PID").text(3) == name


def test_latin_letters_are_read_where_declared_and_guessed_with_a_note() -> None:
    sent = raw("ADT^A08", "PID|1||Zoé", charset="8859/1").decode().encode("latin-1")
    assert parse(sent).need("PID").text(3) == "Zoé"
    guessed = parse(raw("ADT^A08", "PID|1||Zo?").replace(b"?", b"\xe9\xff"))
    assert guessed.need("PID").text(3) == "Zoéÿ" and guessed.oddities


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        (b"", ("MSH", 0)),
        (b"PID|1", ("MSH", 0)),
        (b"MSH", ("MSH", 1)),
        (b"MSH|", ("MSH", 2)),
        (b"MSH|||", ("MSH", 2)),
        (b"MSH|^^~", ("MSH", 2)),
        (b"\xff\xfeM\x00", ("MSH", 18)),
        (b"MSH|^~\\&|a\rMSH|^~\\&|b", ("MSH", 0)),
    ],
)
def test_what_is_no_message_is_refused(sent: bytes, place: tuple[str, int]) -> None:
    with pytest.raises(Refused) as refused:
        parse(sent)
    assert (refused.value.segment, refused.value.field) == place


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("20261120093000", datetime(2026, 11, 20, 1, 30, tzinfo=UTC)),
        ("20261120093000.25+0215", datetime(2026, 11, 20, 7, 15, 0, 250_000, tzinfo=UTC)),
        ("202611200930Z", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("20261120", datetime(2026, 11, 19, 16, tzinfo=UTC)),
        ("2026", datetime(2025, 12, 31, 16, tzinfo=UTC)),
        ("2026-0500", datetime(2026, 1, 1, 5, tzinfo=UTC)),  # a year and an offset
        ("2026-11-20 09:30:00", datetime(2026, 11, 20, 1, 30, tzinfo=UTC)),
        ("20261231235960", datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_have_the_hospitals_zone_unless_they_say_another(
    written: str, meant: datetime
) -> None:
    assert types.moment(field(written), 1, ZONE) == meant


@pytest.mark.parametrize(
    "written", ["tomorrow", "20261301", "20260230", "00010101", "99991231+9900", "2026112009300"]
)
def test_a_time_that_is_none_is_refused_with_its_field(written: str) -> None:
    with pytest.raises(Refused) as refused:
        types.moment(field(written), 1, ZONE)
    assert (refused.value.segment, refused.value.field) == ("ZZ1", 1)
    assert refused.value.code is ErrorCode.DATA_TYPE
    assert written not in str(refused.value), "a value may be personal"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("19680412", types.Day(date(1968, 4, 12), True)),
        ("19880818112600+0215", types.Day(date(1988, 8, 18), True)),
        ("196804", types.Day(date(1968, 4, 30), False)),
        ("1968", types.Day(date(1968, 12, 31), False)),
    ],
)
def test_of_half_a_birthday_the_last_possible_day_counts(written: str, meant: types.Day) -> None:
    assert types.day(field(written), 1) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("张^三", "张三"),
        ("ZHANG^SAN^^^^^^A~张^三^^^^^^I", "张三"),
        ("Smith^John^Q", "John Q Smith"),
        ("Nick^^^^^^N~Smith^John^^^^^L", "John Smith"),
        ("欧阳&&^甲", "欧阳甲"),
    ],
)
def test_names_are_written_as_people_write_them(written: str, meant: str) -> None:
    assert types.person_name(field(written).values(1)) == meant


@pytest.mark.parametrize(
    ("written", "phone", "email"),
    [
        ("13800000001", "13800000001", None),
        ("^PRN^PH^^^10^8888~^PRN^CP^^86^^13800000001", "+8613800000001", None),
        ("^NET^Internet^a@example.org~^^FX^^^^1", None, "a@example.org"),
        ("^^CP^^^^^^^^^13800000002", "13800000002", None),
        ("a@example.org", None, "a@example.org"),
    ],
)
def test_telephones_and_addresses_are_told_apart(
    written: str, phone: str | None, email: str | None
) -> None:
    values = field(written).values(1)
    assert (types.phone(values), types.email(values)) == (phone, email)


def test_numbers_and_structured_numbers() -> None:
    assert [types.number_of(t) for t in ("5", "-5.6", ".5", "1e5", "", "5 mg")] == [
        5,
        -5.6,
        0.5,
        None,
        None,
        None,
    ]
    assert types.structured(field(">^100").value(1)) == ">100"
    assert types.structured(field("^1^:^8").value(1)) == "1:8"
