"""How are records read on, where the library fails at one of them?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.common.broker import Broker
from libs.common.kafka.client import BusError, reach
from libs.common.kafka.record import Record, Unreadable


async def around(client: Any) -> AsyncGenerator[Record, None]:
    """From where ``client`` stands to what is the end now, one by one, so that what the library
    fails at is known by its offset. It fails at all that follows in the same batch, too."""
    for tp, end in (await client.end_offsets(list(client.assignment()))).items():
        while (at := await client.position(tp)) < end:
            try:
                one = await client.getmany(tp, max_records=1, timeout_ms=1_000)
            except UnicodeDecodeError:
                client.seek(tp, at + 1)
                yield Unreadable(tp.topic, tp.partition, at)
            else:
                for record in one.get(tp, ()):
                    yield record


async def read_all(broker: Broker | str, topics: Sequence[str]) -> AsyncIterator[Record]:
    """Every record of ``topics`` from the beginning, then live; outside any group. What can't
    be read comes as :class:`Unreadable`."""
    client = AIOKafkaConsumer(
        *topics,
        **reach(broker),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await client.start()
        while True:
            try:
                record = await client.getone()
            except UnicodeDecodeError:
                async with aclosing(around(client)) as records:
                    async for record in records:
                        yield record
            else:
                yield record
    except (KafkaError, OSError) as error:
        raise BusError(type(error).__name__) from error
    finally:
        await client.stop()
