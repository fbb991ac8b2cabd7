"""Is an HTTP request read as what the CloudEvents library wrote, and is nothing guessed?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent as LibraryEvent

from libs.common.cloudevents import decode, passed_on
from services.interop.edge.cloudevents import BATCH, MOST, NoBatch, NotRead, read
from tests.support.examples import BODIES, TRACEPARENT

NOW = datetime(2026, 11, 18, 3, tzinfo=UTC)
NAME = "hospital.encounter.discharged.v1/adult"
TYPE = NAME.partition("/")[0]
EXAMPLE = next(name for name in BODIES if name.startswith(TYPE))


def event(**attributes: Any) -> LibraryEvent:
    given: dict[str, Any] = {
        "id": "e-1",
        "source": "https://his.hospital.example/",
        "type": TYPE,
        "time": NOW,
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "hospital": "h1",
        **attributes,
    }
    return LibraryEvent(
        attributes={k: v for k, v in given.items() if v is not None},
        data=json.loads(BODIES[EXAMPLE]),
    )


def binary(of: LibraryEvent) -> tuple[dict[str, str], bytes]:
    message = http.to_binary_event(of)
    return dict(message.headers), bytes(message.body)


def structured(of: LibraryEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(http.to_structured_event(of).body)
    return found


def batch(*of: Any) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": f"{BATCH}; charset=utf-8"}, json.dumps(of).encode()


def test_binary_structured_and_batched_events_are_the_same() -> None:
    one = event(sequence="7", subject="e-20261118-017", correlationid="c-1")
    message = http.to_structured_event(one)
    (first,) = read(*_of(binary(one)), "h1", NOW)
    (second,) = read(dict(message.headers).items(), bytes(message.body), "h1", NOW)
    headers, body = batch(structured(one), structured(event(id="e-2")))
    third, other = read(headers.items(), body, "h1", NOW)
    same = [got.event._replace(body=b"") for got in (first, second, third)]
    assert same[0] == same[1] == same[2]
    assert other.event.id == "e-2"
    assert first.event.sequence == 7


def _of(message: tuple[dict[str, str], bytes]) -> tuple[Any, bytes]:
    return message[0].items(), message[1]


def test_what_is_passed_on_is_read_as_it_was_sent_and_keeps_what_we_do_not_know() -> None:
    whole = structured(event(sequence="7", traceparent=TRACEPARENT))
    whole["data"]["added_in_a_later_version"] = {"x": 1}
    headers, body = batch(whole)
    (published,) = read(headers.items(), body, "h1", NOW)
    new = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    record = passed_on("h1", published.event.data, published.original, new)
    again = decode(record.headers, record.value)
    assert again == published.event._replace(traceparent=new)
    assert json.loads(record.value)["added_in_a_later_version"] == {"x": 1}
    assert record.key == f"h1/{whole['data']['patient_id']}".encode()


def test_an_event_without_a_hospital_is_the_callers() -> None:
    (published,) = read(*_of(binary(event(hospital=None))), "h9", NOW)
    assert published.event.hospital == "h9"
    assert ("ce_hospital", b"h9") in published.original.headers


def test_a_percent_encoded_attribute_is_decoded() -> None:
    headers, body = binary(event())
    headers["ce-subject"] = "a%20b"  # a blank stands in no subject, encoded or not
    with pytest.raises(NotRead, match="subject"):
        read(headers.items(), body, "h1", NOW)
    headers["ce-subject"] = "a%2Eb"
    assert read(headers.items(), body, "h1", NOW)[0].event.subject == "a.b"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "bad_attribute"),
        ({"type": "hospital.nothing.happened.v1"}, "unknown_type"),
        ({"type": "hospital.encounter.discharged.v9"}, "unknown_major_version"),
        ({"time": "yesterday"}, "bad_time"),
        ({"time": (NOW + timedelta(minutes=6)).isoformat()}, "time_ahead"),
        ({"source": "a b"}, "bad_attribute"),
        ({"specversion": "0.3"}, "bad_attribute"),
        ({"data": None}, "empty_body"),
        ({"data": {"patient_id": "p1"}}, "schema_violation"),
    ],
)
def test_what_can_t_be_read_says_which_event_and_why(change: dict[str, Any], reason: str) -> None:
    headers, body = batch(structured(event()), structured(event()) | change)
    with pytest.raises(NotRead) as caught:
        read(headers.items(), body, "h1", NOW)
    assert (caught.value.index, caught.value.reason) == (1, reason)
    assert caught.value.detail


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[", json.dumps([{}] * (MOST + 1)).encode()])
def test_a_batch_is_an_array_of_some_events(body: bytes) -> None:
    with pytest.raises(NoBatch):
        read({"content-type": BATCH}.items(), body, "h1", NOW)


@pytest.mark.parametrize("form", [None, "text/plain", "application/xml", "application/json"])
def test_a_body_that_is_no_cloudevent_is_refused(form: str | None) -> None:
    headers = {} if form is None else {"content-type": form}
    with pytest.raises(NotRead) as caught:
        read(headers.items(), b"{}", "h1", NOW)
    assert caught.value.reason == "not_cloudevent"
