"""How are records sent to be read again, slowly enough, and what came of it?

What is sent is written into the service's audit trail first: who, what, and by which command.
Afterwards the trail says how sending ended, and the service's inbox what became of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.progress import Progress

from lianxin import trail
from lianxin.installation import Installation
from lianxin.output import Failed, console
from lianxin.records import PAGE, Told, inbox_rows
from libs.common.fates import Fate
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.producer import Producer
from libs.common.kafka.record import Record
from libs.common.replays import Copy, copy, replay_topic

#: Seconds that a command waits for the service to read what it was sent.
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Choice:
    """What ``service`` shall read again: records by (topic, partition, offset)."""

    service: str
    records: Mapping[tuple[str, int, int], Told]
    command: str
    operator: str
    rate: float


@dataclass
class Sent:
    """What came of it. ``run`` is how the audit trail knows it; ``read``: whether the service
    has read all of it by now."""

    run: str
    records: int = 0
    read: bool = False
    fates: dict[str, int] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return self.read and not self.fates.get(Fate.REJECTED) and not self.fates.get(UNKNOWN)


UNKNOWN: Final = "unknown"


async def send_again(installation: Installation, kafka: Kafka, choice: Choice) -> Sent:
    """Send them, at most ``rate`` a second, each topic's partitions in order."""
    group = installation.group(choice.service)
    topic = replay_topic(group)
    if not await kafka.places([topic]):
        raise Failed(f"The topic {topic} does not exist: `lianxin topics apply` makes it.")
    sent, producer = Sent(installation.ports.ids.new()), Producer(installation.broker)
    ending = trail.ended(
        installation.ports,
        installation.database(choice.service),
        entities={trail.EVERY_HOSPITAL: [topic]},
        **_said(choice, sent.run),
    )
    try:
        async with ending:
            await producer.start()
            await _paced(installation, kafka, choice, producer, sent)
            await producer.stop()
    except BaseException:  # Ctrl-C is one
        said = f"{sent.records} of {len(choice.records)} were sent"
        console(stderr=True).print(
            f"{said} (in {choice.service}'s audit trail: run {sent.run}), perhaps a few more. Asked"
            " again, the command leaves out what was handled.",
            soft_wrap=True,
        )
        raise
    finally:
        await producer.abandon()
    await _outcome(installation, kafka, choice, sent)
    return sent


async def _paced(
    installation: Installation, kafka: Kafka, choice: Choice, producer: Producer, sent: Sent
) -> None:
    group, clock = installation.group(choice.service), installation.ports.clock
    begun = clock.monotonic()
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"to {choice.service}", total=len(choice.records))
        async for records in _chunks(kafka, choice):
            await _record(installation, choice, sent.run, records)
            rows: Sequence[Copy] = [copy(record, group) for record in records]
            while rows:
                taken = {id(row) for row in await producer.send(rows)}
                rows = [row for row in rows if id(row) not in taken]
            sent.records += len(records)
            bar.update(task, completed=sent.records)
            ahead = sent.records / choice.rate - (clock.monotonic() - begun)
            if ahead > 0 and sent.records < len(choice.records):
                await clock.sleep(ahead)


async def _chunks(kafka: Kafka, choice: Choice) -> AsyncIterator[list[Record]]:
    """The records, a second's worth at a time."""
    spans: dict[Place, tuple[int, int]] = {}
    for topic, partition, offset in choice.records:
        first, end = spans.get((topic, partition), (offset, offset))
        spans[(topic, partition)] = min(first, offset), max(end, offset + 1)
    size, chunk = int(max(1, min(choice.rate, PAGE))), list[Record]()
    async for record in kafka.records(spans):
        if (record.topic, record.partition, record.offset) in choice.records:
            chunk.append(record)
            if len(chunk) == size:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


async def _record(
    installation: Installation, choice: Choice, run: str, records: Iterable[Record]
) -> None:
    """Into the audit trail, before anything is sent."""
    by_hospital: dict[str, list[str]] = defaultdict(list)
    for r in records:
        told = choice.records[(r.topic, r.partition, r.offset)]
        by_hospital[told.hospital or ""].append(f"{r.topic}/{r.partition}/{r.offset} {told.id}")
    await trail.record(
        installation.ports,
        installation.database(choice.service),
        entities=by_hospital,
        **_said(choice, run),
    )


def _said(choice: Choice, run: str) -> dict[str, str]:
    """Of every record of the run."""
    return {
        "operator": choice.operator,
        "what": choice.command,
        "kind": "transmit",
        "action": "E",
        "run": run,
    }


async def _outcome(installation: Installation, kafka: Kafka, choice: Choice, sent: Sent) -> None:
    """Wait until the service has read them, and look what became of each."""
    group, clock = installation.group(choice.service), installation.ports.clock
    ends = await kafka.ends(await kafka.places([replay_topic(group)]))
    begun = clock.monotonic()
    while clock.monotonic() - begun < PATIENCE:
        committed = await kafka.committed(group)
        sent.read = all(committed.get(p, first) >= end for p, (first, end) in ends.items())
        if sent.read or not (await kafka.group(group)).members:
            break
        await clock.sleep(0.5)
    if not sent.read:
        return
    ids = [told.inbox_id for told in choice.records.values()]
    rows = await inbox_rows(installation.database(choice.service), (id for id in ids if id))
    for id in ids:
        fate = str(rows[id]["fate"]) if id in rows else UNKNOWN
        sent.fates[fate] = sent.fates.get(fate, 0) + 1


def sentences(sent: Sent, service: str) -> list[str]:
    """The same for people."""
    said = [f"{sent.records} records were sent to {service} (in its audit trail: run {sent.run})."]
    if not sent.read:
        return [
            *said,
            f"[yellow]{service} has not read them all yet[/]: it does as soon as it runs;"
            " see `lianxin status`.",
        ]
    words = {
        Fate.DONE: "handled",
        Fate.REFUSED: "refused by a rule, which settles them",
        Fate.REJECTED: "[yellow]set aside again[/]",
        UNKNOWN: "[yellow]unknown to its inbox[/]: set aside again, or of a type that it ignores",
    }
    told = ((sent.fates.get(fate), word) for fate, word in words.items())
    return [*said, *(f"  {count} {word}" for count, word in told if count)]
