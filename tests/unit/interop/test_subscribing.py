"""Does a subscription collect what it should, and move only as its table says?"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.cipher import sealed_fields
from libs.common.decision import Actor, Answer, Common, Decision, Document, Refusal
from libs.common.devstack.places import ROOT
from libs.common.events import PatientDeceased, ResultReleased
from libs.common.topic_registry import FOLDER, read
from services.interop.domain import subscription as s
from services.interop.domain.delivering import (
    DISCARD,
    DROPPED,
    ENDED,
    GREETED,
    RESTED,
    Attempt,
    Discard,
    Ended,
    Greeted,
    Rested,
    Verdict,
)
from services.interop.domain.delivery import (
    TRANSITIONS,
    Agenda,
    Delivery,
    DeliveryAction,
    DeliveryStatus,
)
from services.interop.domain.partners import SUBSCRIBABLE, Partner, Partners, Retired
from services.interop.domain.subscribing import Nothing, Resend, Why
from services.interop.domain.subscription import Action, Figures, Status, Subscription, Terms
from services.interop.handlers import CREATE, DELETE, HANDLERS, REPLACE, RESEND, RESUME, ROTATE
from services.interop.main import load_policy
from services.interop.settings import Settings
from services.interop.store import COLLECTIONS
from tests.support.examples import example
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
FIGURES = Figures(retry_base=10, retry_cap=60, give_up=timedelta(hours=1))
PARTNER = Partner(client="app", hospital="h1", name="App", subscribes=frozenset({"reports.events"}))
APP, OPS, OTHER = (
    Actor("app", frozenset({"integration"})),
    Actor("o1", frozenset({"ops"})),
    Actor("other", frozenset({"integration"})),
)
TERMS = Terms(endpoint="https://app.example/hook", types=(ResultReleased.TYPE,))


def terms(**changes: Any) -> Terms:
    return Terms.model_validate(TERMS.model_dump() | changes)


@pytest.fixture
def case() -> Case:
    policy = SimpleNamespace(partners=Partners([PARTNER]), figures=FIGURES)
    return Case(HANDLERS, policy, now=NOW, collections=COLLECTIONS)


def created(case: Case, **changes: Any) -> str:
    answer = case.command(CREATE, terms(**changes), actor=APP)
    assert isinstance(answer, Decision), answer
    return str(answer.result["id"])


def active(case: Case, **changes: Any) -> str:
    id = created(case, **changes)
    greet(case, id, Verdict.TAKEN)
    return id


def greet(case: Case, id: str, verdict: Verdict, **more: Any) -> Answer:
    version = the(case, Subscription, id).version
    more.setdefault("if_match", version)
    return case.command(GREETED, Greeted(verdict=verdict, reason="why"), subject=id, **more)


def the(case: Case, model: Any, id: str) -> Any:
    found = case.doc(model, id)
    assert found is not None
    return found


def released(patient: str = "p1", **changes: Any) -> ResultReleased:
    event = example("hospital.result.released.v1/corrected")
    assert isinstance(event, ResultReleased)
    return event.model_copy(update={"patient_id": patient, **changes})


def ended(case: Case, *attempts: tuple[Delivery, Verdict], **more: Any) -> Any:
    told = [Attempt(id=d.id, verdict=v, reason="r", jitter=1.0, **more) for d, v in attempts]
    answer = case.command(ENDED, Ended(attempts=tuple(told)))
    assert isinstance(answer, Decision)
    return answer.result


def rested(case: Case, id: str, verdict: Verdict | None, **more: Any) -> Any:
    version = more.pop("if_match", the(case, Agenda, id).version)
    data = Rested(verdict=verdict, jitter=1.0, **more)
    answer = case.command(RESTED, data, subject=id, if_match=version)
    assert isinstance(answer, Decision)
    return answer.result


def deliveries(case: Case) -> list[Delivery]:
    return sorted(case.docs(Delivery), key=lambda d: d.number)


# -- the tables -------------------------------------------------------------------------


def reachable(table: Any, start: Any) -> set[Any]:
    found, fresh = {start}, {start}
    while fresh:
        fresh = {to for (status, _), to in table.items() if status in fresh} - found
        found |= fresh
    return found


def test_every_status_can_be_reached_and_the_ends_are_ends() -> None:
    assert reachable(s.TRANSITIONS, Status.REQUESTED) == set(Status)
    assert reachable(TRANSITIONS, DeliveryStatus.PENDING) == set(DeliveryStatus)
    assert not [pair for pair in s.TRANSITIONS if pair[0] is Status.DELETED]
    ends = {DeliveryStatus.DELIVERED, DeliveryStatus.DISCARDED}
    assert not [pair for pair in TRANSITIONS if pair[0] in ends]


def stored_as(case: Case, status: Status) -> str:
    id = created(case)
    case.put(the(case, Subscription, id).but(status=status))
    return id


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("action", Action)
def test_a_subscription_moves_as_the_table_says_and_not_otherwise(
    case: Case, status: Status, action: Action
) -> None:
    id = stored_as(case, status)
    if action is Action.GREET:
        greet(case, id, Verdict.TAKEN)
    elif action is Action.SUSPEND:
        greet(case, id, Verdict.GONE)
    else:
        type, data = {
            Action.MOVE: (REPLACE, terms(endpoint="https://app.example/other")),
            Action.RESUME: (RESUME, Nothing()),
            Action.DELETE: (DELETE, Nothing()),
        }[action]
        case.command(type, data, actor=APP, subject=id)
    expected = s.TRANSITIONS.get((status, action), status)
    assert the(case, Subscription, id).status is expected


def suspend(case: Case, id: str) -> None:
    case.put(the(case, Subscription, id).but(status=Status.SUSPENDED))


def discard(case: Case, *which: Delivery) -> Answer:
    data = Discard(deliveries=tuple(d.id for d in which))
    return case.command(DISCARD, data, subject=which[0].subscription_id)


def a_delivery(case: Case, status: DeliveryStatus) -> Delivery:
    active(case)
    case.event(released())
    (delivery,) = deliveries(case)
    case.put(delivery.but(status=status))
    return delivery


@pytest.mark.parametrize("status", DeliveryStatus)
@pytest.mark.parametrize("action", DeliveryAction)
def test_a_delivery_moves_as_the_table_says_and_not_otherwise(
    case: Case, status: DeliveryStatus, action: DeliveryAction
) -> None:
    delivery = a_delivery(case, status)
    if action is DeliveryAction.RESEND:
        data = Resend(deliveries=(delivery.id,))
        case.command(RESEND, data, actor=APP, subject=delivery.subscription_id)
    elif action is DeliveryAction.DISCARD:
        suspend(case, delivery.subscription_id)
        discard(case, delivery)
    else:
        if action is DeliveryAction.PARK:
            case.advance(FIGURES.give_up)
        taken = action is DeliveryAction.DELIVER
        ended(case, (delivery, Verdict.TAKEN if taken else Verdict.REFUSED))
    (after,) = deliveries(case)
    assert after.status is TRANSITIONS.get((status, action), status)


# -- subscribing ------------------------------------------------------------------------


def test_the_secret_is_shown_once_and_is_what_standard_webhooks_wants(case: Case) -> None:
    answer = case.command(CREATE, TERMS, actor=APP)
    assert isinstance(answer, Decision)
    secret = answer.result["secret"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert case.secrets[-1] not in secret


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"types": ["hospital.patient.deceased.v1"]}, Why.TYPE_NOT_ALLOWED),
        ({"types": ["hospital.practitioner.left.v1"]}, Why.TYPE_NOT_ALLOWED),
        ({"types": [], "topics": ["notify.requests"]}, Why.TYPE_NOT_ALLOWED),
        ({"types": [], "topics": ["lianxin.notify.dlq"]}, Why.TYPE_NOT_ALLOWED),
        ({"filter": {"ward": ["a"]}}, Why.UNKNOWN_FIELD),
        ({"filter": {"patient_id.x": ["a"]}}, Why.UNKNOWN_FIELD),
    ],
)
def test_nothing_is_subscribed_to_that_is_not_there_or_not_allowed(
    case: Case, changes: dict[str, Any], why: Why
) -> None:
    answer = case.command(CREATE, terms(**changes), actor=APP)
    assert isinstance(answer, Refusal) and answer.reason == why
    id = created(case)
    answer = case.command(REPLACE, terms(**changes), actor=APP, subject=id)
    assert isinstance(answer, Refusal) and answer.reason == why


def test_who_is_no_partner_of_the_hospital_can_not_subscribe(case: Case) -> None:
    for actor, hospital in ((OTHER, "h1"), (APP, "h2")):
        answer = case.command(CREATE, TERMS, actor=actor, hospital=hospital)
        assert isinstance(answer, Refusal) and answer.reason == Common.FORBIDDEN


def test_a_partner_has_so_many_subscriptions_at_most(case: Case) -> None:
    ids = [created(case) for _ in range(s.MOST)]
    answer = case.command(CREATE, TERMS, actor=APP)
    assert isinstance(answer, Refusal) and answer.reason == Why.TOO_MANY
    case.command(DELETE, Nothing(), actor=APP, subject=ids[0])
    created(case)


@pytest.mark.parametrize(
    ("type", "data"),
    [(REPLACE, TERMS), (DELETE, Nothing()), (ROTATE, Nothing()), (RESUME, Nothing()),
     (RESEND, Resend(deliveries=()))],
)  # fmt: skip
def test_anothers_subscription_and_a_deleted_one_do_not_exist(
    case: Case, type: str, data: Any
) -> None:
    id = created(case)
    for subject, actor in ((id, OTHER), ("none", APP)):
        answer = case.command(type, data, actor=actor, subject=subject)
        assert isinstance(answer, Refusal) and answer.reason == Common.NOT_FOUND
    case.command(DELETE, Nothing(), actor=APP, subject=id)
    answer = case.command(type, data, actor=APP, subject=id)
    assert isinstance(answer, Refusal) and answer.reason == Common.NOT_FOUND
    assert the(case, Subscription, id).secret == ""


def test_a_retired_partner_can_do_no_more_until_an_operator_lets_it(case: Case) -> None:
    id = active(case)
    retired = the(case, Subscription, id).moved(Action.SUSPEND, NOW, s.RETIRED)
    case.put(retired)
    for type, data in (
        (REPLACE, TERMS), (DELETE, Nothing()), (ROTATE, Nothing()), (RESUME, Nothing()),
    ):  # fmt: skip
        answer = case.command(type, data, actor=APP, subject=id)
        assert isinstance(answer, Refusal) and answer.reason == Common.NOT_FOUND
    assert the(case, Subscription, id) == retired
    assert isinstance(case.command(RESUME, Nothing(), actor=OPS, subject=id), Decision)


def test_who_is_retired_subscribes_to_nothing_though_a_file_still_allows_it(case: Case) -> None:
    case.put(Retired(id="app", hospital="h2", at=NOW))  # another hospital's of that name
    created(case)
    case.put(Retired(id="app", hospital="h1", at=NOW))
    answer = case.command(CREATE, TERMS, actor=APP)
    assert isinstance(answer, Refusal) and answer.reason == Common.FORBIDDEN


def test_what_has_changed_since_it_was_read_is_neither_replaced_nor_deleted(case: Case) -> None:
    id = active(case)
    for type, data in ((REPLACE, TERMS), (DELETE, Nothing())):
        answer = case.command(type, data, actor=APP, subject=id, if_match=1)
        assert isinstance(answer, Refusal) and answer.reason == Common.CHANGED


def test_numbering_does_not_change_the_version_that_people_have_read(case: Case) -> None:
    id = active(case)
    version = the(case, Subscription, id).version
    case.event(released())
    assert the(case, Subscription, id).version == version


def test_a_replaced_secret_signs_for_a_while(case: Case) -> None:
    id = created(case)
    old = the(case, Subscription, id).secret
    case.command(ROTATE, Nothing(), actor=APP, subject=id)
    subscription = the(case, Subscription, id)
    assert subscription.secrets(case.now) == [subscription.secret, old]
    assert subscription.secrets(case.now + FIGURES.overlap) == [subscription.secret]


# -- numbering --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.REQUESTED, Status.ACTIVE, Status.SUSPENDED])
def test_what_matches_is_numbered_whatever_the_endpoint_does(case: Case, status: Status) -> None:
    id = stored_as(case, status)
    case.event(released(), id="e1")
    case.event(released(), id="e1")
    case.event(released(), id="e2")
    case.event(PatientDeceased(patient_id="p1", deceased_at=NOW))
    assert [d.number for d in deliveries(case)] == [1, 2]
    assert the(case, Agenda, id).number == 2


def test_an_event_read_again_when_the_inbox_has_forgotten_it_keeps_its_number(case: Case) -> None:
    id = active(case)
    event = case.event_input(released(), id="e1")
    case.send(event)
    case._settled.clear()
    again = case.send(event)
    assert isinstance(again, Decision) and again.note == "not_subscribed"
    case.event(released(), id="e2")
    assert [d.number for d in deliveries(case)] == [1, 2]
    assert the(case, Agenda, id).number == 2


def test_an_endpoint_that_no_socket_can_dial_is_refused() -> None:
    assert terms(endpoint="https://[2606:4700::1]:65535/hook")
    for host in ("app.example:65536", "app.example:99999", "[::1", "user@app.example", "[1.2]"):
        with pytest.raises(ValueError, match="endpoint"):
            terms(endpoint=f"https://{host}/hook")


def test_whoever_may_not_read_it_any_more_gets_no_number(case: Case) -> None:
    active(case)
    case.policy.partners = Partners([PARTNER.model_copy(update={"subscribes": frozenset()})])
    case.event(released())
    case.policy.partners = Partners()
    case.event(released())
    assert deliveries(case) == []


def test_another_hospitals_events_are_nobodys(case: Case) -> None:
    active(case)
    case.event(released(), hospital="h2")
    assert deliveries(case) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=30))
def test_each_subscription_counts_without_gaps_in_one_batch_or_many(
    events: list[tuple[str, bool]],
) -> None:
    policy = SimpleNamespace(partners=Partners([PARTNER]), figures=FIGURES)
    case = Case(HANDLERS, policy, now=NOW, collections=COLLECTIONS)
    all, some = active(case), active(case, filter={"patient_id": ["a"]})
    batch: list[Any] = []
    for patient, cut in events:
        batch.append(case.event_input(released(patient)))
        if cut:
            case.batch(batch)
            batch = []
    if batch:
        case.batch(batch)
    numbers: dict[str, list[int]] = {all: [], some: []}
    for delivery in deliveries(case):
        numbers[delivery.subscription_id].append(delivery.number)
    assert numbers[all] == list(range(1, len(events) + 1))
    assert numbers[some] == list(range(1, sum(p == "a" for p, _ in events) + 1))


@pytest.mark.parametrize(
    ("filter", "matches"),
    [
        ({"patient_id": ("p1",)}, True),
        ({"patient_id": ("p2", "p1")}, True),
        ({"patient_id": ("p2",)}, False),
        ({"patient_id": ("p1",), "critical": ("x",)}, False),
        ({"kind": ("laboratory",)}, True),
        ({"kind": ("imaging",)}, False),
        ({"kind.x": ("laboratory",)}, False),
    ],
)
def test_a_filter_holds_whole_or_not(filter: dict[str, Any], matches: bool) -> None:
    event = released(kind="laboratory")
    assert terms(filter=filter).wants(ResultReleased.TYPE, event) is matches


def test_the_event_is_kept_as_it_came_with_its_number(case: Case) -> None:
    active(case)
    body = b'{"patient_id": "p1",  "unknown": [1.50]}'
    input = case.event_input(released(), id="e1", source="/reports", sequence=7)
    case.send(input._replace(body=body, causation_id="c0", traceparent="00-a-b-01"))
    (delivery,) = deliveries(case)
    assert delivery.event.endswith(b'"data":' + body + b"}")
    event = json.loads(delivery.event)
    assert (event["id"], event["source"], event["sequence"]) == ("e1", "/reports", "7")
    assert (event["deliverynumber"], event["causationid"]) == (1, "c0")
    assert event["partitionkey"] == "h1/p1"


# -- what an endpoint answers -----------------------------------------------------------


def test_a_delivery_is_repeated_with_growing_pauses_and_then_parked(case: Case) -> None:
    active(case)
    case.event(released())
    waits = []
    while (delivery := deliveries(case)[0]).status is not DeliveryStatus.PARKED:
        ended(case, (delivery, Verdict.REFUSED))
        after = deliveries(case)[0]
        if after.next_attempt_at is not None:
            waits.append((after.next_attempt_at - case.now).total_seconds())
            case.now = after.next_attempt_at
    assert waits[:4] == [10, 20, 40, 60] and set(waits[3:]) == {60.0}
    assert case.now - NOW < FIGURES.give_up
    assert after.reason == "r" and after.ended_at is None, "what is parked stays"


def test_what_the_receiver_asks_for_is_waited_for_within_reason(case: Case) -> None:
    assert FIGURES.delay(1, 1.0, 30) == timedelta(seconds=30)
    assert FIGURES.delay(1, 1.0, 1) == timedelta(seconds=10)
    assert FIGURES.delay(1, 1.0, 10**7) == timedelta(days=1)
    assert FIGURES.delay(9, 0.0) == timedelta(seconds=30)


def test_a_delivery_sent_again_has_its_patience_again(case: Case) -> None:
    delivery = a_delivery(case, DeliveryStatus.PARKED)
    case.advance(timedelta(days=9))
    data = Resend(deliveries=(delivery.id, "unknown"))
    answer = case.command(RESEND, data, actor=OPS, subject=delivery.subscription_id)
    assert isinstance(answer, Decision) and answer.result == {"resent": 1}
    ended(case, (deliveries(case)[0], Verdict.REFUSED))
    assert deliveries(case)[0].status is DeliveryStatus.RETRYING


def test_an_answer_about_other_terms_moves_nothing(case: Case) -> None:
    id = active(case)
    before = the(case, Subscription, id).version
    case.command(REPLACE, terms(endpoint="https://app.example/2"), actor=APP, subject=id)
    answer = greet(case, id, Verdict.GONE, if_match=before)
    assert isinstance(answer, Refusal) and answer.reason == Common.STALE
    assert the(case, Subscription, id).status is Status.REQUESTED


def test_who_never_answers_the_handshake_is_suspended(case: Case) -> None:
    id = created(case)
    greet(case, id, Verdict.AWAY)
    assert the(case, Subscription, id).status is Status.REQUESTED
    case.advance(FIGURES.give_up)
    greet(case, id, Verdict.AWAY)
    assert the(case, Subscription, id).status is Status.SUSPENDED


# -- under a suspended one --------------------------------------------------------------


def test_what_waits_under_a_suspended_one_is_looked_at_when_it_is_too_old(case: Case) -> None:
    id = active(case)
    looked = the(case, Agenda, id).version
    greet(case, id, Verdict.GONE)
    assert rested(case, id, Verdict.GONE, if_match=looked)["again"] is True
    assert rested(case, id, None)["again"] is False
    assert the(case, Agenda, id).due_at is None, "nothing waits"
    case.event(released())
    assert the(case, Agenda, id).due_at == case.now
    later = case.now + timedelta(days=30)
    rested(case, id, None, next_at=later)
    case.advance(timedelta(hours=1))
    case.event(released("p2"))
    assert the(case, Agenda, id).due_at == later, "what comes does not hurry it"


def test_it_is_not_too_old_before_the_subscription_was_suspended_for_so_long(case: Case) -> None:
    subscription, keep = the(case, Subscription, active(case)), timedelta(days=30)
    before, after = NOW - timedelta(days=90), NOW + timedelta(days=2)
    assert subscription.drops_at(before, keep) == NOW + keep
    assert subscription.drops_at(after, keep) == after + keep


def test_what_is_dropped_leaves_its_number_and_nothing_of_its_content(case: Case) -> None:
    id = active(case)
    for patient in ("p1", "p2", "p3"):
        case.event(released(patient))
    suspend(case, id)
    first, second, third = deliveries(case)
    answer = discard(case, second, first)
    assert isinstance(answer, Decision)
    assert (answer.note, answer.result) == (DROPPED, {"discarded": 2, "until": 2})
    first, second, third = deliveries(case)
    for gone in (first, second):
        assert (gone.status, gone.event, gone.reason) == (DeliveryStatus.DISCARDED, b"", DROPPED)
        assert gone.ended_at == case.now
    assert third.status is DeliveryStatus.PENDING
    agenda = the(case, Agenda, id)
    assert (agenda.number, agenda.dropped) == (3, 2)
    assert discard(case, first).changes == [], "once"


def test_nothing_is_dropped_under_one_that_was_resumed_meanwhile(case: Case) -> None:
    delivery = a_delivery(case, DeliveryStatus.PENDING)
    suspend(case, delivery.subscription_id)
    case.command(RESUME, Nothing(), actor=APP, subject=delivery.subscription_id)
    answer = discard(case, delivery)
    assert isinstance(answer, Refusal) and answer.reason == Common.STALE
    assert deliveries(case)[0].status is DeliveryStatus.PENDING


def test_what_goes_with_its_subscription_was_not_dropped(case: Case) -> None:
    delivery = a_delivery(case, DeliveryStatus.PENDING)
    case.command(DELETE, Nothing(), actor=APP, subject=delivery.subscription_id)
    answer = discard(case, delivery)
    assert isinstance(answer, Decision) and answer.note == "discarded"
    assert the(case, Agenda, delivery.subscription_id).dropped == 0


def test_an_endpoint_that_fails_is_left_alone_for_longer_each_time(case: Case) -> None:
    id = active(case)
    for seconds in (10, 20, 40, 60, 60):
        assert rested(case, id, Verdict.AWAY)["again"] is False
        agenda = the(case, Agenda, id)
        assert agenda.due_at == case.now + timedelta(seconds=seconds)
        case.event(released())
        assert the(case, Agenda, id).due_at == agenda.due_at, "what comes does not hurry it"
    rested(case, id, Verdict.TAKEN)
    assert the(case, Agenda, id).failures == 0


def test_a_deleted_one_is_looked_at_once_more_and_never_again(case: Case) -> None:
    id = active(case)
    looked = the(case, Agenda, id).version
    case.command(DELETE, Nothing(), actor=APP, subject=id)
    assert rested(case, id, Verdict.AWAY, if_match=looked)["again"] is True
    assert rested(case, id, None)["again"] is False
    assert the(case, Agenda, id).due_at is None


def test_what_came_since_the_look_asks_for_another(case: Case) -> None:
    id = active(case)
    looked = the(case, Agenda, id).version
    case.event(released())
    assert rested(case, id, Verdict.TAKEN, if_match=looked)["again"] is True
    assert the(case, Agenda, id).due_at == case.now
    assert rested(case, id, None)["again"] is False
    assert the(case, Agenda, id).due_at is None


def test_the_next_look_is_for_the_next_repetition_or_heartbeat(case: Case) -> None:
    id = active(case, heartbeat_seconds=60)
    minute = timedelta(seconds=60)
    rested(case, id, Verdict.TAKEN)
    assert the(case, Agenda, id).due_at == case.now + minute
    rested(case, id, None, next_at=case.now + timedelta(seconds=5))
    assert the(case, Agenda, id).due_at == case.now + timedelta(seconds=5)
    case.advance(minute)
    rested(case, id, None)
    assert the(case, Agenda, id).due_at == case.now, "nothing was sent meanwhile"


def test_every_document_of_ours_that_may_hold_something_personal_says_so() -> None:
    expected: dict[type[Document], set[str]] = {
        Subscription: {"terms", "secret", "old_secret"},
        Delivery: {"event"},
        Agenda: set(),
    }
    for model, fields in expected.items():
        assert sealed_fields(model) == fields


def test_unless_told_otherwise_a_suspended_one_keeps_what_kafka_keeps() -> None:
    kept = timedelta(days=Settings().webhook_suspended_days)
    topics = [t for t in read(ROOT / FOLDER).values() if t.name in SUBSCRIBABLE]
    assert topics and {t.config["retention.ms"] for t in topics} == {
        str(int(kept.total_seconds() * 1000))
    }


def test_unless_told_otherwise_a_delivery_is_tried_for_three_days() -> None:
    told = load_policy(Settings()).figures.give_up
    assert told == Figures().give_up >= timedelta(days=3)
