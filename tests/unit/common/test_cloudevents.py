"""What the codec writes, what it reads, and what it says of what it can't read."""

from __future__ import annotations

import base64
import cProfile
import json
import pstats
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from libs.common.cloudevents import (
    MAX_BYTES,
    CloudEvent,
    Reason,
    Undecodable,
    UnknownType,
    decode,
    encode,
)
from libs.common.events import EVENT_TYPES, NotificationRequested, PatientDeceased
from tests.support.examples import BODIES, cloud_event

EVENT = cloud_event()
RECORD = encode(EVENT)
HEADERS: dict[str, bytes | None] = dict(RECORD.headers)
STRUCTURED = {
    "content-type": b"application/cloudevents+json; charset=UTF-8",
}


def without_body(event: CloudEvent) -> CloudEvent:
    """What is about to be sent has no body yet."""
    return event._replace(body=b"")


def read(value: bytes | None = RECORD.value, **changed: bytes | None) -> Any:
    """Decode the record with some headers changed; None is Kafka's null header."""
    return decode((HEADERS | changed).items(), value)


def without(*names: str) -> list[tuple[str, bytes | None]]:
    return [(name, value) for name, value in HEADERS.items() if name not in names]


def structured(**changed: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": "1",
        "source": "/his",
        "type": EVENT.type,
        "subject": EVENT.subject,
        "time": "2026-11-18T02:05:01.120Z",
        "hospital": "h1",
        "data": json.loads(RECORD.value),
    }
    return attributes | changed


def read_structured(event: Any, headers: dict[str, bytes] | None = None) -> Any:
    value = event if isinstance(event, bytes) else json.dumps(event).encode()
    return decode((STRUCTURED if headers is None else headers).items(), value)


def refused(act: Callable[[], object]) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        act()
    return caught.value


# -- what is written --------------------------------------------------------------------


def test_a_record_is_keyed_by_hospital_and_the_events_key_field() -> None:
    assert RECORD.key == b"h1/p-200870"
    notification = cloud_event("hospital.notification.requested.v1/invitation")
    assert encode(notification).key == b"h1/p-200871"
    assert encode(cloud_event("hospital.group.full.v1/minimal")).key == b"h1/ped-neph:3"


def test_the_attributes_travel_as_headers() -> None:
    written = dict(RECORD.headers)
    assert written == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_type": b"hospital.encounter.discharged.v1",
        "ce_id": EVENT.id.encode(),
        "ce_source": b"/hospitals/h1/his",
        "ce_subject": b"e-20261118-031",
        "ce_time": b"2026-11-18T02:05:01.120Z",
        "ce_hospital": b"h1",
        "ce_dataschema": b"https://lianxin.example/schemas/hospital.encounter.discharged.v1.json",
        "ce_sequence": b"7",
        "ce_correlationid": b"c-1",
        "ce_causationid": b"c-0",
        "ce_traceparent": EVENT.traceparent.encode() if EVENT.traceparent else b"",
        "ce_tracestate": b"vendor=1",
    }


def test_attributes_that_are_absent_have_no_header() -> None:
    bare = EVENT._replace(
        sequence=None, correlationid="", causationid="", traceparent=None, tracestate=None
    )
    names = {name for name, _ in encode(bare).headers}
    assert names == HEADERS.keys() - {
        *("ce_sequence", "ce_correlationid", "ce_causationid", "ce_traceparent", "ce_tracestate")
    }


def test_time_is_written_in_utc_with_milliseconds() -> None:
    shanghai = datetime(2026, 11, 18, 8, 0, 0, 999_999, timezone(timedelta(hours=8)))
    assert ("ce_time", b"2026-11-18T00:00:00.999Z") in encode(EVENT._replace(time=shanghai)).headers


def test_absent_fields_are_not_written() -> None:
    assert b"null" not in encode(cloud_event("hospital.encounter.discharged.v1/minimal")).value


def test_an_event_of_another_type_than_its_data_is_never_written() -> None:
    with pytest.raises(ValueError, match="does not carry EncounterDischarged"):
        encode(EVENT._replace(type="hospital.patient.deceased.v1"))


def test_a_time_without_zone_is_never_written() -> None:
    with pytest.raises(ValueError, match="aware"):
        encode(EVENT._replace(time=EVENT.time.replace(tzinfo=None)))


