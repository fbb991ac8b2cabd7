"""What would a batch of inputs write, if it were saved now?

The first two steps of load -> decide -> save: the inbox rows and everything that ``needs``
names are read in a constant number of queries, then one input after another is decided
over one working set. Nothing is written here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, encode, passed_on
from libs.common.decision import (
    Answer,
    Document,
    Emit,
    Env,
    Handler,
    Input,
    Refusal,
    derived_id,
)
from libs.common.fates import Fate, Outcome, Reject, repeated
from libs.common.mongo.collection import Collection
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.rows import INBOX, OutboxRow, at_hand, inbox_id, inbox_row, timer_row
from libs.common.telemetry import Batch, RecordSpan, Tracer
from libs.common.working_set import NotNeeded, WorkingSet

log = structlog.get_logger()

#: Loads of one batch that may follow from one another (a need found by an earlier need), each
#: by ids and then by other fields.
NEED_ROUNDS = 4


#: (model, field) -> (hospital, value) pairs
Wanted = dict[tuple[type[Document], str], list[tuple[str, str]]]


class TryAgain(Exception):
    """A rule raised; load and decide again before giving its input up."""


class Cut(Exception):
    """What the input ``at`` needs follows from what this batch decides before it.

    A merge of patients, or what is told first, can make other documents matter to a later
    input than its needs could name. So the batch is saved up to it, and it loads afresh.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@dataclass(slots=True)
class Plan:
    """What a batch is about to write."""

    inputs: Sequence[Input]
    batch: Batch
    outcomes: list[Outcome]
    spans: list[RecordSpan | None]
    work: WorkingSet
    known: dict[str, Row]
    answers: dict[int, Answer] = field(default_factory=dict)
    inbox: dict[int, Row] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)
    timers: dict[str, Row] = field(default_factory=dict)


