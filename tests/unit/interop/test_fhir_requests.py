"""How is a request read: bundles, references, conditions, and what is wrong with it?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.events import (
    EncounterDischarged,
    GuardianLinked,
    PatientRegistered,
    ReportReady,
    VisitCompleted,
)
from services.interop.domain.partners import TOPICS
from services.interop.domain.receipt import Received
from services.interop.edge.fhir import outcome, receive, references
from services.interop.edge.fhir.bundle import Request
from services.interop.edge.fhir.receive import MOST_EVENTS
from services.interop.edge.fhir.refused import Issue
from tests.unit.interop.fhir_given import (
    CORPUS,
    MR,
    Sender,
    codes,
    concept,
    encounter,
    faults,
    observation,
    only,
    organization,
    patient,
    practitioner,
    prescription,
    report,
    stay,
    transaction,
    without,
)

URN = "urn:uuid:0b8e7f3a-4f0e-4a57-8f0f-2a8d8f7a0001"
IDENTIFIED = {"identifier": {"type": MR, "value": "M1"}}


def sample(name: str) -> bytes:
    return (CORPUS / f"{name}.json").read_bytes()


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def posted(resource: dict[str, Any], full_url: str = "", **request: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": without(resource, "id"),
        "request": {"method": "POST", "url": resource["resourceType"], **request},
    }
    return {**entry, "fullUrl": full_url} if full_url else entry


# -- references -------------------------------------------------------------------------


KNOWN = patient(identifier=[{"type": MR, "system": "https://x.example/mrn", "value": "M1"}])
ENTRY = {"fullUrl": URN, "resource": KNOWN, "request": {"method": "PUT", "url": "Patient/p1"}}
LASTING: dict[str, dict[str, Any]] = {
    "relative": {"reference": "Patient/p1"},
    "versioned": {"reference": "Patient/p1/_history/3"},
    "absolute": {"reference": "https://ehr.example/fhir/Patient/p1"},
    "conditional": {"reference": "Patient?identifier=https://x.example/mrn%7CM1"},
    "logical": {
        "type": "Patient",
        "identifier": {"system": "https://x.example/mrn", "value": "M1"},
    },
}
WAYS = {**LASTING, "urn": {"reference": URN}}


def visit_of(reference: dict[str, Any]) -> dict[str, Any]:
    """A visit that needs no other resource."""
    provider = {"identifier": {"value": "NEURO"}}
    seen = encounter(subject=reference, serviceProvider=provider, **{"class": {"code": "AMB"}})
    return posted(seen)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_a_patient_finds_them_in_the_bundle(way: str) -> None:
    received = Sender().send(bundle(ENTRY, visit_of(WAYS[way])))
    assert not received.faults
    assert only(received.events, VisitCompleted).patient_id == "M1"


@pytest.mark.parametrize("way", LASTING)
def test_every_lasting_way_finds_them_in_a_later_request(way: str) -> None:
    sender = Sender()
    sender.send(bundle(ENTRY))
    received = sender.send(bundle(visit_of(WAYS[way])))
    assert not received.faults
    assert only(received.events, VisitCompleted).patient_id == "M1"


def test_a_patient_may_be_named_by_their_identifier_alone() -> None:
    """Another system has told of them."""
    visit = encounter(subject=IDENTIFIED, **{"class": {"code": "AMB"}})
    events = Sender().told(practitioner(), organization(), visit)
    assert only(events, VisitCompleted).patient_id == "M1"


def test_references_of_a_bundle_hold_after_it() -> None:
    sender = Sender()
    child = posted(patient(birthDate="2019-04-12"), URN)
    mother = posted(
        {
            "resourceType": "RelatedPerson",
            "patient": {"reference": URN},
            "relationship": [{"coding": [{"code": "MTH"}]}],
            "name": [{"text": "样例母"}],
        }
    )
    sender.send(bundle(child, mother))
    (id,) = [k.fhir_id for k in sender.kept.values() if k.type == "Patient"]
    left = sender.told(
        practitioner(), organization(), encounter(subject={"reference": f"Patient/{id}"})
    )
    assert [g.name for g in only(left, EncounterDischarged).guardians] == ["样例母"]


def test_one_senders_resources_are_not_anothers() -> None:
    one, other = Sender(), Sender(name="lis")
    one.put(patient())
    other.kept = one.kept
    assert faults(other.send(transaction(observation(), report()))) == [
        ("Bundle.entry[1].resource.subject", "not-found")
    ]


def test_what_may_mean_two_is_refused() -> None:
    sender = Sender()
    same = [{"type": MR, "system": "https://x.example/mrn", "value": "M1"}]
    sender.told(patient(identifier=same), patient(id="p2", identifier=same))
    named = {"reference": "Patient?identifier=https://x.example/mrn|M1"}
    found = sender.send(transaction(practitioner(), organization(), encounter(subject=named)))
    assert ("Bundle.entry[2].resource.subject", "multiple-matches") in faults(found)
    assert outcome.status_of(found.faults) == 412


# -- conditions, and what comes again ---------------------------------------------------


def test_a_conditional_create_creates_one_and_finds_it_from_then_on() -> None:
    sender = Sender()
    known = patient(identifier=[{"type": MR, "system": "u", "value": "M1"}])
    first = sender.post(without(known, "id"), "identifier=u|M1")
    assert only(first.events, PatientRegistered)
    (kept,) = sender.kept.values()
    again = sender.post(without({**known, "gender": "male"}, "id"), "identifier=u|M1")
    assert (again.events, again.kept) == ((), ())
    assert sender.exchange is not None
    assert [(d.id, d.created) for d in sender.exchange.done] == [(kept.fhir_id, False)]


def test_a_conditional_update_replaces_what_it_finds() -> None:
    sender = Sender()
    known = patient(identifier=[{"type": MR, "system": "u", "value": "M1"}])
    sender.put(known)
    put = Request("PUT", "Patient", "", "identifier=u|M1")
    sender.send(without({**known, "gender": "male"}, "id"), put)
    (kept,) = sender.kept.values()
    assert json.loads(kept.content)["gender"] == "male"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_condition_that_finds_several_is_refused(method: str) -> None:
    sender = Sender()
    same = [{"type": MR, "system": "u", "value": "M1"}]
    sender.told(patient(identifier=same), patient(id="p2", identifier=same))
    asked = Request(method, "Patient", "", "identifier=u|M1")
    found = sender.send(without(patient(identifier=same), "id"), asked)
    assert faults(found) == [("Patient", "multiple-matches")]


@pytest.mark.parametrize("condition", ["name=x", "identifier=M1", "identifier=u|M1&x=1", "x"])
def test_other_searches_are_refused(condition: str) -> None:
    found = Sender().post(without(patient(), "id"), condition)
    assert faults(found) == [("Patient", "not-supported")]


def test_the_same_bundle_again_tells_nothing_and_finds_its_own() -> None:
    sender = Sender()
    first = sender.send(sample("transaction-stay"))
    assert first.events
    again = sender.send(sample("transaction-stay"))
    assert (again.events, again.kept, again.receipt_id) == ((), (), first.receipt_id)


def test_a_resource_that_becomes_again_what_it_was_is_told_again() -> None:
    sender = Sender()
    a, b = patient(), patient(gender="male")
    told = [len(sender.put(p).events) for p in (a, b, a, a)]
    assert told == [1, 1, 1, 0]


# -- messages, batches ------------------------------------------------------------------


def test_a_message_is_taken_as_one_and_answered_as_a_message() -> None:
    sender = Sender()
    received = sender.send(sample("message-report"))
    told = only(received.events, ReportReady)
    assert [o.value for o in told.observations] == [168, 96]
    assert (received.control_id, received.type) == ("m-1", "Bundle/message")
    assert sender.exchange is not None
    answer = outcome.answered(sender.exchange)
    assert answer["entry"][0]["resource"]["response"] == {"identifier": "m-1", "code": "ok"}


def test_the_entries_of_a_batch_are_taken_apart_byte_for_byte() -> None:
    entries = ['{"a": 1.50 , "b":"}"}', "{}"]
    frame = '\ufeff {"type":"batch", "resourceType":"Bundle","entry" : [ %s ,%s]}'
    body = frame % tuple(entries)
    parts = receive.parts(body.encode())
    head = '{"resourceType":"Bundle","type":"batch","entry":['
    assert parts == [f"{head}{e}]}}".encode() for e in entries]


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Bundle","type":"batch","entry":1,"entry":[{},{}]}',
        '{"resourceType":"Bundle","type":"batch","entry":[{},{}]}'.encode("utf-16"),
    ],
    ids=["entry twice", "UTF-16"],
)
def test_a_batch_that_can_not_be_taken_apart_is_refused_as_a_whole(body: bytes) -> None:
    assert receive.parts(body) is None
    assert len(faults(Sender().send(body))) == 1


def test_a_note_stands_at_the_entry_that_it_is_about() -> None:
    sender = Sender()
    ward = prescription(category=[concept("x", "inpatient")])
    received = sender.send(transaction(*stay(observation(), ward)))
    assert codes(received) >= {"not_used"}
    assert sender.exchange is not None
    entries = outcome.answered(sender.exchange)["entry"]
    told = {
        n: e["response"]["outcome"] for n, e in enumerate(entries) if "outcome" in e["response"]
    }
    assert [i["expression"] for i in told[5]["issue"]] == [["Bundle.entry[5].resource"]]
    assert told[5]["issue"][0]["diagnostics"].startswith("not_used: category inpatient")
    assert 0 not in told, "the first entry has nothing to do with it"


def test_a_note_on_many_places_is_one_issue_with_many_expressions() -> None:
    sender = Sender()
    message = {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            json.loads(sample("message-report"))["entry"][0],
            *(
                {"resource": r}
                for r in [patient(), *(prescription(id=f"m{n}", intent="plan") for n in range(3))]
            ),
        ],
    }
    assert not sender.send(message).faults
    assert sender.exchange is not None
    _header, told = (e["resource"] for e in outcome.answered(sender.exchange)["entry"])
    (issue,) = told["issue"]
    assert issue["expression"] == [f"Bundle.entry[{n}].resource" for n in (2, 3, 4)]


def test_the_answer_to_a_part_of_a_batch_names_its_place_in_the_batch() -> None:
    sender = Sender()
    received = sender.send(bundle(posted(patient(gender="bogus"))))
    assert sender.exchange is not None
    answer = outcome.entry_of(sender.exchange, received, 7)
    assert answer["response"]["outcome"]["issue"][0]["expression"] == [
        "Bundle.entry[7].resource.gender"
    ]


# -- what is wrong ----------------------------------------------------------------------


def test_a_type_that_is_not_used_refuses_nothing_and_is_counted() -> None:
    sender = Sender()
    claim = {"resource": {"resourceType": "Claim"}, "request": {"method": "POST", "url": "Claim"}}
    gone = {"request": {"method": "DELETE", "url": "Claim/1"}}
    received = sender.send(bundle(posted(patient()), claim, gone))
    assert not received.faults
    assert "not_used" in codes(received)
    assert sender.exchange is not None and sender.exchange.unused == {"Claim": 2}
    statuses = [e["response"]["status"] for e in outcome.entries_of(sender.exchange)]
    assert statuses == ["201", "200", "200"]


def test_a_transaction_is_taken_or_refused_as_a_whole_and_says_all_that_is_wrong() -> None:
    found = Sender().send(
        transaction(
            patient(),
            encounter(status="bogus"),
            observation(valueQuantity={"value": "many"}),
            report(issued="yesterday"),
        )
    )
    assert (found.events, found.kept) == ((), ())
    assert faults(found) == [
        ("Bundle.entry[1].resource.status", "code-invalid"),
        ("Bundle.entry[2].resource.valueQuantity.value", "value"),
        ("Bundle.entry[3].resource.issued", "value"),
    ]


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        (b"", "", "invalid"),
        (b"{", "", "invalid"),
        (b'{"a": NaN}', "", "invalid"),
        (b'{"a": "\\ud800"}', "", "invalid"),
        (b"\xff\xfe{", "", "invalid"),
        (b"[" * 100_000, "", "invalid"),
        (b"[]", "", "structure"),
        (b"{}", "Bundle.resourceType", "structure"),
        (json.dumps(patient()).encode(), "Bundle.resourceType", "structure"),
        (b'{"resourceType":"Bundle"}', "Bundle.type", "required"),
        (b'{"resourceType":"Bundle","type":"document"}', "Bundle.type", "not-supported"),
        (b'{"resourceType":"Bundle","type":"transaction","x":1}', "Bundle.x", "structure"),
        (
            b'{"resourceType":"Bundle","type":"transaction","entry":[1]}',
            "Bundle.entry",
            "structure",
        ),
        (b'{"resourceType":"Bundle","type":"message"}', "Bundle.entry", "required"),
    ],
)
def test_a_body_that_is_no_bundle_is_refused_at_its_place(
    body: bytes, place: str, code: str
) -> None:
    received = Sender().send(body)
    assert faults(received) == [(place, code)]
    assert outcome.of_faults(received.faults)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("entry", "place", "code"),
    [
        ({"resource": patient()}, "request", "required"),
        ({"request": {"method": "POST", "url": "Patient"}}, "resource", "required"),
        ({"request": {"method": "DELETE", "url": "Patient/1"}}, "request.method", "not-supported"),
        ({**posted(patient()), "request": {"method": "POST", "url": "x"}}, "request.url", "value"),
        (
            {"resource": patient(), "request": {"method": "PUT", "url": "Patient/other"}},
            "request.url",
            "value",
        ),
        (
            {"resource": patient(), "request": {"method": "POST", "url": "Encounter"}},
            "request.url",
            "invalid",
        ),
        (
            {
                "resource": patient(),
                "request": {"method": "PUT", "url": "Patient/p1", "ifMatch": 'W/"1"'},
            },
            "request.ifMatch",
            "not-supported",
        ),
    ],
)
def test_an_entry_that_asks_for_what_is_not_done_is_refused(
    entry: dict[str, Any], place: str, code: str
) -> None:
    assert faults(Sender().send(bundle(entry))) == [(f"Bundle.entry[0].{place}", code)]


def test_a_resource_of_another_type_or_id_than_its_address_is_refused() -> None:
    sender = Sender()
    wrong_id = sender.send(patient(), Request("PUT", "Patient", "p2"))
    assert faults(wrong_id) == [("Patient.id", "invalid")]
    wrong_type = sender.send(patient(), Request("POST", "Encounter"))
    assert faults(wrong_type) == [("Encounter.resourceType", "invalid")]


@pytest.mark.parametrize("number", [19680412, -1, 1e300])
def test_a_number_is_no_date(number: float) -> None:
    found = Sender().put(patient(birthDate=number))
    assert faults(found) == [("Patient.birthDate", "value")]


@pytest.mark.parametrize("levels", [70, 450, 900, 20_000])
@pytest.mark.parametrize("name", ["extension", "contained", "name"])
def test_what_is_nested_without_end_is_refused(levels: int, name: str) -> None:
    deep = f'{{"{name}": [' * levels + "{}" + "]}" * levels
    raw = json.dumps({**patient(), name: ["*"]}).replace('"*"', deep).encode()
    found = Sender().send(raw, Request("PUT", "Patient", "p1"))
    assert {f.code for f in found.faults} <= {"structure", "invalid"}
    assert found.faults


@pytest.mark.parametrize("kind", ["Invented", "None", "Element", "patient"])
def test_a_type_that_fhir_does_not_have_is_refused(kind: str) -> None:
    entry = {"resource": {"resourceType": kind}, "request": {"method": "POST", "url": kind}}
    ((place, _code),) = faults(Sender().send(bundle(entry)))
    assert place.startswith("Bundle.entry[0].re")


@pytest.mark.parametrize(
    ("differs", "place"),
    [
        ({"modifierExtension": [{"url": "https://x.example/not"}]}, "modifierExtension"),
        ({"implicitRules": "https://x.example/rules"}, "implicitRules"),
        (
            {"contact": [{"modifierExtension": [{"url": "https://x.example/not"}]}]},
            "contact[0].modifierExtension",
        ),
    ],
)
def test_what_may_turn_the_meaning_of_a_resource_is_refused(
    differs: dict[str, Any], place: str
) -> None:
    received = Sender().send(transaction(patient(**differs)))
    assert faults(received) == [(f"Bundle.entry[0].resource.{place}", "not-supported")]


def test_two_entries_of_one_full_url_are_refused() -> None:
    other = patient(identifier=[{"type": MR, "value": "M2"}])
    received = Sender().send(bundle(posted(patient(), URN), posted(other, URN)))
    assert faults(received) == [("Bundle.entry[1].fullUrl", "invalid")]


def test_a_conditional_update_creates_under_the_id_that_it_names_and_no_other() -> None:
    sender, asked = Sender(), Request("PUT", "Patient", "", "identifier=urn:x|M1")
    named = patient(identifier=[{"type": MR, "system": "urn:x", "value": "M1"}])
    assert not sender.send(named, asked).faults
    assert not sender.put(encounter(status="planned")).faults, "Patient/p1 is known from then on"
    assert not sender.send(without(named, "id"), asked).faults
    received = sender.send({**named, "id": "p9"}, asked)
    assert faults(received) == [("Patient.id", "invalid")]


def test_documents_and_photographs_are_not_kept_for_later_requests() -> None:
    sender = Sender()
    form = [{"contentType": "application/pdf", "data": "QUJD"}]
    sender.told(patient(photo=form), observation(), report(presentedForm=form))
    assert sender.kept
    assert not any(b"QUJD" in kept.content for kept in sender.kept.values())


def test_a_request_that_refers_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender()
    sender.told(*stay())
    monkeypatch.setattr(references, "MOST_FETCHED_BYTES", 300)
    assert [code for _, code in faults(sender.put(encounter()))] == ["too-costly"]


def test_what_a_sender_may_not_write_is_kept_and_noted() -> None:
    sender = Sender(topics=frozenset({"hospital.reports"}))
    received = sender.send(transaction(without(patient(), "name"), observation(), report()))
    assert [type(e) for e in received.events] == [ReportReady], "a patient without a name will do"
    received = sender.send(transaction(patient(), *stay()[1:]))
    assert received.events == ()
    assert "not_allowed" in codes(received)
    sender.topics = TOPICS
    received = sender.send(transaction(patient(), *stay()[1:]))
    assert only(received.events, EncounterDischarged), "allowed later, it is told"


def test_more_facts_than_a_transaction_holds_are_refused() -> None:
    visits = [encounter(id=f"e{n}", **{"class": {"code": "AMB"}}) for n in range(MOST_EVENTS + 1)]
    found = Sender().send(transaction(patient(), practitioner(), organization(), *visits))
    assert faults(found) == [("Bundle.entry", "too-costly")]


def test_no_fault_and_no_note_shows_a_name_or_a_finding() -> None:
    sender = Sender()
    bad = patient(birthDate="样例机密", gender="样例机密")
    found: Received = sender.send(transaction(bad, observation(status="样例机密"), report()))
    assert found.faults
    assert "机密" not in json.dumps([f.model_dump() for f in found.faults] + list(found.notes))


# -- any bytes --------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
RESOURCES = [
    *json.loads(sample("transaction-stay"))["entry"],
    *({"resource": r} for r in [report(), *stay()]),
]


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, Any]:
    """A resource of the corpus with any JSON in one or two places."""
    whole = json.loads(json.dumps(draw(st.sampled_from(RESOURCES))["resource"]))
    for _ in range(draw(st.integers(1, 2))):
        node: Any = whole
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and draw(st.booleans()):
                node = node[key]
                continue
            node[key] = draw(JSON)
            break
    return dict(whole)


@settings(max_examples=300, deadline=None)
@given(st.lists(spoilt(), min_size=1, max_size=3))
def test_whatever_stands_in_a_resource_is_taken_or_refused_and_no_bug(
    resources: list[dict[str, Any]],
) -> None:
    kinds = [r.get("resourceType") for r in resources]
    entries = [
        {
            "resource": r,
            "request": {"method": "POST", "url": k if isinstance(k, str) else "Patient"},
        }
        for r, k in zip(resources, kinds, strict=True)
    ]
    sender = Sender()
    received = sender.send(bundle(*entries))
    assert Issue.EXCEPTION not in {f.code for f in received.faults}, received.faults
    if not received.faults and sender.exchange is not None:
        json.dumps(outcome.answered(sender.exchange))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_and_no_bug(raw: bytes) -> None:
    received = Sender().send(raw)
    assert received.faults
    assert Issue.EXCEPTION not in {f.code for f in received.faults}
    receive.parts(raw)


def test_a_guardian_of_a_bundle_is_linked() -> None:
    assert only(Sender().send(sample("transaction-stay")).events, GuardianLinked)
