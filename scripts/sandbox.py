"""What can a partner try against, without a hospital and without a real person?

``make sandbox`` starts a Kafka with the platform's topics, puts every example of
``contracts/examples`` on them as an event of the hospital ``sandbox``, and stays up until
Ctrl-C. With ``BOOTSTRAP=…`` it writes to a broker that is there, such as that of ``make run``,
and then only what hospital systems write: the rest is told by the services themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from libs.common.cloudevents import CloudEvent, dataschema, encode
from libs.common.devstack import kafka, topics
from libs.common.devstack.child import Child, sweep
from libs.common.devstack.errors import StackError, require_port
from libs.common.devstack.lock import FolderLock
from libs.common.devstack.places import Ports
from libs.common.devstack.run import data_folder
from libs.common.events import EVENT_TYPES
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer
from scripts.contracts import CONTRACTS
from scripts.published import read

HOSPITAL = "sandbox"
SOURCE = "/sandbox"


class Outgoing(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def events(hospital: str, now: datetime, contracts: Path = CONTRACTS) -> Iterator[CloudEvent]:
    """An event for each example; the same id each time, so that a repetition is one."""
    told: Counter[tuple[str, str]] = Counter()
    for type, model in EVENT_TYPES.items():
        for path in sorted((contracts / "examples" / type).glob("*.json")):
            body = model.model_validate(json.loads(path.read_text("utf-8")))
            subject = str(getattr(body, model.SUBJECT))
            told[model.TOPIC, subject] += 1
            yield CloudEvent(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{hospital}/{type}/{path.stem}")),
                source=SOURCE,
                type=type,
                subject=subject,
                time=now,
                hospital=hospital,
                data=body,
                sequence=told[model.TOPIC, subject],
                dataschema=dataschema(type),
            )


async def publish(bootstrap: str, given: list[CloudEvent]) -> None:
    rows = [Outgoing(event.data.TOPIC, *encode(event)) for event in given]
    producer = Producer(bootstrap)
    await producer.start()
    try:
        while rows:
            sent = {id(row) for row in await producer.send(rows)}
            rows = [row for row in rows if id(row) not in sent]
    finally:
        await producer.stop()


def fill(bootstrap: str, hospital: str, *, all_topics: bool) -> int:
    """Publish the examples; how many."""
    registry = read(CONTRACTS).topics
    given = [
        event
        for event in events(hospital, datetime.now(UTC))
        if all_topics or "write" in registry[event.data.TOPIC].partners
    ]
    asyncio.run(publish(bootstrap, given))
    return len(given)


def stay_up(hospital: str) -> None:
    """A broker of its own, filled, until somebody stops it."""
    folder, ports = data_folder() / "sandbox", Ports.fixed()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    lock.take()
    sweep(folder)
    require_port("Kafka", ports.kafka, "KAFKA_PORT")
    require_port("Kafka's controller", ports.controller, "KAFKA_CONTROLLER_PORT")
    bootstrap = f"127.0.0.1:{ports.kafka}"
    with ThreadPoolExecutor(1) as spawner:
        child = Child(kafka.program(folder, ports), folder, spawner)
        try:
            child.start()
            child.wait_ready()
            topics.create(bootstrap)
            count = fill(bootstrap, hospital, all_topics=True)
            print(
                f"sandbox: {count} events of the hospital {hospital} on {bootstrap}; "
                "Ctrl-C stops it, the data stays",
                flush=True,
            )
            threading.Event().wait()
        finally:
            child.stop()
            lock.give()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make sandbox", description=__doc__)
    parser.add_argument("--bootstrap")
    parser.add_argument("--hospital", default=HOSPITAL)
    chosen = parser.parse_args(arguments)
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell may start us with SIGINT ignored
        signal.signal(stop, interrupt)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # new topics have no leader at first
    try:
        if chosen.bootstrap:
            count = fill(chosen.bootstrap, chosen.hospital, all_topics=False)
            print(f"sandbox: {count} events of the hospital {chosen.hospital} written")
        else:
            stay_up(chosen.hospital)
    except BusError as error:
        print(f"sandbox: {chosen.bootstrap} does not take them ({error})", file=sys.stderr)
        return 1
    except StackError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
