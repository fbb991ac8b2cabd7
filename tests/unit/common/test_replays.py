"""Where did a record stand at first, and who is believed about it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.dead_letters import DeadLetter, DeadLetters
from libs.common.replays import Copy, Origin, copy, origin

GROUP, AT = "lianxin.reports", 1_790_000_000_000


@dataclass
class Read:
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes]] = ()
    key: bytes | None = b"h1/p1"
    value: bytes | None = b"{}"
    timestamp: int = AT


def set_aside(record: Read) -> Read:
    letters = DeadLetters(GROUP, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    row = letters._row(DeadLetter(record, "rule_failed"))
    return Read(row.topic, 0, 900, row.headers)


def read_again(row: Copy) -> Read:
    return Read(row.topic, 2, 5, row.headers)


def test_a_record_is_known_by_where_it_stood_at_first_however_often_it_is_read() -> None:
    event = Read("hospital.reports", 1, 40)
    first = Origin("hospital.reports", 1, 40, AT)
    assert origin(event) == first
    letter = set_aside(event)
    assert origin(letter) == first
    again = read_again(copy(letter, GROUP))
    assert origin(again) == first
    assert origin(set_aside(again)) == first


def test_what_a_publisher_says_of_a_records_place_is_not_believed() -> None:
    lies = [
        (f"{prefix}{name}", value)
        for prefix in ("replay_", "dlq_")
        for name, value in (
            ("topic", b"hospital.patients"), ("partition", b"0"), ("offset", b"1"),
            ("timestamp", b"1"),
        )
    ]  # fmt: skip
    event = Read("hospital.reports", 1, 40, lies)
    first = Origin("hospital.reports", 1, 40, AT)
    assert origin(event) == first
    assert origin(set_aside(event)) == first
    assert origin(read_again(copy(set_aside(event), GROUP))) == first
