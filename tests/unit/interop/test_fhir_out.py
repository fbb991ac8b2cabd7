"""Is what we send to FHIR's receivers FHIR, and does it tell what the event told?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from libs.common.decision import Input
from libs.common.events import EVENT_TYPES, Event, ReportStatus, VisitClass
from services.interop.domain.delivery import Agenda, Delivery, cloud_event
from services.interop.domain.partners import READABLE
from services.interop.domain.subscription import Format, Status, Subscription, Terms
from services.interop.edge.fhir_out.notifications import (
    Notifications,
    is_full,
    notification,
    statuses,
)
from services.interop.edge.fhir_out.resources import TABLE, fhir_id, resource_of
from tests.support.examples import BODIES, example

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
MAPPED = sorted(n for n in BODIES if EVENT_TYPES[n.partition("/")[0]] in TABLE)


def subscription(status: Status = Status.ACTIVE, **changes: Any) -> Subscription:
    terms = {"endpoint": "https://a.example/", "topics": ["hospital.reports"], **changes}
    return Subscription(
        id="5d0c1f7e-8a1b-4c1e-9b52-0d6f3a9c7e11",
        hospital="h1",
        client="app",
        terms=Terms.model_validate(terms),
        status=status,
        reason="http_410" if status is Status.SUSPENDED else "",
        created_at=NOW,
        changed_at=NOW,
        secret="whsec_x",
    )


def delivery(event: Event, number: int = 7) -> Delivery:
    input = Input(
        id="e1", source="/test", type=event.TYPE, hospital="h1", subject="s", time=NOW, data=event
    )
    return Delivery(
        id=f"d{number}",
        hospital="h1",
        subscription_id="s1",
        number=number,
        lane="p1",
        type=event.TYPE,
        event=cloud_event(input, number),
        at=NOW,
        queued_at=NOW,
    )


def parsed(resource: dict[str, Any]) -> Any:
    """As FHIR's model reads it, nothing of it lost."""
    model = get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    kept = json.loads(model.model_dump_json())
    assert names(kept) == names(resource)
    return model


def names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: names(part) for name, part in value.items()}
    return [names(part) for part in value] if isinstance(value, list) else None


