"""What is a record, as it is read and as it is sent?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

#: The next offset, by topic and partition.
Offsets = Mapping[tuple[str, int], int]


class Record(Protocol):
    """A record as it was read (the shape of aiokafka's ``ConsumerRecord``)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int


@dataclass(slots=True)
class Unreadable:
    """Stands for a record that the client library can't read, such as one with a header whose
    name is not UTF-8. The record itself stays where it is until its topic forgets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0


class Outgoing(Protocol):
    """A record to be sent, as final bytes."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
