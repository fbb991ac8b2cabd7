"""What does a browser get to see? Templates, filled in one language."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from libs.common.devstack.page.health import Health
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.people import People, Person
from libs.common.devstack.page.phones import Message, Phone, Phones
from libs.common.devstack.page.sentences import Language, word
from libs.common.devstack.page.settings import Settings
from libs.common.devstack.page.timeline import Entry, Timeline
from libs.common.devstack.page.traces import SpanRow, Summary, Traces
from libs.common.devstack.page.ui import Labels
from libs.common.devstack.page.waterfall import draw
from libs.common.events import InvitationIssued

FOLDER = Path(__file__).parent
SHOWN_ENTRIES = 300
SHOWN_TRACES = 6
LISTED_TRACES = 200
SHOWN_PHONES = 9
COLOURED = ("hospital", "enrollment", "messaging", "reports", "prescriptions", "notify")


@dataclass(frozen=True, slots=True)
class World:
    """All that the page knows."""

    settings: Settings
    people: People
    hub: Hub
    timeline: Timeline
    phones: Phones
    traces: Traces
    health: Health


@dataclass(frozen=True, slots=True)
class Token:
    """A line to type for one person in one role."""

    person: Person
    role: str

    @property
    def command(self) -> str:
        line = (
            f"make token ROLE={self.role} PERSON={self.person.id} HOSPITAL={self.person.hospital}"
        )
        if self.person.departments and self.role in ("doctor", "nurse", "pharmacist"):
            line += f' DEPARTMENT="{" ".join(self.person.departments)}"'
        return line

    def role_word(self, lang: Language) -> str:
        return word(self.role, lang)


class Views:
    def __init__(self, world: World) -> None:
        self._world = world
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["duration"] = duration

    # -- whole pages

    def home(self, lang: Language) -> str:
        world = self._world
        phones = world.phones.all()
        return self._page(
            "home.html",
            lang,
            entries=[self.row(e, lang) for e in world.timeline.latest(SHOWN_ENTRIES)],
            position=world.hub.position(),
            phones=[self.phone(p, lang) for p in phones[:SHOWN_PHONES]],
            phone_count=len(phones),
            traces=self.traces_short(lang),
            invitation=self.invitation(lang),
            services=world.health.urls,
            status=world.health.status,
            tokens=self._tokens(),
        )

    def phones(self, lang: Language) -> str:
        phones = [self.phone(p, lang) for p in self._world.phones.all()]
        return self._page("phones.html", lang, phones=phones)

    def person(self, hospital: str, id: str, lang: Language) -> str | None:
        phone = self._world.phones.of(hospital, id)
        if phone is None:
            return None
        return self._page(
            "person.html", lang, phone=phone, card=self.phone(phone, lang, every=True),
            tokens=[t for t in self._tokens() if t.person is phone.owner],
        )  # fmt: skip

    def traces(self, lang: Language) -> str:
        rows = [self._trace_row(t, lang) for t in self._world.traces.latest(LISTED_TRACES)]
        return self._page("traces.html", lang, traces=rows)

    def trace(self, trace_id: str, lang: Language) -> str | None:
        own, linked = self._world.traces.get(trace_id)
        told = [self.row(e, lang) for e in self._world.timeline.of_trace(trace_id)]
        if not own and not told:
            return None
        return self._page(
            "trace.html", lang, trace_id=trace_id, told=told, picture=draw(own, linked),
            services=list(dict.fromkeys(s.service for s in own)),
            spans=len(own), clock=self._clock, details=_details,
        )  # fmt: skip

    def problem(self, lang: Language) -> str:
        return self._page("problem.html", lang)

    # -- parts that also come one by one

    def row(self, entry: Entry, lang: Language) -> Markup:
        """One line of the timeline."""
        return self._part(
            "_row.html", lang, entry=entry, id=dom_id(entry.id),
            service=entry.service, patient=self._world.timeline.patient(entry, lang),
            told=self._world.timeline.told(entry, lang), clock=self._clock(entry.at),
            occurred=entry.occurred.astimezone(self._world.settings.zone),
        )  # fmt: skip

    def phone(self, phone: Phone, lang: Language, *, every: bool = False) -> Markup:
        """One person's phone; with the latest three messages, or all."""
        owner = phone.owner
        known_as = [word(r, lang) for r in sorted(owner.roles)]
        for patient_id, relationship in owner.relations.items():
            name = self._world.people.name(owner.hospital, patient_id, lang) or patient_id
            known_as.append(f"{name} · {word(relationship, lang)}")
        messages = phone.messages if every else phone.messages[:3]
        return self._part(
            "_phone.html", lang, owner=owner, id=dom_id(f"{owner.hospital}|{owner.id}"),
            known_as=known_as, messages=messages, more=len(phone.messages) - len(messages),
            clock=self._clock, qr=qr, every=every, word=word,
        )  # fmt: skip

    def traces_short(self, lang: Language) -> Markup:
        """The latest traces that went through more than one service."""
        found = [t for t in self._world.traces.latest(LISTED_TRACES) if len(t.services) > 1]
        rows = [self._trace_row(t, lang) for t in found[:SHOWN_TRACES]]
        return self._part("_traces.html", lang, traces=rows)

    def invitation(self, lang: Language) -> Markup:
        """The latest invitation that is still open, to try it."""
        found = self._open_invitation()
        return self._part(
            "_invitation.html", lang, qr=qr,
            phone=found[0] if found else None, message=found[1] if found else None,
        )  # fmt: skip

    # --

    def _open_invitation(self) -> tuple[Phone, Message] | None:
        for phone in self._world.phones.all():
            for message in phone.messages:
                if message.invites and self._undecided(phone.owner):
                    return phone, message
        return None

    def _undecided(self, person: Person) -> bool:
        last = self._world.timeline.last_invitation(person.hospital, person.id)
        return last is None or isinstance(last, InvitationIssued)

    def _trace_row(self, trace: Summary, lang: Language) -> dict[str, Any]:
        entries = self._world.timeline.of_trace(trace.trace_id)
        first = entries[0] if entries else None
        timeline = self._world.timeline
        return {
            "trace": trace,
            "title": timeline.told(first, lang) if first else trace.event_type or trace.name,
            "patient": timeline.patient(first, lang) if first else "",
            "clock": self._clock(trace.start // 1_000_000),
        }

    def _tokens(self) -> list[Token]:
        order = ("doctor", "nurse", "pharmacist", "ops", "patient", "guardian")
        found = [Token(p, r) for p in self._world.people for r in p.roles if r in order]
        return sorted(found, key=lambda t: (order.index(t.role), t.person.id))

    def _clock(self, at: int) -> str:
        """``at`` (unix ms) as the hospital's clock shows it, with the day unless it is today."""
        zone = self._world.settings.zone
        then = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
        today = datetime.now(UTC).astimezone(zone).date()
        return then.strftime("%H:%M:%S" if then.date() == today else "%m-%d %H:%M")

    def _page(self, template: str, lang: Language, **values: Any) -> str:
        return str(self._part(template, lang, **values))

    def _part(self, template: str, lang: Language, **values: Any) -> Markup:
        found = self._environment.get_template(template)
        # The template's output: escaped by Jinja where it inserts what came from outside.
        return Markup(
            found.render(
                t=Labels(lang),
                lang=lang,
                other="en" if lang == "zh" else "zh",
                coloured=COLOURED,
                **values,
            )
        )


def dom_id(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:16]


def qr(link: str) -> Markup:
    """The QR code of ``link`` as an inline SVG."""
    svg = segno.make(link, error="m", micro=False).svg_inline(
        border=2, omitsize=True, dark="#111", light="#fff"
    )
    return Markup(svg)  # drawn by segno, holds no text


def duration(ns: int, lang: Language = "en") -> str:
    """A length of time for people: the two largest units."""
    if ns < 1_000_000:
        return f"{ns / 1000:.0f} µs"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.1f} ms"
    seconds = ns / 1_000_000_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    units = ((86400, "d", "天"), (3600, "h", "小时"), (60, "min", "分"), (1, "s", "秒"))
    rest, parts = int(seconds), []
    for size, en, zh in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {zh if lang == 'zh' else en}")
    return " ".join(parts[:2])


def _details(span: SpanRow) -> Sequence[tuple[str, str]]:
    return [(k, str(v)) for k, v in sorted(span.attributes.items())]
