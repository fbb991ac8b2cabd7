"""What would a service decide? Its HANDLERS over documents in memory, without a server.

A ``Case`` does what the engine does around a rule: the needs are asked for in at most
four rounds, a rule sees only what it named, documents and results pass through BSON and
JSON, events through the codec, repeated inputs are settled by the inbox, and timers
come back as inputs. With ``collections`` it also holds the declared indexes to account.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import bson
from pydantic import BaseModel

from libs.common.cloudevents import CloudEvent, encode
from libs.common.decision import (
    Actor,
    Answer,
    Document,
    Env,
    Handler,
    Input,
    Need,
    Timer,
    derived_id,
)
from libs.common.events import EVENT_TYPES, Event
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.documents import CODEC, row_of
from libs.common.planning import NEED_ROUNDS
from libs.common.rows import TIMERS
from libs.common.working_set import NotNeeded, WorkingSet

D = TypeVar("D", bound=Document)
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event as it would have been published."""

    data: Event
    subject: str
    sequence: int
    hospital: str
    key: str

    @property
    def type(self) -> str:
        return self.data.TYPE


@dataclass
class Case:
    """One service in memory. ``now`` is the clock: set it, or ``advance`` it."""

    handlers: Mapping[str, Handler]
    policy: Any = None
    now: datetime = field(kw_only=True)
    hospital: str = field(default="h1", kw_only=True)
    collections: Sequence[CollectionSpec[Any]] = field(default=(), kw_only=True)
    emitted: list[Emitted] = field(default_factory=list, kw_only=True)
    timers: dict[str, tuple[str, Timer]] = field(default_factory=dict, kw_only=True)
    #: Every secret that was drawn, the newest last.
    secrets: list[str] = field(default_factory=list, kw_only=True)

    def __post_init__(self) -> None:
        self._rows: dict[type[Document], dict[tuple[str, str], bytes]] = defaultdict(dict)
        self._indexed: dict[tuple[type[Document], str], dict[tuple[str, Any], set[str]]] = {}
        self._settled: dict[tuple[str, str, str], Answer] = {}
        self._ids = itertools.count(1)

    # -- sending ------------------------------------------------------------------------

    def event(
        self, data: Event, *, id: str = "", time: datetime | None = None, **more: Any
    ) -> Answer:
        """Send an event; ``id`` is new unless given (the same id again is a duplicate)."""
        return self.send(self.event_input(data, id=id, time=time, **more))

    def event_input(
        self, data: Event, *, id: str = "", time: datetime | None = None, **more: Any
    ) -> Input:
        model = EVENT_TYPES[data.TYPE]
        more = {"source": "/test", "hospital": self.hospital, **more}
        return Input(
            id=id or f"e{next(self._ids)}",
            type=data.TYPE,
            subject=str(getattr(data, data.SUBJECT)),
            time=time or self.now,
            data=model.model_validate_json(data.model_dump_json(exclude_none=True)),
            **more,
        )

    def command(
        self, type: str, data: BaseModel, *, actor: Actor | None = None, **more: Any
    ) -> Answer:
        """Send a command, as ``api.py`` would."""
        return self.send(self.command_input(type, data, actor=actor, **more))

    def command_input(
        self, type: str, data: BaseModel, *, actor: Actor | None = None, **more: Any
    ) -> Input:
        more = {"source": "/http", "hospital": self.hospital, "subject": "", **more}
        more.setdefault("id", f"c{next(self._ids)}")
        return Input(type=type, time=self.now, data=data, actor=actor, **more)

    def send(self, input: Input) -> Answer:
        """Decide one input and keep what it leaves. A repetition gets the first answer."""
        return self.batch([input])[0]

    def batch(self, inputs: Sequence[Input]) -> list[Answer]:
        """Decide ``inputs`` over one working set, as one poll would."""
        work = self._load(inputs)
        answers: list[Answer] = []
        rest: Sequence[Input] = ()
        decided = False
        for n, input in enumerate(inputs):
            settled = (input.hospital, input.source, input.id)
            if settled not in self._settled:
                try:
                    self._settled[settled] = self._decide(input, work)
                except NotNeeded:
                    if not decided:
                        raise
                    rest = inputs[n:]  # as the engine does: save up to here, load afresh
                    break
                decided = True
            answers.append(self._settled[settled])
        for model, changed in work.changed().items():
            for doc, _ in changed:
                self._store(model, doc)
        return [*answers, *self.batch(rest)] if rest else answers

    def advance(self, by: timedelta) -> datetime:
        self.now += by
        return self.now

    def fire_due(self, now: datetime | None = None) -> list[Answer]:
        """Set the clock to ``now`` and fire what is due by then, also what that sets."""
        self.now = now or self.now
        answers = []
        while due := sorted((t.due, id) for id, (_, t) in self.timers.items() if t.due <= self.now):
            hospital, timer = self.timers.pop(due[0][1])
            answers.append(self.send(self.timer_input(timer, hospital=hospital)))
        return answers

    def timer_input(self, timer: Timer, *, hospital: str = "") -> Input:
        return Input(
            id=derived_id(timer.id, timer.due.isoformat()),
            source=TIMERS,
            type=timer.type,
            hospital=hospital or self.hospital,
            subject=timer.subject,
            time=timer.due,
            data=self.handlers[timer.type].data.model_validate(
                json.loads(json.dumps(dict(timer.data)))
            ),
        )

    # -- looking ------------------------------------------------------------------------

    def docs(self, model: type[D], **where: Any) -> list[D]:
        """All stored documents of ``model`` whose fields have these values, by id."""
        found = [self._document(model, raw) for _, raw in sorted(self._rows[model].items())]
        return [d for d in found if all(getattr(d, k) == v for k, v in where.items())]

    def doc(self, model: type[D], id: str) -> D | None:
        raw = self._rows[model].get((self.hospital, id))
        return None if raw is None else self._document(model, raw)

    def put(self, *docs: Document) -> None:
        """Store documents as they are, to begin a test in the middle."""
        for doc in docs:
            self._store(type(doc), doc)

    def events(self, model: type[E]) -> list[E]:
        """The bodies of what was published of one type, in order."""
        return [e.data for e in self.emitted if isinstance(e.data, model)]

    def take(self) -> list[Emitted]:
        """What was published since the last ``take``."""
        taken, self.emitted = self.emitted, []
        return taken

    # -- what the engine does -----------------------------------------------------------

    def _load(self, inputs: Sequence[Input]) -> WorkingSet:
        work = WorkingSet()
        for round in range(NEED_ROUNDS + 1):
            fresh = [
                (missing, i.hospital)
                for i in inputs
                for missing in work.missing(
                    i.hospital, self.handlers[i.type].needs(i, work.view(i.hospital))
                )
            ]
            if not fresh:
                return work
            assert round < NEED_ROUNDS, f"needs go on after {NEED_ROUNDS} rounds: {fresh[0]}"
            for need, hospital in fresh:
                work.loaded(self._find(need, hospital))
        return work

    def _find(self, need: Need, hospital: str) -> list[Document]:
        rows = self._rows[need.model]
        if need.field == "id":
            raw = rows.get((hospital, need.value))
            return [] if raw is None else [self._document(need.model, raw)]
        if self.collections:
            spec = next(s for s in self.collections if s.model is need.model)
            assert any(i.fields[0] == need.field for i in spec.indexes), f"no index for {need}"
        index = self._index(need.model, need.field)
        return [
            self._document(need.model, rows[(hospital, id)])
            for id in sorted(index.get((hospital, need.value), ()))
        ]

    def _decide(self, input: Input, work: WorkingSet) -> Answer:
        handler = self.handlers[input.type]
        assert isinstance(input.data, handler.data), f"{input.type} is sent another body"
        env = Env(
            now=self.now,
            policy=self.policy,
            secret=self._secret,
            correlation_id=input.correlation_id or input.id,
        )
        answer = handler.decide(input, work.view(input.hospital), env)
        pending, sequences = work.stage(input.hospital, answer.changes, answer.events)
        for n, (emit, sequence) in enumerate(zip(answer.events, sequences, strict=True)):
            id = derived_id(input.hospital, input.source, input.id, n)
            subject = emit.subject or (id if emit.about is None else emit.about.id)
            record = encode(
                CloudEvent(
                    id=id,
                    source="/services/test",
                    type=emit.data.TYPE,
                    subject=subject,
                    time=self.now,
                    hospital=input.hospital,
                    data=emit.data,
                    sequence=sequence,
                )
            )
            EVENT_TYPES[emit.data.TYPE].model_validate_json(record.value)
            key = record.key.decode()
            self.emitted.append(Emitted(emit.data, subject, sequence, input.hospital, key))
        for timer in answer.timers:
            assert timer.due.tzinfo is not None
            self.timers[derived_id(input.hospital, timer.id, timer.due)] = (input.hospital, timer)
            self.timer_input(timer)  # its data must read back
        kept = answer.result if hasattr(answer, "result") else dict(answer.extra)
        json.dumps(kept)
        work.take(pending)
        return answer

    def _secret(self) -> str:
        self.secrets.append(f"secret-{len(self.secrets) + 1:036d}")
        return self.secrets[-1]

    def _document(self, model: type[D], raw: bytes) -> D:
        return model.model_validate(bson.decode(raw, codec_options=CODEC))

    def _store(self, model: type[Document], doc: Document) -> None:
        key = (doc.hospital, doc.id)
        before = self._rows[model].get(key)
        self._rows[model][key] = bson.encode(row_of(doc), codec_options=CODEC)
        for (m, name), index in self._indexed.items():
            if m is model:
                if before is not None:
                    old = getattr(self._document(model, before), name)
                    index[(doc.hospital, old)].discard(doc.id)
                index[(doc.hospital, getattr(doc, name))].add(doc.id)
        for spec in self.collections:
            if spec.model is model:
                self._check_unique(spec, doc)

    def _index(self, model: type[Document], name: str) -> dict[tuple[str, Any], set[str]]:
        if (model, name) not in self._indexed:
            index = self._indexed[(model, name)] = defaultdict(set)
            for (hospital, id), raw in self._rows[model].items():
                index[(hospital, getattr(self._document(model, raw), name))].add(id)
        return self._indexed[(model, name)]

    def _check_unique(self, spec: CollectionSpec[Any], doc: Document) -> None:
        for unique in (i for i in spec.indexes if i.unique and i.partial is None):
            first = unique.fields[0]
            same = self._index(spec.model, first).get((doc.hospital, getattr(doc, first)), set())
            for id in same - {doc.id}:
                other = self._document(spec.model, self._rows[spec.model][(doc.hospital, id)])
                values = [[getattr(d, f) for f in unique.fields] for d in (doc, other)]
                assert values[0] != values[1], f"{unique.fields} is not unique: {values[0]}"
