"""Is everything found that a partner can publish wrongly, and is nothing personal told?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from libs.common.kafka.record import Record
from libs.common.undecodable import Reason
from scripts.findings import RECOMMENDED, REMEDIES, Finding, Inspector, report
from tests.support.planted import (
    ADVISABLE,
    NAME,
    NOW,
    PARTITIONS,
    TOPIC,
    TYPE,
    UNREADABLE,
    WRONG,
    Sent,
    merged,
    sent,
)


def judged(records: Sequence[Record], status: str = "stable", topic: str = TOPIC) -> list[Finding]:
    inspector = Inspector(
        topic, key="patient_id", status={TYPE: status}, partitions=PARTITIONS, now=NOW
    )
    return [finding for record in records for finding in inspector.inspect(record)]


def in_order(records: list[Sent]) -> list[Record]:
    return [replace(record, offset=n) for n, record in enumerate(records)]


def test_nothing_is_said_of_a_sound_record() -> None:
    assert judged([sent()]) == []


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_is_found_at_its_place_and_nothing_besides(code: str) -> None:
    records = in_order(WRONG[code]())
    found = judged(records)
    assert [(f.code, f.hint) for f in found] == [(code, False)]
    assert (found[0].partition, found[0].offset) == (records[-1].partition, records[-1].offset)


@pytest.mark.parametrize("code", ADVISABLE)
def test_what_could_be_better_is_a_hint(code: str) -> None:
    found = judged(in_order(ADVISABLE[code]()))
    assert [(f.code, f.hint) for f in found] == [(code, True)]


def test_a_record_that_the_library_can_t_read_is_wrong() -> None:
    assert [f.code for f in judged([UNREADABLE])] == [Reason.UNREADABLE]


def test_a_type_that_nobody_reads_yet_is_a_hint() -> None:
    assert [(f.code, f.hint) for f in judged([sent()], status="draft")] == [("draft_type", True)]


def test_every_reason_has_a_remedy_and_is_planted() -> None:
    assert REMEDIES.keys() == set(Reason)
    assert set(Reason) - WRONG.keys() == {Reason.UNREADABLE}
    assert {f"no_{name.removeprefix('ce_')}" for name in RECOMMENDED} <= ADVISABLE.keys()


def test_several_things_wrong_with_one_record_are_all_found() -> None:
    wrong = merged(time="2020-01-01T00:00:00Z")
    wrong = replace(wrong, key=b"h1", partition=(wrong.partition + 1) % PARTITIONS)
    assert {"wrong_topic", "long_past"} <= {f.code for f in judged([wrong])}


def test_an_attribute_is_named_and_so_is_a_field() -> None:
    (finding,) = judged(WRONG[Reason.MISSING_ATTRIBUTE]())
    assert finding.detail == "time"
    (finding,) = judged(WRONG[Reason.SCHEMA_VIOLATION]())
    assert finding.detail.startswith("patient.birth_date: ")


def test_a_misspelt_field_is_told_by_the_name_that_it_should_have() -> None:
    (finding,) = judged(ADVISABLE["unknown_field"]())
    assert finding.detail == "the body: a field that the schema does not know, like admitted_at"
    deep = sent(body={"department": {"code": "NEURO", "title": NAME}})
    (finding,) = judged([deep])
    assert finding.detail == "department: a field that the schema does not know"


@pytest.mark.parametrize("code", [*WRONG, *ADVISABLE])
def test_no_value_is_told(code: str) -> None:
    for line in report(judged(in_order((WRONG.get(code) or ADVISABLE[code])()))):
        for value in (NAME, "p-200870", "e-20261118-031", "yesterday", "h1/"):
            assert value not in line


def test_a_repetition_is_no_step_back() -> None:
    first, second = sent("d-1", sequence="1"), sent("d-2", sequence="2")
    assert {f.code for f in judged(in_order([first, second, first]))} == {"repeated"}


def test_the_sequences_of_two_aggregates_are_counted_apart() -> None:
    one, other = sent("d-1", sequence="5"), sent("d-2", sequence="4", subject="e-2")
    assert judged(in_order([one, other])) == []


def test_there_is_an_order_within_a_partition_only() -> None:
    one = sent("d-1", sequence="5")
    other = {"patient_id": "p-7", "encounter_id": "e-20261118-031"}
    elsewhere = sent("d-2", sequence="4", key=b"h1/p-7", body=other)
    assert elsewhere.partition != one.partition
    assert judged(in_order([one, elsewhere])) == []


def test_two_hospitals_may_use_the_same_id() -> None:
    other = sent(hospital="h2", key=b"h2/p-200870", body={"disposition": "other"})
    assert judged(in_order([sent(), other])) == []


def test_structured_mode_is_judged_like_binary_mode() -> None:
    whole = {n.removeprefix("ce_"): v.decode() for n, v in sent().headers if n.startswith("ce_")}
    value = json.dumps({**whole, "data": json.loads(sent().value or b"")}).encode()
    headers = [("content-type", b"application/cloudevents+json")]
    assert judged([replace(sent(), value=value, headers=headers)]) == []
    bare = {k: v for k, v in whole.items() if k != "time"}
    value = json.dumps({**bare, "data": json.loads(sent().value or b"")}).encode()
    assert [f.code for f in judged([replace(sent(), value=value, headers=headers)])] == [
        Reason.MISSING_ATTRIBUTE
    ]


def test_a_time_is_judged_by_when_it_was_published() -> None:
    later = replace(sent(), timestamp=int(NOW.timestamp() * 1000) + 3_600_000)
    assert judged([later]) == []
    assert judged([replace(sent(), timestamp=-1)]) == []


def test_hints_of_one_kind_are_one_line_with_the_first_place() -> None:
    records = in_order([sent(f"d-{n}", sequence=None) for n in range(3)])
    (line,) = report(judged(records))
    assert line.startswith(f"hint, 3 times, first {records[0].partition}:0 no_sequence: ")