class Planner:
    """Loads and decides for one service."""

    def __init__(
        self,
        *,
        service: str,
        database: Database,
        collections: Mapping[type[Document], Collection[Any]],
        handlers: Mapping[str, Handler],
        policy: Any,
        ports: Ports,
        tracer: Tracer,
    ) -> None:
        self._source = f"/services/{service}"
        self._database = database
        self._inbox = database.raw(INBOX)
        self._collections = collections
        self._handlers = handlers
        self._policy = policy
        self._ports = ports
        self._tracer = tracer

    # -- load ---------------------------------------------------------------------------

    async def _load(
        self, inputs: Sequence[Input], ids: Sequence[str]
    ) -> tuple[WorkingSet, dict[str, Row]]:
        work = WorkingSet()
        known_query = self._find_known(ids)
        known: dict[str, Row] | None = None
        asking = inputs
        wanted: Wanted = defaultdict(list)
        for _ in range(2 * NEED_ROUNDS):
            again: list[Input] = []  # whose needs depend on what is loaded
            for input in asking:
                view = work.view(input.hospital)
                looks = view.looks
                try:
                    needs = self._handlers[input.type].needs(input, view)
                    for need in work.missing(input.hospital, needs):
                        wanted[(need.model, need.field)].append((input.hospital, need.value))
                except Exception:  # the same bug will raise in decide, where it counts
                    again.append(input)
                    continue
                if view.looks != looks:
                    again.append(input)
            asking = again
            # What guards an invariant is named by its id, and is read first: then nothing that
            # is read behind it can be older than the version that the save is guarded by.
            first = {key: wanted.pop(key) for key in list(wanted) if key[1] == "id"} or wanted
            if first is wanted:
                wanted = defaultdict(list)
            queries = [
                self._collections[model].load(by, pairs) for (model, by), pairs in first.items()
            ]
            if known is None:
                known, *found = await asyncio.gather(known_query, *queries)
            elif queries:
                found = await asyncio.gather(*queries)
            else:
                break
            for docs in found:
                work.loaded(docs)
        return work, known or {}

    async def _find_known(self, ids: Sequence[str]) -> dict[str, Row]:
        rows = await self._database.find_rows(self._inbox, {"_id": {"$in": list(ids)}})
        return {row["_id"]: at_hand(row, self._database.cipher) for row in rows}

    # -- decide -------------------------------------------------------------------------

    async def rehearse(self, inputs: Sequence[Input]) -> list[Answer | Exception]:
        """What the rules would answer to each of ``inputs`` now, or what they would raise;
        nothing is kept of it, and none sees what another one would leave."""
        work, _ = await self._load(inputs, [inbox_id(input) for input in inputs])
        now = self._ports.clock.now()
        env = Env(now=now, policy=self._policy, secret=self._ports.randomness.token)
        answers: list[Answer | Exception] = []
        for input in inputs:
            try:
                view = work.view(input.hospital)
                answers.append(self._handlers[input.type].decide(input, view, env))
            except Exception as error:  # raised where it was asked for
                answers.append(error)
        return answers

    async def plan(self, inputs: Sequence[Input], span: Batch, *, give_up: bool) -> Plan:
        ids = [inbox_id(i) for i in inputs]
        work, known = await self._load(inputs, ids)
        plan = Plan(inputs, span, [], [], work, known)
        now = self._ports.clock.now()
        env = Env(now=now, policy=self._policy, secret=self._ports.randomness.token)
        seen: dict[str, Row] = {}
        for i, (key, input) in enumerate(zip(ids, inputs, strict=True)):
            before = plan.known.get(key)
            record: RecordSpan | None = None
            if key in seen or (before is not None and before["fate"] != Fate.REJECTED):
                outcome = repeated(input, seen.get(key) or plan.known[key])
            else:
                record = self._tracer.record(
                    input.traceparent,
                    type=input.type,
                    id=input.id,
                    topic=input.origin[0] if input.origin else None,
                    offset=input.origin[2] if input.origin else None,
                )
                outcome = self._decide(i, input, plan, env, record, give_up=give_up)
                seen[key] = plan.inbox[i] = inbox_row(key, input, outcome, now)
            plan.spans.append(record)
            plan.outcomes.append(outcome)
        return plan

    def _decide(
        self, i: int, input: Input, plan: Plan, env: Env, span: RecordSpan, *, give_up: bool
    ) -> Outcome:
        try:
            # Spelled out: ``replace`` takes ten calls, for each event.
            own = Env(env.now, env.policy, env.secret, input.correlation_id or input.id)
            answer = self._handlers[input.type].decide(input, plan.work.view(input.hospital), own)
            self._take(input, answer, plan, env, span)
        except Exception as error:  # a bug of ours: kept aside, never swallowed
            if isinstance(error, NotNeeded) and plan.answers:  # else a need is forgotten: a bug
                raise Cut(i) from error
            if not give_up:
                raise TryAgain from error
            log.exception("rule_failed", type=input.type, input_id=input.id)
            return Outcome(Fate.REJECTED, Reject.RULE_FAILED, error=type(error).__name__)
        plan.answers[i] = answer
        if isinstance(answer, Refusal):
            kept = {"detail": answer.detail, "extra": dict(answer.extra)}
            return Outcome(Fate.REFUSED, answer.reason, refusal=answer, result=kept)
        return Outcome(Fate.DONE, answer.note, result=answer.result)

    def _take(self, input: Input, answer: Answer, plan: Plan, env: Env, span: RecordSpan) -> None:
        # Encode before the working set changes, so that a failing rule leaves no trace in it.
        pending, sequences = plan.work.stage(input.hospital, answer.changes, answer.events)
        encoded = [
            self._encoded(n, emit, sequence, input, env.now, span.traceparent)
            for n, (emit, sequence) in enumerate(zip(answer.events, sequences, strict=True))
        ]
        for timer in answer.timers:
            row = timer_row(timer, input, span.traceparent)
            plan.timers[row["_id"]] = row
        plan.work.take(pending)
        plan.outbox += encoded

    def _encoded(
        self, n: int, emit: Emit, sequence: int, input: Input, now: datetime, traceparent: str
    ) -> OutboxRow:
        """The ``n``-th event that follows from ``input``, as it will be sent."""
        hospital, data, about = input.hospital, emit.data, emit.about
        id = derived_id(hospital, input.source, input.id, n)
        if emit.original is not None:
            record = passed_on(hospital, data, emit.original, traceparent)
        else:
            record = encode(
                CloudEvent(
                    id=id,
                    source=self._source,
                    type=data.TYPE,
                    subject=emit.subject or (id if about is None else about.id),
                    time=now,
                    hospital=hospital,
                    data=data,
                    sequence=sequence,
                    correlationid=input.correlation_id or input.id,
                    causationid=input.id,
                    traceparent=traceparent,
                    tracestate=input.tracestate,
                )
            )
        return OutboxRow(
            id=f"{hospital}/{id}",
            topic=data.TOPIC,
            stream=f"{hospital}/{id if about is None else f'{about.COLLECTION}/{about.id}'}",
            sequence=sequence,
            traceparent=traceparent,
            at=now,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
