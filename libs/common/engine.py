"""How does a batch of inputs become committed state and published events?

load -> decide -> save, once for every batch, whatever brought the inputs:

* **load**: the inbox rows and everything that ``needs`` names, in a constant number of queries;
* **decide**: one input after another over one working set;
* **save**: one transaction with aggregates (version-guarded), inbox, outbox and timers.

A version conflict loads and decides again; a write that can never succeed splits the
batch by halves until its cause stands alone; a database that is away raises
:class:`~libs.common.mongo.Unavailable` and nothing has happened.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, encode
from libs.common.decision import (
    Answer,
    Document,
    Env,
    Handler,
    Input,
    Refusal,
    derived_id,
)
from libs.common.mongo import (
    Collection,
    CollectionSpec,
    Conflict,
    Database,
    Row,
    Unstorable,
    row_of,
)
from libs.common.relay import OutboxRow, Relay
from libs.common.telemetry import Batch, RecordSpan, Tracer
from libs.common.working_set import NotNeeded, WorkingSet

log = structlog.get_logger()

INBOX = "inbox"
OUTBOX = "outbox"
TIMERS = "timers"
#: Loads of one batch that may follow from one another (a need found by an earlier need).
NEED_ROUNDS = 4
#: Attempts of a rule that raises before its input is set aside.
RULE_ATTEMPTS = 3
#: Attempts in short transactions before contention counts as an outside fault.
SHORT_ATTEMPTS = 60


class Fate(StrEnum):
    """What became of an input. Everything but ``REJECTED`` is settled for good."""

    DONE = "done"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reject(StrEnum):
    """Why an input was set aside (besides the codec's reasons)."""

    RULE_FAILED = "rule_failed"
    ID_REUSED = "id_reused"
    UNSTORABLE = "unstorable"


class OtherBody(StrEnum):
    """Why a command is refused before any rule sees it."""

    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of one input, and for a command what to answer."""

    fate: Fate
    note: str
    result: Any = None
    refusal: Refusal | None = None
    error: str = ""


class _TryAgain(Exception):
    """A rule raised; load and decide again before giving its input up."""


class _Cut(Exception):
    """What the input ``at`` needs follows from what this batch decides before it.

    A merge of patients, or what is told first, can make other documents matter to a later
    input than its needs could name. So the batch is saved up to it, and it loads afresh.
    """

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@dataclass(slots=True)
class _Plan:
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


def inbox_id(input: Input) -> str:
    return f"{input.hospital}|{input.source}|{input.id}"


class Engine:
    """Runs batches for one service. Safe to call from several tasks at once."""

    def __init__(
        self,
        *,
        service: str,
        database: Database,
        collections: Sequence[CollectionSpec[Any]],
        handlers: Mapping[str, Handler],
        policy: Any,
        relay: Relay,
        ports: Ports,
        tracer: Tracer,
        observe: Callable[[Input, Answer], None] = lambda _i, _a: None,
    ) -> None:
        self._source = f"/services/{service}"
        self._database = database
        self._collections: dict[type[Document], Collection[Any]] = {
            spec.model: database.collection(spec) for spec in collections
        }
        self._handlers = handlers
        self._policy = policy
        self._relay = relay
        self._ports = ports
        self._tracer = tracer
        self._observe = observe
        self._inbox, self._outbox, self._timers = map(database.raw, (INBOX, OUTBOX, TIMERS))

    async def run(self, inputs: Sequence[Input], name: str = "process batch") -> list[Outcome]:
        """Decide and save ``inputs``; outcomes in their order.

        Raises ``Unavailable`` when the database is away; then nothing has been saved, or
        all of it has and a repetition answers ``DUPLICATE``.
        """
        span = self._tracer.batch(
            name,
            [i.traceparent for i in inputs],
            attributes={"messaging.batch.message_count": len(inputs)},
        )
        with span:
            return await self._run(inputs, span)

    async def _run(self, inputs: Sequence[Input], span: Batch) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs):
            rest = inputs[len(outcomes) :]
            try:
                outcomes += await self._run_whole(rest, span)
                continue
            except _Cut as cut:
                at = cut.at
            outcomes += await self._run(rest[:at], span)
        return outcomes

    async def _run_whole(self, inputs: Sequence[Input], span: Batch) -> list[Outcome]:
        conflicts = rule_failures = 0
        while True:
            try:
                plan = await self._plan(inputs, span, give_up=rule_failures + 1 >= RULE_ATTEMPTS)
                await self._save(plan)
                return plan.outcomes
            except _TryAgain:
                rule_failures += 1
                pause = self._ports.backoff(rule_failures, base=0.02)
            except Conflict:
                metrics.VERSION_CONFLICTS.inc()
                conflicts += 1
                pause = self._ports.backoff(conflicts, base=0.005)
            except Unstorable as error:
                why = str(error)
                break
            if conflicts > 2:
                return await self._run_short(inputs, span)
            await self._ports.clock.sleep(pause)
        return await self._split(inputs, why, span)

    async def _split(self, inputs: Sequence[Input], why: str, span: Batch) -> list[Outcome]:
        """By halves, in order, until what can't be stored stands alone."""
        if len(inputs) == 1:
            return [await self._set_aside(inputs[0], why)]
        metrics.BATCHES_SPLIT.inc()
        half = len(inputs) // 2
        return [*await self._run(inputs[:half], span), *await self._run(inputs[half:], span)]

    async def _run_short(self, inputs: Sequence[Input], span: Batch) -> list[Outcome]:
        """A hot document: short transactions in the same order, with jitter between tries."""
        outcomes: list[Outcome] = []
        size = min(8, max(1, len(inputs) // 8))
        for start in range(0, len(inputs), size):
            chunk = inputs[start : start + size]
            for attempt in range(1, SHORT_ATTEMPTS + 1):
                try:
                    plan = await self._plan(chunk, span, give_up=attempt >= RULE_ATTEMPTS)
                    await self._save(plan)
                    outcomes += plan.outcomes
                    break
                except (Conflict, _TryAgain):
                    metrics.VERSION_CONFLICTS.inc()
                    pause = self._ports.backoff(attempt, base=0.01, cap=0.3)
                except _Cut:
                    outcomes += await self._run(chunk, span)
                    break
                except Unstorable as error:
                    outcomes += await self._split(chunk, str(error), span)
                    break
                await self._ports.clock.sleep(pause)
            else:
                raise Conflict("a document stayed contended")
        return outcomes

    # -- load ---------------------------------------------------------------------------

    async def _load(self, inputs: Sequence[Input]) -> tuple[WorkingSet, dict[str, Row]]:
        work = WorkingSet()
        ids = [inbox_id(i) for i in inputs]
        known_query = self._find_known(ids)
        known: dict[str, Row] | None = None
        for _ in range(NEED_ROUNDS):
            wanted: dict[tuple[type[Document], str], list[tuple[str, str]]] = defaultdict(list)
            for input in inputs:
                try:
                    needs = self._handlers[input.type].needs(input, work.view(input.hospital))
                    for need, hospital in work.missing(input.hospital, needs):
                        wanted[(need.model, need.field)].append((hospital, need.value))
                except Exception:  # noqa: S112 - the same bug will raise in decide, where it counts
                    continue
            queries = [
                self._collections[model].load(by, pairs) for (model, by), pairs in wanted.items()
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
        return {row["_id"]: row for row in rows}

    # -- decide -------------------------------------------------------------------------

    async def _plan(self, inputs: Sequence[Input], span: Batch, *, give_up: bool) -> _Plan:
        work, known = await self._load(inputs)
        plan = _Plan(inputs, span, [], [], work, known)
        now = self._ports.clock.now()
        env = Env(now=now, policy=self._policy, secret=self._ports.randomness.token)
        seen: dict[str, Row] = {}
        for i, input in enumerate(inputs):
            key = inbox_id(input)
            before = plan.known.get(key)
            record: RecordSpan | None = None
            if key in seen or (before is not None and before["fate"] != Fate.REJECTED):
                outcome = _repeated(input, seen.get(key) or plan.known[key])
            else:
                record = self._tracer.record(
                    input.traceparent,
                    type=input.type,
                    id=input.id,
                    topic=input.origin[0] if input.origin else None,
                    offset=input.origin[2] if input.origin else None,
                )
                outcome = self._decide(i, input, plan, env, record, give_up=give_up)
                seen[key] = plan.inbox[i] = _inbox_row(input, outcome, now)
            plan.spans.append(record)
            plan.outcomes.append(outcome)
        return plan

    def _decide(
        self, i: int, input: Input, plan: _Plan, env: Env, span: RecordSpan, *, give_up: bool
    ) -> Outcome:
        try:
            answer = self._handlers[input.type].decide(input, plan.work.view(input.hospital), env)
            self._take(input, answer, plan, env, span)
        except Exception as error:  # a bug of ours: kept aside, never swallowed
            if isinstance(error, NotNeeded) and plan.inbox:
                raise _Cut(i) from error
            if not give_up:
                raise _TryAgain from error
            log.exception("rule_failed", type=input.type, input_id=input.id)
            return Outcome(Fate.REJECTED, Reject.RULE_FAILED, error=type(error).__name__)
        plan.answers[i] = answer
        if isinstance(answer, Refusal):
            kept = {"detail": answer.detail, "extra": dict(answer.extra)}
            return Outcome(Fate.REFUSED, answer.reason, refusal=answer, result=kept)
        return Outcome(Fate.DONE, answer.note, result=answer.result)

    def _take(self, input: Input, answer: Answer, plan: _Plan, env: Env, span: RecordSpan) -> None:
        encoded = []
        # Encode before the working set changes, so that a failing rule leaves no trace in it.
        pending, sequences = plan.work.stage(input.hospital, answer.changes, answer.events)
        for n, (emit, sequence) in enumerate(zip(answer.events, sequences, strict=True)):
            id = derived_id(input.hospital, input.source, input.id, n)
            about = emit.about
            event = CloudEvent(
                id=id,
                source=self._source,
                type=emit.data.TYPE,
                subject=about.id if about is not None else id,
                time=env.now,
                hospital=input.hospital,
                data=emit.data,
                sequence=sequence,
                correlationid=input.correlation_id or input.id,
                causationid=input.id,
                traceparent=span.traceparent,
                tracestate=input.tracestate,
            )
            record = encode(event)
            stream = f"{about.COLLECTION}/{about.id}" if about is not None else id
            encoded.append(
                OutboxRow(
                    id=f"{input.hospital}/{id}",
                    topic=emit.data.TOPIC,
                    stream=f"{input.hospital}/{stream}",
                    sequence=sequence,
                    traceparent=span.traceparent,
                    at=env.now,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                )
            )
        for timer in answer.timers:
            id = derived_id(timer.id, timer.due.isoformat())
            plan.timers[f"{input.hospital}/{id}"] = {
                "_id": f"{input.hospital}/{id}",
                "hospital": input.hospital,
                "id": id,
                "due": timer.due,
                "next": timer.due,
                "type": timer.type,
                "subject": timer.subject,
                "data": dict(timer.data),
                "correlation_id": input.correlation_id or input.id,
                "traceparent": span.traceparent,
            }
        plan.work.take(pending)
        plan.outbox += encoded

    # -- save ---------------------------------------------------------------------------

    async def _save(self, plan: _Plan) -> None:
        # A duplicate's timer goes, too: a rule may have set again what had already fired.
        fired = [
            f"{i.hospital}/{i.id}"
            for n, i in enumerate(plan.inputs)
            if i.source == TIMERS and plan.outcomes[n].fate != Fate.REJECTED
        ]
        if not plan.inbox and not fired:
            return
        fresh = [r for r in plan.inbox.values() if r["_id"] not in plan.known]
        again = [r for r in plan.inbox.values() if r["_id"] in plan.known]
        cipher = self._database.cipher
        try:
            async with self._database.transaction() as tx:
                await tx.insert(self._inbox, fresh)
                await tx.replace(
                    self._inbox,
                    [({"_id": r["_id"], "fate": Fate.REJECTED}, r) for r in again],
                    upsert=False,
                )
                for model, changed in plan.work.changed().items():
                    raw = self._collections[model].raw
                    await tx.insert(raw, [row_of(doc, cipher) for doc, base in changed if not base])
                    await tx.replace(
                        raw,
                        [
                            (
                                {"_id": f"{doc.hospital}/{doc.id}", "version": base},
                                row_of(doc, cipher),
                            )
                            for doc, base in changed
                            if base
                        ],
                        upsert=False,
                    )
                await tx.insert(self._outbox, [row.as_row(cipher) for row in plan.outbox])
                if fired:
                    await tx.delete(self._timers, fired)
                await tx.replace(
                    self._timers,
                    [({"_id": id}, row) for id, row in plan.timers.items()],
                    upsert=True,
                )
        except BaseException as error:
            conflict = isinstance(error, Conflict)
            metrics.TRANSACTIONS.labels(outcome="conflict" if conflict else "failed").inc()
            raise
        metrics.TRANSACTIONS.labels(outcome="committed").inc()
        self._relay.committed(plan.outbox)
        for i, answer in plan.answers.items():
            self._observe(plan.inputs[i], answer)
            span = plan.spans[i]
            if span is not None:
                span.end(plan.outcomes[i].note, batch=plan.batch)

    async def _set_aside(self, input: Input, why: str) -> Outcome:
        """Keep only the fact that ``input`` could not be stored."""
        outcome = Outcome(Fate.REJECTED, Reject.UNSTORABLE, error=why)
        row = _inbox_row(input, outcome, self._ports.clock.now())
        async with self._database.transaction() as tx:
            await tx.replace(self._inbox, [({"_id": row["_id"]}, row)], upsert=True)
        return outcome


def _inbox_row(input: Input, outcome: Outcome, now: datetime) -> Row:
    return {
        "_id": inbox_id(input),
        "at": now,
        "fate": outcome.fate,
        "note": outcome.note,
        "hash": input.body_hash,
        "origin": list(input.origin) if input.origin else None,
        "result": outcome.result,
    }


def _repeated(input: Input, before: Row) -> Outcome:
    """The answer to an input whose (source, id) is already settled."""
    if before["hash"] != input.body_hash:
        if input.actor is not None or input.origin is None:
            return Outcome(
                Fate.REFUSED,
                OtherBody.IDEMPOTENCY_KEY_REUSED,
                refusal=Refusal(OtherBody.IDEMPOTENCY_KEY_REUSED),
            )
        return Outcome(Fate.REJECTED, Reject.ID_REUSED)
    if before["fate"] == Fate.REJECTED:  # twice in one batch: set aside twice
        return Outcome(Fate.REJECTED, before["note"])
    if before["fate"] == Fate.REFUSED:
        kept = before["result"]
        refusal = Refusal(before["note"], detail=kept["detail"], extra=kept["extra"])
        return Outcome(Fate.DUPLICATE, before["note"], refusal=refusal)
    return Outcome(Fate.DUPLICATE, before["note"], result=before["result"])
