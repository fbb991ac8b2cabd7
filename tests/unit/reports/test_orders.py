"""Does what is shown depend on the facts alone, and not on how they came?"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.events import (
    Event,
    Hold,
    NotificationRequested,
    ReportStatus,
    ResultRecalled,
    ResultReleased,
)
from services.reports.domain.people import Patient, RelatedPerson
from services.reports.domain.report import Report, Status
from tests.support.rules import Case
from tests.unit.reports.given import (
    CHILD,
    HOUR,
    NOW,
    content,
    guardian,
    hospital,
    patient,
    withdrawn,
)
from tests.unit.reports.test_people import consent, joined, merge

Sent = tuple[str, Event, timedelta]  # id, body, when it was published

hours = st.integers(0, 4).map(lambda n: n * HOUR)
contents = st.builds(
    lambda version, corrected, at, held, critical, final: content(
        version,
        corrected=corrected,
        at=NOW + at,
        hold=Hold(on=held),
        critical=critical,
        status=ReportStatus.FINAL if final else ReportStatus.PRELIMINARY,
    ),
    st.integers(1, 3),
    st.booleans(),
    hours,
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([True, True, True, False]),
)
withdrawals = st.builds(
    lambda version, at: withdrawn(version, NOW + at), st.none() | st.integers(1, 2), hours
)


@st.composite
def facts(draw: st.DrawFn) -> list[Sent]:
    bodies = draw(st.lists(contents | withdrawals, min_size=1, max_size=6))
    return [(f"e{n}", body, draw(hours)) for n, body in enumerate(bodies)]


def arrive(case: Case, sent: list[Sent]) -> None:
    for id, body, published in sent:
        case.event(body, id=id, time=NOW + published)


def shown(case: Case) -> tuple[Any, ...]:
    report = case.doc(Report, "r1")
    assert report is not None
    return (report.status, report.why, report.head, report.issued_at, report.patient_id)


@settings(max_examples=150, deadline=None)
@given(facts(), st.randoms(use_true_random=False), st.data())
def test_the_same_facts_show_the_same_in_any_order(
    sent: list[Sent], chance: Any, data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(sent), max_size=4))
    mixed = [*sent, *repeated]
    chance.shuffle(mixed)
    straight, crooked = hospital(), hospital()
    arrive(straight, sent)
    arrive(crooked, mixed)
    assert shown(straight) == shown(crooked)


@settings(max_examples=150, deadline=None)
@given(facts())
def test_nobody_is_told_twice_of_one_edition_and_recalls_alternate_with_releases(
    sent: list[Sent],
) -> None:
    case = hospital()
    case.event(patient())
    arrive(case, sent)
    pushes = Counter(n.notification_id for n in case.events(NotificationRequested))
    assert set(pushes.values()) <= {1}
    visible = False
    for emitted in case.emitted:
        if isinstance(emitted.data, ResultReleased):
            visible = True
        if isinstance(emitted.data, ResultRecalled):
            assert visible
            visible = False
    report = case.doc(Report, "r1")
    assert report is not None
    assert visible == (report.status is Status.RELEASED)


people = st.lists(
    st.sampled_from(
        [
            patient(born=CHILD),
            patient("p2", born=CHILD),
            guardian("g1"),
            guardian("g2", of="p2"),
            joined("g3"),
            merge("p1", "p2"),
            consent(False, "g1", HOUR),
            consent(True, "g1", 2 * HOUR),
            content(),
        ]
    ),
    unique_by=id,
    max_size=9,
)


@settings(max_examples=150, deadline=None)
@given(people, st.randoms(use_true_random=False))
def test_the_same_people_are_known_whatever_comes_first(sent: list[Event], chance: Any) -> None:
    straight, crooked = hospital(), hospital()
    for case in (straight, crooked):
        for event in sent:
            case.event(event)
        chance.shuffle(sent)
    for model in (Patient, RelatedPerson):
        known = [
            {d.id: d.but(version=0, sequence=0) for d in case.docs(model)}
            for case in (straight, crooked)
        ]
        assert known[0] == known[1]


@settings(max_examples=100, deadline=None)
@given(st.permutations([patient(born=CHILD), guardian("g1"), guardian("g2"), content()]))
def test_every_guardian_is_told_once_whatever_comes_first(sent: list[Event]) -> None:
    case = hospital()
    for event in sent:
        case.event(event)
    assert Counter(n.recipient_id for n in case.events(NotificationRequested)) == {
        "g1": 1,
        "g2": 1,
    }


@settings(max_examples=50, deadline=None)
@given(facts())
def test_one_batch_decides_as_many_polls_do(sent: list[Sent]) -> None:
    one, many = hospital(), hospital()
    inputs = [one.event_input(body, id=id, time=NOW + at) for id, body, at in sent]
    one.batch(inputs)
    arrive(many, sent)
    assert one.doc(Report, "r1") == many.doc(Report, "r1")
    assert one.emitted == many.emitted
