"""What does the page keep over a restart? Traces, letters, and the launcher's lines.

One SQLite file under the data folder; the timeline itself comes from Kafka again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
  trace_id TEXT, span_id TEXT, parent_id TEXT, service TEXT, name TEXT, kind INTEGER,
  start INTEGER, end INTEGER, error INTEGER, attributes TEXT, links TEXT,
  PRIMARY KEY (trace_id, span_id)
);
CREATE TABLE IF NOT EXISTS links (
  to_trace TEXT, to_span TEXT, trace_id TEXT, span_id TEXT,
  PRIMARY KEY (to_trace, to_span, trace_id, span_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traces (
  trace_id TEXT PRIMARY KEY, start INTEGER, end INTEGER, spans INTEGER, errors INTEGER,
  services TEXT, name TEXT, event_type TEXT, batch INTEGER
);
CREATE INDEX IF NOT EXISTS traces_by_start ON traces (batch, start);
CREATE TABLE IF NOT EXISTS letters (
  id TEXT PRIMARY KEY, at INTEGER, channel TEXT, address TEXT, title TEXT, text TEXT,
  link TEXT, attempts INTEGER
);
CREATE TABLE IF NOT EXISTS notes (
  id INTEGER PRIMARY KEY, at INTEGER, part TEXT, zh TEXT, en TEXT
);
"""


class Store:
    """One connection for all threads, one user at a time. Losing the last second in a
    power cut is fine here, so nothing waits for the disk."""

    def __init__(self, file: Path | None = None) -> None:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file or ":memory:", check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + _SCHEMA
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection:
            yield self._connection

    def all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def many(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self.transaction() as connection:
            connection.executemany(query, rows)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
