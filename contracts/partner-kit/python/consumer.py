"""Print what Lianxin publishes. Needs Python 3.10 or newer and `pip install aiokafka`.

    python consumer.py his.invitations enrollment.events

The arguments are your consumer group and the topics. Where the broker is and who you are
stand in the same variables as for producer.py.
"""

import asyncio
import contextlib
import json
import sys

from aiokafka import AIOKafkaConsumer
from producer import connection


async def main(group: str, *topics: str) -> None:
    consumer = AIOKafkaConsumer(
        *topics,
        group_id=group,
        auto_offset_reset="earliest",  # a group that is new begins with what is still kept
        enable_auto_commit=False,  # not before you have handled it
        **connection(),
    )
    handled = set()  # yours is a table with a unique key, written together with what you do
    async with consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    if "ce_id" not in headers:
                        continue  # other systems may write structured mode: see the README
                    event = (headers["ce_hospital"], headers["ce_source"], headers["ce_id"])
                    if event in handled:
                        continue  # it has come before
                    handled.add(event)
                    # Skip the types that you do not know; ignore the fields that you do not know.
                    body = json.loads(record.value)
                    print(
                        headers["ce_type"], *event, json.dumps(body, ensure_ascii=False), flush=True
                    )
            if consumer.assignment():
                await consumer.commit()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