def test_a_field_of_the_wrong_type_is_never_written() -> None:
    broken = EVENT.data.model_copy(update={"encounter_id": 5})
    with pytest.raises(ValueError, match="Expected `str`"):
        encode(EVENT._replace(data=broken))


def test_an_event_above_64_kib_is_never_written() -> None:
    example = cloud_event("hospital.notification.requested.v1/invitation")
    assert isinstance(example.data, NotificationRequested)
    large = {f"p{n}": "字" * 1000 for n in range(32)}
    with pytest.raises(ValueError, match="exceeds 65536 bytes"):
        encode(example._replace(data=example.data.model_copy(update={"parameters": large})))


# -- what is read -----------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_what_was_written_is_read(name: str) -> None:
    event = cloud_event(name)
    record = encode(event)
    got = decode(record.headers, record.value)
    assert got.body == record.value
    assert without_body(got) == event


def test_both_modes_read_alike() -> None:
    event = structured(traceparent=EVENT.traceparent, sequence="7")
    assert without_body(read_structured(event)) == EVENT._replace(
        id="1", source="/his", correlationid="", causationid="", tracestate=None, dataschema=None
    )


def test_unknown_fields_and_attributes_are_tolerated() -> None:
    body = json.loads(RECORD.value) | {"new_field": {"deep": [1]}}
    body["patient"]["blood_group"] = "0"
    assert read(json.dumps(body).encode(), ce_newextension=b"x").data == EVENT.data
    assert read_structured(structured(newextension="x")).data == EVENT.data


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"2026-11-18T10:05:01.120+08:00", datetime(2026, 11, 18, 2, 5, 1, 120_000, UTC)),
        (b"2026-11-18t02:05:01z", datetime(2026, 11, 18, 2, 5, 1, 0, UTC)),
        (b"2026-11-18T02:05:01.123456789Z", datetime(2026, 11, 18, 2, 5, 1, 123_000, UTC)),
        (b"1850-01-01T00:00:00Z", datetime(1850, 1, 1, tzinfo=UTC)),
        (b"9000-01-01T00:00:00Z", datetime(9000, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc_in_whole_milliseconds(written: bytes, meant: datetime) -> None:
    time = read(ce_time=written).time
    assert (time, time.tzinfo) == (meant, UTC)


def test_the_subject_follows_from_the_data_where_it_is_absent() -> None:
    assert decode(without("ce_subject"), RECORD.value).subject == "e-20261118-031"


def test_trace_context_is_read_from_plain_headers_too() -> None:
    headers = [*without("ce_traceparent", "ce_tracestate"), ("traceparent", b"00-" + b"a" * 52)]
    event = decode([*headers, ("tracestate", b"x=1")], RECORD.value)
    assert (event.traceparent, event.tracestate) == ("00-" + "a" * 52, "x=1")


@pytest.mark.parametrize("broken", [b"", b"00-short", b"0" * 129, b"\xff" * 55, None])
def test_a_broken_trace_context_is_dropped(broken: bytes | None) -> None:
    assert read(ce_traceparent=broken).traceparent is None


@pytest.mark.parametrize(
    "spelling", [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/fhir+json"]
)
def test_json_may_be_spelled_differently(spelling: bytes) -> None:
    assert without_body(read(**{"content-type": spelling})) == EVENT


def test_binary_mode_may_lack_a_content_type_and_have_capital_headers() -> None:
    headers = [(name.upper(), value) for name, value in without("content-type")]
    assert without_body(decode(headers, RECORD.value)) == EVENT


def test_without_any_header_the_record_is_structured() -> None:
    assert read_structured(structured(), headers={}).data == EVENT.data


def test_structured_mode_may_hold_its_data_in_base64() -> None:
    event = structured(data_base64=base64.b64encode(RECORD.value).decode())
    del event["data"]
    assert read_structured(event).data == EVENT.data


# -- what can't be read -----------------------------------------------------------------


@pytest.mark.parametrize("value", [None, b""])
def test_a_tombstone_is_refused(value: bytes | None) -> None:
    assert refused(lambda: read(value)).reason == Reason.EMPTY_BODY
    assert refused(lambda: read_structured(structured(data=None))).reason == Reason.EMPTY_BODY


def test_a_large_record_is_refused_before_it_is_parsed() -> None:
    assert refused(lambda: read(b"{" * (MAX_BYTES + 1))).reason == Reason.TOO_LARGE
    fits = RECORD.value + b" " * (MAX_BYTES - len(RECORD.value))
    assert without_body(read(fits)) == EVENT


@pytest.mark.parametrize("name", ["specversion", "type", "id", "source", "time", "hospital"])
def test_a_missing_attribute_is_named(name: str) -> None:
    attributes = structured()
    del attributes[name]
    for error in (
        refused(lambda: decode(without(f"ce_{name}"), RECORD.value)),
        refused(lambda: read(**{f"ce_{name}": None})),
    ):
        assert (error.reason, error.detail) == (Reason.MISSING_ATTRIBUTE, name)
    wanted = Reason.NOT_CLOUDEVENT if name == "specversion" else Reason.MISSING_ATTRIBUTE
    assert refused(lambda: read_structured(attributes)).reason == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", b"0.3"),
        ("id", b"a|b"),
        ("id", b""),
        ("id", b"x" * 257),
        ("id", "编号".encode()),
        ("source", b"/a b"),
        ("subject", b"a\nb"),
        ("hospital", b"h/1"),
        ("hospital", b"x" * 65),
        ("sequence", b"-1"),
        ("sequence", b"1.5"),
        ("sequence", b"9" * 19),
        ("correlationid", b"\x00"),
        ("causationid", b"a|b"),
    ],
)
def test_a_bad_attribute_is_named_but_not_quoted(name: str, value: bytes) -> None:
    error = refused(lambda: read(**{f"ce_{name}": value}))
    assert error.reason == Reason.BAD_ATTRIBUTE
    assert error.detail.startswith(f"{name}: ")
    assert not value or value.decode() not in str(error)


@pytest.mark.parametrize("value", [1.5, True, ["x"], {"a": 1}])
def test_an_attribute_of_structured_mode_is_a_string_or_an_integer(value: object) -> None:
    error = refused(lambda: read_structured(structured(id=value)))
    assert (error.reason, error.detail) == (Reason.BAD_ATTRIBUTE, "id: a string")


@pytest.mark.parametrize(
    "time",
    [
        b"2026-11-18T02:05:01",  # no offset
        b"2026-11-18",
        b"20261118T020501Z",
        b"2026-W47-3T02:05:01Z",
        b"2026-02-30T00:00:00Z",
        b"2026-11-18T02:05:60Z",
        b"0001-01-01T00:00:00+08:00",  # before the first year in UTC
        b"yesterday",
        b"1763431501",
    ],
)
def test_a_bad_time_is_refused(time: bytes) -> None:
    assert refused(lambda: read(ce_time=time)).reason == Reason.BAD_TIME


def test_what_is_no_cloudevent_is_refused() -> None:
    plain = [("content-type", b"application/json")]
    batch = [("content-type", b"application/cloudevents-batch+json")]
    for headers, value in (
        (plain, RECORD.value),
        (batch, b"[]"),
        ([], RECORD.value),
        ([], b"MSH|^~\\&|HIS"),
        ([], b"\xff\xfe"),
        ([], b"[]"),
        ([("x-other", b"1")], b"null"),
    ):
        error = refused(lambda h=headers, v=value: decode(h, v))  # type: ignore[misc]
        assert error.reason == Reason.NOT_CLOUDEVENT


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe\x00", b"not json", b'{"a":1} trailing', b"[" * 5000, b'"\\ud800"']
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    assert refused(lambda: read(body)).reason == Reason.NOT_JSON
    assert refused(lambda: read_structured(body)).reason == Reason.NOT_JSON


def test_a_content_type_other_than_json_is_refused() -> None:
    error = refused(lambda: read(**{"content-type": b"application/avro"}))
    assert (error.reason, error.detail[:15]) == (Reason.BAD_ATTRIBUTE, "datacontenttype")
    error = refused(lambda: read_structured(structured(datacontenttype="text/plain")))
    assert (error.reason, error.detail[:15]) == (Reason.BAD_ATTRIBUTE, "datacontenttype")


def test_broken_base64_is_refused() -> None:
    for data in ("***", 5, "{}"):
        error = refused(lambda d=data: read_structured(structured(data_base64=d)))  # type: ignore[misc]
        assert error.reason == Reason.NOT_JSON


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        (["patient_id"], 7, "patient_id: Input should be a valid string"),
        (["patient", "birth_date"], "张三", "patient.birth_date: Input should be a valid date"),
        (["diagnoses", 1, "rank"], "张三", "diagnoses.1.rank: Input should be a valid integer"),
        (["disposition"], "张三", "disposition: Input should be 'home'"),
        (["discharged_at"], "2026-11-18T10:05:00", "discharged_at: Input should have timezone"),
        (["discharged_at"], 1763431501, "discharged_at: Input should be a valid datetime"),
        (["guardians"], {"张三": 1}, "guardians: Input should be a valid"),
    ],
)
def test_a_schema_violation_names_the_place_and_the_rule_but_no_value(
    path: list[Any], value: object, detail: str
) -> None:
    body = json.loads(RECORD.value)
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    error = refused(lambda: read(json.dumps(body).encode()))
    assert error.reason == Reason.SCHEMA_VIOLATION
    assert error.detail.startswith(detail)
    assert "张三" not in str(error)


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"7"])
def test_a_body_that_is_no_object_violates_the_schema(body: bytes) -> None:
    error = refused(lambda: read(body))
    assert (error.reason, error.detail[:9]) == (Reason.SCHEMA_VIOLATION, "the body:")