def parameters(bundle: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for parameter in bundle["entry"][0]["resource"]["parameter"]:
        (value,) = (v for k, v in parameter.items() if k != "name")
        found[parameter["name"]] = value
    return found


@pytest.mark.parametrize("name", MAPPED)
def test_each_resource_is_sound_and_loses_nothing_in_fhirs_own_model(name: str) -> None:
    resource = resource_of(example(name))
    assert resource is not None
    parsed(resource)


def test_every_type_in_the_table_has_an_example_here_and_can_be_subscribed_to() -> None:
    shown = {EVENT_TYPES[n.partition("/")[0]] for n in MAPPED}
    assert shown == set(TABLE)
    assert set(TABLE) <= set(READABLE.values())


def test_a_pharmacy_that_hears_fhir_learns_that_it_was_chosen_and_what_is_void() -> None:
    told = {}
    for name in ("effective.v1/chosen", "fulfilment_chosen.v1/another-pharmacy",
                 "suspended.v1/withheld", "lapsed.v1/not-collected"):  # fmt: skip
        resource = resource_of(example(f"hospital.refill.{name}"))
        assert resource is not None
        performer = resource.get("dispenseRequest", {}).get("performer", {}).get("reference")
        told[name.partition(".")[0]] = (resource["identifier"], resource["status"], performer)
    own = told["effective"][0]
    assert told == {
        "effective": (own, "active", f"Organization/{fhir_id('ph-012')}"),
        "fulfilment_chosen": (own, "active", f"Organization/{fhir_id('ph-017')}"),
        "suspended": (own, "stopped", None),
        "lapsed": (own, "stopped", None),
    }


def test_a_visit_that_was_taken_back_is_an_error_and_of_a_stay_others_tell_how_it_stands() -> None:
    wrong = example("hospital.visit.cancelled.v1/wrong-patient")
    said = resource_of(wrong)
    assert said is not None
    assert (said["status"], said["class"]["code"]) == ("entered-in-error", "AMB")
    seen = resource_of(example("hospital.visit.completed.v1/outpatient"))
    assert seen is not None and seen["id"] == said["id"]
    unknown = resource_of(wrong.model_copy(update={"visit_class": None}))
    assert unknown is not None and parsed(unknown).class_fhir.code == "unknown"
    stay = wrong.model_copy(update={"visit_class": VisitClass.INPATIENT})
    assert resource_of(stay) is None


def test_before_it_takes_effect_a_renewal_on_hold_is_a_task() -> None:
    held = resource_of(example("hospital.refill.suspended.v1/allergy"))
    assert held is not None
    assert (held["resourceType"], held["status"]) == ("Task", "on-hold")


def test_the_main_words_of_a_discharge_a_report_and_a_prescription_are_there() -> None:
    stay = resource_of(example("hospital.encounter.discharged.v1/adult"))
    assert stay is not None
    assert (stay["status"], stay["class"]["code"]) == ("finished", "IMP")
    assert stay["contained"][0]["code"]["coding"][0]["code"] == "I63.900x001"
    assert stay["serviceProvider"]["identifier"]["value"] == "NEURO"
    report = resource_of(example("hospital.report.ready.v1/critical-potassium"))
    assert report is not None
    (line,) = report["contained"]
    assert line["interpretation"][0]["coding"][0]["code"] == "LL"
    assert report["result"] == [{"reference": "#o1"}]
    drug = resource_of(example("hospital.prescription.issued.v1/amlodipine"))
    assert drug is not None
    assert drug["medicationCodeableConcept"]["coding"][0]["system"] == "http://www.whocc.no/atc"
    assert drug["dispenseRequest"]["expectedSupplyDuration"]["code"] == "d"


#: FHIR R4, value sets diagnostic-report-status and observation-status.
REPORT = {"registered", "partial", "preliminary", "final", "amended", "corrected", "appended",
          "cancelled", "entered-in-error", "unknown"}  # fmt: skip


@pytest.mark.parametrize("status", ReportStatus)
def test_each_status_of_a_report_is_one_of_r4s(status: ReportStatus) -> None:
    report = example("hospital.report.ready.v1/critical-potassium")
    resource = resource_of(report.model_copy(update={"status": status}))
    assert resource is not None and resource["status"] in REPORT
    assert resource["contained"][0]["status"] in REPORT - {"partial", "appended"}


def test_a_link_has_one_id_when_it_begins_and_when_it_ends() -> None:
    linked = example("hospital.guardian.linked.v1/mother")
    ended = example("hospital.guardian.unlinked.v1/minimal").model_copy(
        update={"patient_id": linked.patient_id, "person_id": linked.person_id}  # type: ignore[attr-defined]
    )
    one, other = resource_of(linked), resource_of(ended)
    assert one is not None and other is not None
    assert one["id"] == other["id"] and one["active"] != other["active"]


def test_an_id_that_fhir_does_not_take_becomes_one_that_it_takes() -> None:
    assert fhir_id("p-1.x") == "p-1.x"
    assert fhir_id("lis:1") == fhir_id("lis:1") != fhir_id("lis:2")
    assert ":" not in fhir_id("lis:1") and len(fhir_id("x" * 200)) <= 64


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", sorted(n for n in BODIES if n.partition("/")[0] in READABLE))
def test_a_notification_is_a_history_whose_first_entry_is_the_status(name: str, full: bool) -> None:
    event = example(name)
    body = Notifications(full=full).event(subscription(), delivery(event))
    bundle = json.loads(body)
    parsed(bundle)
    assert bundle["type"] == "history"
    told = parameters(bundle)
    assert (told["type"], told["events-since-subscription-start"]) == ("event-notification", "7")
    number, _, focus = told["notification-event"]
    assert number["valueString"] == "7"
    resource = resource_of(event)
    if resource is None:
        assert len(bundle["entry"]) == 1 and event.TYPE in focus["valueReference"]["display"]
        return
    entry = bundle["entry"][1]
    assert focus["valueReference"]["reference"] == entry["request"]["url"]
    assert entry["fullUrl"].endswith(entry["request"]["url"])
    assert entry.get("resource") == (json.loads(json.dumps(resource)) if full else None)


def test_each_attempt_is_the_same_to_the_byte_whatever_becomes_of_the_subscription() -> None:
    messages, one = (
        Notifications(full=True),
        delivery(example("hospital.result.viewed.v1/by-the-patient")),
    )
    later = subscription(Status.SUSPENDED)
    assert messages.event(subscription(), one) == messages.event(later, one)


@pytest.mark.parametrize("kind", ["handshake", "heartbeat"])
def test_a_handshake_and_a_heartbeat_hold_no_event(kind: str) -> None:
    messages = Notifications(full=True)
    requested = subscription(Status.REQUESTED)
    agenda = Agenda(id="s1", hospital="h1", number=3)
    bundle = json.loads(getattr(messages, kind)(requested, agenda, NOW))
    parsed(bundle)
    told = parameters(bundle)
    assert (told["type"], told["status"]) == (kind, "requested")
    assert told["events-since-subscription-start"] == "3"
    assert len(bundle["entry"]) == 1 and "error" not in told
    bundle = json.loads(getattr(messages, kind)(requested, agenda.but(dropped=2), NOW))
    parsed(bundle)
    assert "events up to number 2" in parameters(bundle)["error"]["text"]


def test_the_status_of_a_suspended_one_says_why() -> None:
    bundle = statuses(subscription(Status.SUSPENDED), Agenda(id="s1", hospital="h1", number=3))
    parsed(bundle)
    told = parameters(bundle)
    assert (told["type"], told["status"]) == ("query-status", "error")
    assert told["error"] == {"text": "http_410"}


def test_several_events_are_one_notification() -> None:
    events = [delivery(example("hospital.patient.deceased.v1/minimal"), n) for n in (3, 4)]
    bundle = notification(subscription(), "query-event", 9, NOW, events, full=True)
    parsed(json.loads(json.dumps(bundle)))
    numbers = [
        p["part"][0]["valueString"]
        for p in bundle["entry"][0]["resource"]["parameter"]
        if p["name"] == "notification-event"
    ]
    assert numbers == ["3", "4"] and len(bundle["entry"]) == 3


def test_only_the_full_format_holds_resources() -> None:
    assert [is_full(subscription(format=f)) for f in Format] == [False, False, True]
