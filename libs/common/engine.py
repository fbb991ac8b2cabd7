"""How does a batch of inputs become committed state and published events?

load -> decide -> save, once for every batch, whatever brought the inputs:

* **load**: the inbox rows and everything that ``needs`` names, in a constant number of queries;
* **decide**: one input after another over one working set;
* **save**: one transaction with aggregates (version-guarded), inbox, outbox and timers.

A version conflict loads and decides again; a write that can never succeed splits the
batch by halves until its cause stands alone; a database that is away raises
:class:`~libs.common.mongo.errors.Unavailable` and nothing has happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.decision import Answer, Document, Handler, Input, Refusal
from libs.common.fates import Fate, Outcome, Reject, repeated
from libs.common.mongo.collection import Collection, CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.documents import row_of
from libs.common.mongo.errors import Conflict, Duplicate, Unavailable, Unstorable
from libs.common.planning import Cut, Plan, Planner, TryAgain
from libs.common.rehearsals import Rehearsals
from libs.common.relay import Relay
from libs.common.rows import INBOX, OUTBOX, TIMERS, at_hand, at_rest, inbox_id, inbox_row
from libs.common.telemetry import Batch, Tracer

log = structlog.get_logger()

#: Attempts of a rule that raises before its input is set aside.
RULE_ATTEMPTS = 3
#: Attempts in short transactions before a key that is taken counts as a rule's bug.
DUPLICATE_ATTEMPTS = 10
#: Attempts in short transactions before contention counts as an outside fault.
SHORT_ATTEMPTS = 60


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
        self._database = database
        self._collections: dict[type[Document], Collection[Any]] = {
            spec.model: database.collection(spec) for spec in collections
        }
        self._planner = Planner(
            service=service,
            database=database,
            collections=self._collections,
            handlers=handlers,
            policy=policy,
            ports=ports,
            tracer=tracer,
        )
        self._rehearsals = Rehearsals(self._planner)
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

    async def rehearse(self, input: Input) -> Answer:
        """What would be decided now: for who must first fetch what the decision rests on.

        Nothing is saved, and ``run`` decides afresh. Raises ``Unavailable``.
        """
        return await self._rehearsals.rehearse(input)

    async def _run(self, inputs: Sequence[Input], span: Batch) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs):
            rest = inputs[len(outcomes) :]
            try:
                outcomes += await self._run_whole(rest, span)
                continue
            except Cut as cut:
                at = cut.at
            outcomes += await self._run(rest[:at], span)
        return outcomes

    async def _run_whole(self, inputs: Sequence[Input], span: Batch) -> list[Outcome]:
        conflicts = rule_failures = 0
        while True:
            try:
                plan = await self._planner.plan(
                    inputs, span, give_up=rule_failures + 1 >= RULE_ATTEMPTS
                )
                await self._save(plan)
                return plan.outcomes
            except TryAgain:
                rule_failures += 1
                pause = self._ports.backoff(rule_failures, base=0.02)
            except Conflict:
                metrics.VERSION_CONFLICTS.inc()
                conflicts += 1
                pause = self._ports.backoff(conflicts, base=0.005)
            except (Cut, Unavailable):
                raise
            except Exception as error:
                # It will not go away by itself: find the input that causes it.
                why = error
                break
            if conflicts > 2:
                return await self._run_short(inputs, span)
            await self._ports.clock.sleep(pause)
        return await self._split(inputs, why, span)

    async def _split(self, inputs: Sequence[Input], why: Exception, span: Batch) -> list[Outcome]:
        """By halves, in order, until what can never work stands alone."""
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
            rule_failures = 0
            for attempt in range(1, SHORT_ATTEMPTS + 1):
                try:
                    plan = await self._planner.plan(
                        chunk, span, give_up=rule_failures + 1 >= RULE_ATTEMPTS
                    )
                    await self._save(plan)
                    outcomes += plan.outcomes
                    break
                except TryAgain:
                    rule_failures += 1
                    pause = self._ports.backoff(rule_failures, base=0.02)
                except Conflict as error:
                    metrics.VERSION_CONFLICTS.inc()
                    if isinstance(error, Duplicate) and attempt >= DUPLICATE_ATTEMPTS:
                        # No reload cures it, so it is no race: a rule wants a key that is taken.
                        outcomes += await self._split(chunk, error, span)
                        break
                    pause = self._ports.backoff(attempt, base=0.01, cap=0.3)
                except Cut:
                    outcomes += await self._run(chunk, span)
                    break
                except Unavailable:
                    raise
                except Exception as error:
                    outcomes += await self._split(chunk, error, span)
                    break
                await self._ports.clock.sleep(pause)
            else:
                raise Conflict("a document stayed contended")
        return outcomes

    # -- save ---------------------------------------------------------------------------

    async def _save(self, plan: Plan) -> None:
        # A duplicate's timer goes, too: a rule may have set again what had already fired.
        fired = [
            f"{i.hospital}/{i.id}"
            for n, i in enumerate(plan.inputs)
            if i.source == TIMERS and plan.outcomes[n].fate != Fate.REJECTED
        ]
        if not plan.inbox and not fired:
            return
        cipher = self._database.cipher
        inbox = [at_rest(row, cipher) for row in plan.inbox.values()]
        fresh = [r for r in inbox if r["_id"] not in plan.known]
        again = [r for r in inbox if r["_id"] in plan.known]
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
                    [({"_id": id}, at_rest(row, cipher)) for id, row in plan.timers.items()],
                    upsert=True,
                )
        except BaseException as error:
            conflict = isinstance(error, Conflict)
            metrics.TRANSACTIONS.labels(outcome="conflict" if conflict else "failed").inc()
            raise
        metrics.TRANSACTIONS.labels(outcome="committed").inc()
        self._relay.committed(plan.outbox)
        for i, answer in plan.answers.items():
            if isinstance(answer, Refusal):
                metrics.REFUSALS.labels(reason=answer.reason).inc()
            self._observe(plan.inputs[i], answer)
        for span, outcome in zip(plan.spans, plan.outcomes, strict=True):
            if span is not None:
                span.end(outcome.note, error=outcome.fate is Fate.REJECTED, batch=plan.batch)

    async def _set_aside(self, input: Input, why: Exception) -> Outcome:
        """Keep only the fact that ``input`` can't be handled, unless it has been by now."""
        note = Reject.UNSTORABLE if isinstance(why, Unstorable) else Reject.RULE_FAILED
        outcome = Outcome(Fate.REJECTED, note, error=type(why).__name__)
        row = inbox_row(inbox_id(input), input, outcome, self._ports.clock.now())
        query = {"_id": row["_id"]}
        for before in await self._database.find_rows(self._inbox, query):
            if before["fate"] != Fate.REJECTED:
                return repeated(input, at_hand(before, self._database.cipher))
        # Ours say what is wrong in words of ours; another's text may quote what is stored.
        words = str(why) if isinstance(why, Conflict | Unstorable) else type(why).__name__
        log.error("input_set_aside", type=input.type, input_id=input.id, why=words)
        async with self._database.transaction() as tx:
            await tx.replace(self._inbox, [({**query, "fate": Fate.REJECTED}, row)], upsert=True)
        return outcome
