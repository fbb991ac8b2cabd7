"""Is a dead letter found by the name that was said, and is nothing shown of it but names?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lianxin.dead_letters import Filter, shown_headers
from lianxin.records import Letter, letter


@dataclass
class Read:
    """A record as it was read."""

    partition: int = 0
    offset: int = 7
    topic: str = "lianxin.reports.dlq"
    key: bytes | None = b"h1/p-4711"
    value: bytes | None = b"{}"
    timestamp: int = 1_790_000_000_000
    headers: Sequence[tuple[str, bytes]] = (
        ("ce_id", b"e-1"),
        ("ce_source", b"/test/his"),
        ("ce_subject", b"p-4711"),
        ("ce_partitionkey", b"h1/p-4711"),
        ("x-patient", b"p-4711"),
        ("dlq_topic", b"hospital.patients"),
        ("dlq_partition", b"2"),
        ("dlq_offset", b"40"),
        ("dlq_timestamp", b"1790000000000"),
        ("dlq_reason", b"rule_failed"),
        ("dlq_patient", b"p-4711"),
    )


def at(partition: int, offset: int) -> Letter:
    return letter("reports", Read(partition, offset))


def test_an_offset_alone_is_of_the_first_partition() -> None:
    found = [at(0, 7), at(2, 7), at(0, 8)]
    assert [x.place for x in found] == ["7", "2-7", "8"]
    for said, meant in (("7", [found[0]]), ("0-7", [found[0]]), ("2-7", [found[1]])):
        assert [x for x in found if Filter((said,)).takes(x)] == meant
    assert all(Filter(("e-1",)).takes(x) for x in found)


def test_a_header_that_a_publisher_adds_is_shown_to_nobody_who_is_not_audited() -> None:
    shown = shown_headers(Read(), reveal=False)
    assert "p-4711" not in str(shown)
    assert {"ce_id", "ce_source", "dlq_topic", "dlq_reason"} <= shown.keys()
    assert shown_headers(Read(), reveal=True).keys() == dict(Read().headers).keys()
