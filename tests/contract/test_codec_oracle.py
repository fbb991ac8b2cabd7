"""Does our codec agree with the ``cloudevents`` library, in both directions and modes?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent as LibraryEvent
from hypothesis import given
from hypothesis import strategies as st

from libs.common.cloudevents import CloudEvent, Record, dataschema, decode, encode
from libs.common.events import NotificationRequested
from tests.support.examples import BODIES, example

EXTENSIONS = (
    *("hospital", "sequence", "correlationid", "causationid", "traceparent", "tracestate"),
)
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="|")
plain = st.text(visible, min_size=1, max_size=256)
times = st.integers(-4 * 10**12, 4 * 10**12).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
people_write = st.text(st.characters(codec="utf-8"), max_size=60)


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    data = example(draw(st.sampled_from(sorted(BODIES))))
    if isinstance(data, NotificationRequested):  # the one with free text of any kind
        parameters = draw(
            st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), people_write)
        )
        data = data.model_copy(update={"parameters": parameters})
    return CloudEvent(
        id=draw(plain),
        source=draw(plain),
        type=data.TYPE,
        subject=draw(plain),
        time=draw(times),
        hospital=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True)),
        data=data,
        sequence=draw(st.none() | st.integers(0, 10**18 - 1)),
        correlationid=draw(st.just("") | plain),
        causationid=draw(st.just("") | plain),
        traceparent=draw(
            st.none() | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", fullmatch=True)
        ),
        tracestate=draw(st.none() | st.from_regex(r"[a-z]{1,9}=[a-z0-9]{1,9}", fullmatch=True)),
        dataschema=dataschema(data.TYPE),
    )


def to_library(record: Record) -> BaseCloudEvent:
    return kafka.from_kafka_event(
        kafka.KafkaMessage(dict(record.headers), record.key, record.value)
    )


def from_library(message: kafka.KafkaMessage) -> CloudEvent:
    return decode(message.headers.items(), message.value)._replace(body=b"")


def library_event(event: CloudEvent) -> LibraryEvent:
    """The same event, made with the library's own means."""
    attributes: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "dataschema": event.dataschema,
    }
    for name in EXTENSIONS:
        if (value := getattr(event, name)) not in (None, ""):
            attributes[name] = str(value)
    return LibraryEvent(attributes, json.loads(event.data.model_dump_json()))


@given(events())
def test_the_library_reads_what_we_write(event: CloudEvent) -> None:
    record = encode(event)
    read = to_library(record)
    assert (read.get_id(), read.get_source(), read.get_type(), read.get_subject()) == event[:4]
    assert read.get_time() == event.time
    assert read.get_dataschema() == event.dataschema
    assert read.get_datacontenttype() == "application/json"
    assert read.get_specversion() == "1.0"
    assert read.get_data() == json.loads(record.value)
    assert read.get_extension("partitionkey") == record.key.decode()
    for name in EXTENSIONS:
        value = getattr(event, name)
        assert read.get_extension(name) == (str(value) if value not in (None, "") else None)


@given(events())
def test_we_read_what_the_library_writes_in_binary_mode(event: CloudEvent) -> None:
    assert from_library(kafka.to_binary_event(library_event(event))) == event


@given(events())
def test_we_read_what_the_library_writes_in_structured_mode(event: CloudEvent) -> None:
    assert from_library(kafka.to_structured_event(library_event(event))) == event


@given(events())
def test_an_event_survives_the_way_through_the_library_in_either_mode(event: CloudEvent) -> None:
    through = to_library(encode(event))
    assert from_library(kafka.to_binary_event(through)) == event
    assert from_library(kafka.to_structured_event(through)) == event