def test_a_key_that_somebody_wrote_is_not_quoted_either() -> None:
    event = cloud_event("hospital.notification.requested.v1/invitation")
    record = encode(event)
    for parameters in ({"张三": "x"}, {"zhangsan": 5}):
        body = json.loads(record.value) | {"parameters": parameters}
        value = json.dumps(body).encode()
        error = refused(lambda v=value: decode(record.headers, v))  # type: ignore[misc]
        assert error.reason == Reason.SCHEMA_VIOLATION
        assert error.detail.startswith("parameters.*")
        assert "zhangsan" not in str(error) and "张三" not in str(error)


def test_several_violations_are_counted() -> None:
    assert "(and 5 more)" in refused(lambda: read(b"{}")).detail


def test_an_error_names_its_source_where_that_could_be_read() -> None:
    assert refused(lambda: read(b"{}")).source == EVENT.source
    assert refused(lambda: read(b"{")).source == EVENT.source
    assert refused(lambda: read(ce_time=b"x")).source == EVENT.source
    assert refused(lambda: read(ce_source=b"a b")).source is None


# -- types ------------------------------------------------------------------------------


def test_an_unknown_type_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(UnknownType) as caught:
        read(b"{}", ce_type=b"hospital.weather.changed.v1")
    assert caught.value.type == "hospital.weather.changed.v1"
    with pytest.raises(UnknownType):
        read_structured(structured(type="org.example.other"))


