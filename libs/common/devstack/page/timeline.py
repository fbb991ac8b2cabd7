"""What has happened today, in words and in order of arrival?"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from libs.common.cloudevents import CloudEvent
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.people import Key, People
from libs.common.devstack.page.sentences import (
    DEAD_LETTER,
    SENTENCES,
    Language,
    Sentence,
    word,
)
from libs.common.events.enrollment import Invitation

KEPT = 5_000
_PERSON = ("person_id", "recipient_id", "requested_by", "asked_by", "practitioner_id", "patient_id")
_STAFF = (
    *("pharmacist_id", "doctor_id", "answered_by", "claimed_by", "acknowledged_by"),
    *("resolved_by", "sent_by", "given_by"),
)
_TRANSLATED = (
    *("kind", "status", "reason", "channel", "relationship", "scope", "visit_class", "template"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``at`` is when it arrived (unix ms); ``event`` is None for a note."""

    id: str
    at: int
    service: str
    sentence: Sentence
    event: CloudEvent | None = None
    facts: Mapping[str, str] | None = None
    kind: str = "event"

    def __lt__(self, other: Entry) -> bool:
        return (self.at, self.id) < (other.at, other.id)

    @property
    def trace_id(self) -> str | None:
        traceparent = self.event.traceparent if self.event else None
        return traceparent[3:35] if traceparent and len(traceparent) == 55 else None

    @property
    def occurred(self) -> datetime:
        return self.event.time if self.event else datetime.fromtimestamp(self.at / 1000, UTC)


class Timeline:
    """The entries, newest last; tells the hub of new ones and of those told better now."""

    def __init__(self, people: People, hub: Hub) -> None:
        self._people, self._hub = people, hub
        self._entries: list[Entry] = []
        self._known: dict[str, Entry] = {}
        self._unnamed: defaultdict[Key, set[str]] = defaultdict(set)
        self._invitations: dict[Key, Invitation] = {}
        self._by_trace: defaultdict[str, list[Entry]] = defaultdict(list)

    def add_event(self, event: CloudEvent, arrived: int) -> bool:
        """Take an event; False if it was taken before."""
        for key in self._people.learn(event):
            for id in self._unnamed.pop(key, ()):
                if id in self._known:
                    self._hub.publish("entry", self._known[id])
        service = event.source.removeprefix("/services/")
        entry = Entry(
            id=f"{event.hospital}|{event.source}|{event.id}",
            at=arrived,
            service=service if service != event.source else "hospital",
            sentence=SENTENCES.get(event.type, Sentence(event.type, event.type)),
            event=event,
        )
        for name in (*_PERSON, *_STAFF, "author_id", "group_id"):
            of: str | None = getattr(event.data, name, None)
            if of and self._people.name(event.hospital, of, "en") is None:
                self._unnamed[event.hospital, of].add(entry.id)
        added = self._add(entry)
        if added and isinstance(event.data, Invitation):
            self._invitations[event.hospital, event.data.person_id] = event.data
        return added

    def add_note(self, id: str, at: int, part: str, texts: Sentence) -> bool:
        """Take a line of the launcher: a stage reached, a child restarted."""
        return self._add(Entry(id=id, at=at, service=part, sentence=texts, kind="note"))

    def add_dead_letter(self, id: str, at: int, consumer: str, reason: str) -> bool:
        return self._add(
            Entry(
                id=id,
                at=at,
                service=consumer,
                sentence=DEAD_LETTER,
                facts={"reason": reason},
                kind="dead_letter",
            )
        )

    def latest(self, limit: int) -> list[Entry]:
        """The newest first."""
        return self._entries[: -limit - 1 : -1]

    def last_invitation(self, hospital: str, person_id: str) -> Invitation | None:
        """What was last told about an invitation of this person."""
        return self._invitations.get((hospital, person_id))

    def of_trace(self, trace_id: str) -> list[Entry]:
        """What the trace tells, the oldest first."""
        return list(self._by_trace.get(trace_id, ()))

    def __len__(self) -> int:
        return len(self._entries)

    def _add(self, entry: Entry) -> bool:
        if entry.id in self._known:
            return False
        self._known[entry.id] = entry
        insort(self._entries, entry)
        if len(self._entries) > KEPT:
            oldest = self._entries.pop(0)
            del self._known[oldest.id]
            if oldest.trace_id:
                self._by_trace.pop(oldest.trace_id, None)
        if entry.trace_id:
            insort(self._by_trace[entry.trace_id], entry)
        self._hub.publish("entry", entry)
        return True

    def patient(self, entry: Entry, language: Language) -> str:
        id = getattr(entry.event.data, "patient_id", None) if entry.event else None
        if entry.event is None or not id:
            return ""
        return self._people.name(entry.event.hospital, id, language) or id

    def told(self, entry: Entry, language: Language) -> str:
        """The sentence of ``entry``."""
        template = entry.sentence.zh if language == "zh" else entry.sentence.en
        if entry.event is not None:
            known = facts(entry.event, language, self._people)
        elif entry.facts is not None:
            known = {k: word(v, language) for k, v in entry.facts.items()}
        else:
            return template
        return template.format_map(_Facts(known))


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def facts(event: CloudEvent, language: Language, people: People) -> dict[str, str]:
    """What the sentences may say of ``event``: its plain fields, and names for ids."""
    data = event.data.model_dump(mode="json")
    found = {k: str(v) for k, v in data.items() if isinstance(v, str | int | float)}

    def name(*fields: str) -> str:
        id = next((data[f] for f in fields if data.get(f)), None)
        return "" if id is None else people.name(event.hospital, id, language) or id

    for key in _TRANSLATED:
        if key in found:
            found[key] = word(found[key], language)
    found["person"], found["staff"] = name(*_PERSON), name(*_STAFF)
    found["group"] = name("group_id")
    found["message_kind"] = found.get("kind", "")
    role = word(str(data.get("author_role", "")), language)
    found["author"] = name("author_id") or role
    found["roles"] = ", ".join(word(r, language) for r in data.get("roles", ()))
    found["department"] = _department(data)
    medication: dict[str, Any] = data.get("medication") or {}
    found["medication"] = " ".join(
        filter(None, (medication.get("name"), medication.get("strength")))
    )
    return found


def _department(data: Mapping[str, Any]) -> str:
    department = data.get("department") or {}
    return department.get("name") or department.get("code") or data.get("department_code") or ""
