"""Publish one event to Lianxin. Needs Python 3.10 or newer and `pip install aiokafka`.

    python producer.py hospital.encounters hospital.encounter.discharged.v1 h1 p-100234 body.json

The arguments are the topic, the type, the hospital, the value of the topic's key field and a
file with the body. KAFKA_BOOTSTRAP_SERVERS names the broker; the credential, if it wants one,
stands in KAFKA_SECURITY_PROTOCOL, KAFKA_CA, KAFKA_USERNAME and KAFKA_PASSWORD.
"""

import asyncio
import os
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

#: Who you are; agreed with whoever operates Lianxin.
SOURCE = "/hospitals/h1/his"


def connection() -> dict:
    protocol = os.environ.get("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    found = {
        "bootstrap_servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "security_protocol": protocol,
    }
    if "SSL" in protocol:
        found["ssl_context"] = create_ssl_context(cafile=os.environ.get("KAFKA_CA"))
    if "SASL" in protocol:
        found["sasl_mechanism"] = "SCRAM-SHA-512"
        found["sasl_plain_username"] = os.environ["KAFKA_USERNAME"]
        found["sasl_plain_password"] = os.environ["KAFKA_PASSWORD"]
    return found


async def main(topic: str, type: str, hospital: str, key: str, body: bytes) -> None:
    headers = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        # The same for the same content: what you send again after a fault is one event for us.
        # A system that numbers its events takes that number.
        "ce_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SOURCE}/{hospital}/{type}/{body!r}")),
        "ce_source": SOURCE,
        "ce_type": type,
        # When it happened, not when it is sent; here they are the same.
        "ce_time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "ce_hospital": hospital,
        "ce_dataschema": f"https://lianxin.example/schemas/{type}.json",
    }
    # aiokafka's own partitioner is murmur2, like Kafka's.
    async with AIOKafkaProducer(**connection(), acks="all", enable_idempotence=True) as producer:
        sent = await producer.send_and_wait(
            topic,
            body,
            key=f"{hospital}/{key}".encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
    # Only now may you forget the event.
    print(f"{sent.topic} {sent.partition}:{sent.offset} {headers['ce_id']}")


if __name__ == "__main__":
    *where, file = sys.argv[1:]
    asyncio.run(main(*where, Path(file).read_bytes()))