def test_a_type_that_the_reader_does_not_handle_is_unknown_to_it() -> None:
    with pytest.raises(UnknownType):
        decode(HEADERS.items(), RECORD.value, {PatientDeceased.TYPE: PatientDeceased})


@pytest.mark.parametrize("major", [b"2", b"10"])
def test_another_major_version_of_a_known_type_is_refused(major: bytes) -> None:
    error = refused(lambda: read(ce_type=b"hospital.encounter.discharged.v" + major))
    assert error.reason == Reason.UNKNOWN_MAJOR_VERSION


def test_a_type_that_begins_like_a_known_one_is_merely_unknown() -> None:
    for name in (b"hospital.encounter.discharged", b"hospital.encounter.discharged.vX"):
        with pytest.raises(UnknownType):
            read(ce_type=name)


# -- cost -------------------------------------------------------------------------------


def test_writing_and_reading_take_few_calls() -> None:
    """Both run for every record; the budget of the whole path is 150 calls an event."""
    event = cloud_event("hospital.patient.deceased.v1/minimal")
    record = encode(event)

    def calls(act: Callable[[], object]) -> float:
        act()
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(10):
            act()
        profile.disable()
        return pstats.Stats(profile).total_calls / 10  # type: ignore[attr-defined,no-any-return]

    assert calls(lambda: encode(event)) <= 14
    assert calls(lambda: decode(record.headers, record.value, EVENT_TYPES)) <= 24
