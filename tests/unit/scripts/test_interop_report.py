"""Is a file taken apart rightly, and is what must not happen called wrong?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libs.common.devstack.mllp import Acknowledgement
from scripts.interop_report import CORPUS, Line, concluded, main, may_be_silent, messages, wrong

ONE = b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\rPID|1\r"
SILENT = b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5|||NE|NE\r"


def answered(code: str) -> Acknowledgement:
    return Acknowledgement(code, "1", (), "")


def kept(standing: str, *codes: str) -> dict[str, Any]:
    return {"standing": standing, "faults": [{"code": code} for code in codes]}


def test_a_file_of_one_message_is_sent_as_it_stands() -> None:
    for file in CORPUS.glob("*.hl7"):
        assert messages(file.read_bytes()) == [file.read_bytes()]


def test_a_second_header_begins_a_second_message_whatever_separators_it_has() -> None:
    other = ONE.replace(b"|", b"#")
    assert messages(ONE + other + b"\n" + ONE) == [ONE, other + b"\n", ONE]
    assert messages(ONE + b"NTE|1||MSH|is no header here\r") != [ONE]


def test_the_framing_of_a_recorded_connection_is_not_sent_along() -> None:
    assert messages(b"\x0b" + ONE + b"\x1c\r\x0b" + ONE + b"\x1c\r") == [ONE.strip()] * 2


def test_a_blank_file_holds_no_message() -> None:
    assert messages(b"\r\n \r\n") == []


def test_only_a_message_that_names_its_conditions_may_stay_without_an_answer() -> None:
    assert may_be_silent(SILENT)
    assert not may_be_silent(ONE)
    assert not may_be_silent(b"no message at all")


@pytest.mark.parametrize(
    ("message", "answer", "stored", "expected"),
    [
        (ONE, answered("AA"), kept("accepted"), ""),
        (ONE, answered("CA"), kept("not_production"), ""),
        (ONE, answered("AR"), kept("refused", "103"), ""),
        (ONE, answered("AR"), kept("refused", "207"), "an error of ours"),
        (ONE, answered("AA"), None, "answered and not stored"),
        (ONE, answered("AE"), None, "answered and not stored"),
        (ONE, answered("AA"), kept("refused", "103"), "acknowledged and refused"),
        (ONE, None, kept("accepted"), "no answer"),
        (SILENT, None, kept("accepted"), ""),
        (SILENT, None, None, "no answer"),
    ],
)
def test_an_answer_and_what_is_stored_have_to_agree(
    message: bytes, answer: Acknowledgement | None, stored: dict[str, Any] | None, expected: str
) -> None:
    assert wrong(message, answer, stored) == expected


def test_one_that_went_wrong_makes_the_whole_fail_and_is_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = Line("a.hl7", "AR", "refused", "refused at PID-7 (1), 102: no such date")
    lost = Line("b.hl7", "AA", "not stored", "", "answered and not stored")
    assert concluded([fine]) == 0
    assert concluded([fine, lost]) == 1
    assert capsys.readouterr().out.endswith("1 not stored, 1 refused; 1 went wrong\n")
    assert str(lost).endswith("!! answered and not stored")


def test_a_folder_without_messages_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "neither *.hl7 nor *.json below" in capsys.readouterr().err
