"""Who is told of a report, and who may read it, whatever comes first?"""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Decision, Refusal
from libs.common.events import (
    Consent,
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    Event,
    GuardianUnlinked,
    Hold,
    LinkScope,
    MemberJoined,
    MemberRole,
    NotificationRequested,
    PatientMerged,
    ReportKind,
    ReportStatus,
    ResultViewed,
)
from services.reports.domain.people import Patient, People, RelatedPerson
from services.reports.domain.reading import Access, ViewReport, access
from services.reports.domain.report import Report, Status
from services.reports.handlers import VIEW
from tests.support.rules import Case
from tests.unit.reports.given import (
    ADULT,
    CHILD,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    NURSE,
    OTHER_DOCTOR,
    PATIENT,
    content,
    guardian,
    hospital,
    patient,
    report,
    told,
    withdrawn,
)


def consent(given: bool, person: str = "p1", at: timedelta = HOUR, of: str = "p1") -> Event:
    fields = {
        "consent_id": "c1",
        "patient_id": of,
        "person_id": person,
        "scope": ConsentScope.HEALTH_DATA,
    }
    if given:
        return ConsentGiven(given_at=NOW + at, **fields)
    return ConsentWithdrawn(withdrawn_at=NOW + at, **fields)


def joined(
    person: str = "g1",
    *scope: LinkScope,
    of: str = "p1",
    at: datetime = NOW,
    since: datetime | None = None,
) -> MemberJoined:
    return MemberJoined(
        member_id=f"m-{person}",
        patient_id=of,
        person_id=person,
        role=MemberRole.GUARDIAN,
        group_id="grp1",
        programme_id="prog1",
        group_number=1,
        scope=scope or (LinkScope.GROUP,),
        consents=(Consent(scope=ConsentScope.HEALTH_DATA, given_at=at),),
        linked_at=since,
        joined_at=at,
    )


def unlinked(person: str, after: timedelta, of: str = "p1") -> GuardianUnlinked:
    return GuardianUnlinked(patient_id=of, person_id=person, unlinked_at=NOW + after)


def send(case: Case, *events: Event) -> Case:
    for event in events:
        case.event(event)
    return case


def test_for_a_child_the_guardians_are_told_and_not_the_child() -> None:
    case = send(hospital(), patient(born=CHILD), guardian("g1"), guardian("g2"), content())
    assert told(case) == [("g1", "report.ready"), ("g2", "report.ready")]


def test_an_adults_relatives_are_not_told() -> None:
    case = send(hospital(), patient(), guardian("g1"), content())
    assert told(case) == [("p1", "report.ready")]


@pytest.mark.parametrize(
    ("born", "who"),
    [
        (date(2008, 3, 2), "p1"),  # eighteen today
        (date(2008, 3, 3), "g1"),  # tomorrow
        (date(1850, 1, 1), "p1"),
        (date(2226, 1, 1), "g1"),
    ],
)
def test_adulthood_begins_on_the_birthday(born: date, who: str) -> None:
    case = send(hospital(), patient(born=born), guardian("g1"), content())
    assert told(case) == [(who, "report.ready")]


def test_the_birthday_begins_by_the_hospitals_clock() -> None:
    evening = NOW.replace(hour=17)  # 1 a.m. of 3 March in Shanghai
    case = hospital(now=evening)
    send(case, patient(born=date(2008, 3, 3)), guardian("g1"), content(at=evening))
    assert told(case) == [("p1", "report.ready")]


def test_before_the_patient_is_known_nobody_is_told() -> None:
    case = send(hospital(), content())
    assert report(case).status is Status.RELEASED
    assert told(case) == []
    send(case, patient())
    assert told(case) == [("p1", "report.ready")]
    (push,) = case.events(NotificationRequested)
    assert push.event_time == NOW


def test_guardians_who_become_known_later_are_told_each_once() -> None:
    case = send(hospital(), content(), patient(born=CHILD), guardian("g1"), guardian("g2"))
    send(case, guardian("g1", at=NOW + HOUR))
    assert told(case) == [("g1", "report.ready"), ("g2", "report.ready")]


def test_what_becomes_known_after_the_days_tells_nobody() -> None:
    case = send(hospital(), content())
    case.fire_due(NOW + 7 * DAY)
    send(case, patient())
    assert told(case) == []
    assert report(case).open_for is None


def test_the_timer_leaves_a_newer_edition_open() -> None:
    case = send(hospital(), content())
    case.advance(5 * DAY)
    send(case, content(2, corrected=True, at=case.now))
    case.fire_due(NOW + 7 * DAY)
    assert report(case).open_for == "p1"
    case.fire_due(NOW + 12 * DAY)
    assert report(case).open_for is None
    assert case.timers == {}


@pytest.mark.parametrize("scope", list(LinkScope))
def test_a_link_tells_as_far_as_its_scope_goes(scope: LinkScope) -> None:
    case = send(hospital(), patient(born=CHILD), guardian("g1", scope=(scope,)), content())
    assert (told(case) != []) == (scope in {LinkScope.FULL, LinkScope.RECORDS})


def test_a_link_that_has_run_out_or_ended_tells_nobody() -> None:
    case = send(
        hospital(),
        patient(born=CHILD),
        guardian("g1", valid_until=NOW),
        guardian("g2", at=NOW - HOUR),
        GuardianUnlinked(patient_id="p1", person_id="g2", unlinked_at=NOW),
        guardian("g3", valid_until=NOW + HOUR),
        content(),
    )
    assert told(case) == [("g3", "report.ready")]


def test_an_end_that_comes_before_its_beginning_holds() -> None:
    case = send(
        hospital(),
        patient(born=CHILD),
        GuardianUnlinked(patient_id="p1", person_id="g1", unlinked_at=NOW),
        guardian("g1", at=NOW - HOUR),
        content(),
    )
    assert told(case) == []


@pytest.mark.parametrize("order", [1, -1])
def test_at_the_same_moment_the_end_of_a_link_holds(order: int) -> None:
    ends = GuardianUnlinked(patient_id="p1", person_id="g1", unlinked_at=NOW)
    facts = [guardian("g1"), ends][::order]
    case = send(hospital(), patient(born=CHILD), *facts, content())
    assert told(case) == []


def test_an_invitation_links_beside_the_hospital() -> None:
    case = send(
        hospital(),
        patient(born=CHILD),
        guardian("g1"),
        joined("g1"),  # its narrow scope takes nothing away
        joined("g2", LinkScope.RECORDS),
        joined("g3"),
        content(),
    )
    assert told(case) == [("g1", "report.ready"), ("g2", "report.ready")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_the_hospital_ended_is_ended_for_who_was_invited_too(order: tuple[int, ...]) -> None:
    facts = [guardian("g1", at=NOW - HOUR), joined("g1", LinkScope.FULL), unlinked("g1", HOUR)]
    case = send(hospital(), patient(born=CHILD), *(facts[i] for i in order), content())
    assert told(case) == []
    assert may(case, GUARDIAN) is Access.NOT_FOUND


def test_a_guardian_who_is_unlinked_loses_what_they_could_read() -> None:
    case = send(hospital(), patient(born=CHILD), guardian("g1", scope=(LinkScope.FULL,)))
    send(case, joined("g1", LinkScope.FULL), content())
    assert told(case) == [("g1", "report.ready")]
    assert may(case, GUARDIAN) is Access.PATIENT_SIDE
    send(case, unlinked("g1", HOUR), content(2, corrected=True, at=NOW + HOUR))
    assert told(case) == [("g1", "report.ready")]
    assert may(case, GUARDIAN) is Access.NOT_FOUND


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_who_joins_on_an_invitation_from_before_the_end_is_not_linked_again(
    order: tuple[int, ...],
) -> None:
    since = NOW - 3 * HOUR
    facts = [guardian("g1", at=since), unlinked("g1", -HOUR)]
    facts.append(joined("g1", LinkScope.FULL, since=since))
    case = send(hospital(), patient(born=CHILD), *(facts[i] for i in order), content())
    assert told(case) == []
    assert may(case, GUARDIAN) is Access.NOT_FOUND


def test_an_invitation_that_the_hospital_proved_after_the_end_links_again() -> None:
    again = joined("g1", LinkScope.FULL, since=NOW - HOUR)
    case = send(hospital(), patient(born=CHILD), unlinked("g1", -2 * HOUR), again, content())
    assert told(case) == [("g1", "report.ready")]


def test_a_joining_that_does_not_say_since_when_links_from_then_on() -> None:
    again = joined("g1", LinkScope.FULL)
    case = send(hospital(), patient(born=CHILD), unlinked("g1", -HOUR), again, content())
    assert told(case) == [("g1", "report.ready")]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (patient(born=ADULT, at=NOW + 900 * DAY), patient(born=CHILD, at=NOW + HOUR)),
        (guardian(at=NOW + 900 * DAY), unlinked("g1", HOUR)),
        (joined("g1", LinkScope.FULL, at=NOW + 900 * DAY), unlinked("g1", HOUR)),
        (
            joined("g1", LinkScope.FULL, since=NOW + 900 * DAY, at=NOW),
            unlinked("g1", HOUR),
        ),
        (consent(False, "p1", 900 * DAY), consent(True, "p1", HOUR)),
    ],
)
def test_a_fact_from_the_future_gives_way_to_what_is_told_after_it(
    wrong: Event, right: Event
) -> None:
    case, plain = hospital(), hospital()
    for known in (case, plain):
        known.event(patient())
    case.event(wrong, time=NOW)
    for known in (case, plain):
        known.event(right)
        send(known, content())
    assert told(case) == told(plain)
    assert may(case, GUARDIAN) is may(plain, GUARDIAN)


def test_a_withdrawn_consent_stops_pushes_to_that_person_only() -> None:
    case = send(
        hospital(),
        patient(born=CHILD),
        guardian("g1"),
        guardian("g2"),
        consent(False, "g1"),
        content(),
    )
    assert told(case) == [("g2", "report.ready")]
    assert may(case, Actor("g1", frozenset({"guardian"}))) is Access.PATIENT_SIDE


@pytest.mark.parametrize("order", [(True, False), (False, True)])
@pytest.mark.parametrize("given_last", [True, False])
def test_the_later_of_two_decisions_on_consent_holds(
    order: tuple[bool, bool], given_last: bool
) -> None:
    case = send(hospital(), patient())
    for given in order:
        case.event(consent(given, at=2 * HOUR if given == given_last else HOUR))
    send(case, content())
    assert (told(case) != []) == given_last


def test_consent_given_on_joining_counts() -> None:
    case = send(hospital(), patient(), consent(False), joined("p1", at=NOW + 2 * HOUR), content())
    assert told(case) == [("p1", "report.ready")]


def test_consent_to_something_else_changes_nothing() -> None:
    other = ConsentWithdrawn(
        consent_id="c",
        patient_id="p1",
        person_id="p1",
        scope=ConsentScope.GROUP_RULES,
        withdrawn_at=NOW,
    )
    case = send(hospital(), patient(), other, content())
    assert told(case) == [("p1", "report.ready")]
    assert case.docs(RelatedPerson) == []


def test_an_older_record_of_a_patient_is_stale() -> None:
    case = send(hospital(), patient(born=CHILD))
    answer = case.event(patient(born=ADULT, at=NOW - HOUR))
    assert isinstance(answer, Refusal)
    assert answer.reason == "stale"


# -- merged records ---------------------------------------------------------------------


def merge(gone: str, stays: str, at: timedelta = HOUR) -> PatientMerged:
    return PatientMerged(patient_id=gone, survivor_id=stays, merged_at=NOW + at)


def test_a_report_of_a_merged_record_is_told_to_the_survivor() -> None:
    case = send(hospital(), patient("p1"), patient("p2"), merge("p1", "p2"), content())
    assert told(case) == [("p2", "report.ready")]


def test_a_merge_tells_of_what_was_waiting() -> None:
    case = send(hospital(), content(), patient("p2"), merge("p1", "p2"))
    assert told(case) == [("p2", "report.ready")]


def test_links_to_any_of_the_merged_records_are_links_to_all() -> None:
    case = send(
        hospital(),
        patient("p1", born=CHILD),
        patient("p2", born=CHILD),
        guardian("g1", of="p1"),
        guardian("g2", of="p2"),
        merge("p1", "p2"),
        content(patient_id="p2"),
    )
    assert told(case) == [("g1", "report.ready"), ("g2", "report.ready")]


@pytest.mark.parametrize("first", [True, False])
def test_a_chain_of_merges_ends_at_the_last_survivor(first: bool) -> None:
    chain = [merge("p1", "p2"), merge("p2", "p3", 2 * HOUR)]
    case = send(hospital(), *map(patient, ("p1", "p2", "p3")), *(chain if first else chain[::-1]))
    send(case, content())
    assert told(case) == [("p3", "report.ready")]


@pytest.mark.parametrize("first", [True, False])
def test_a_merge_that_was_turned_round_ends_at_the_later_survivor(first: bool) -> None:
    both = [merge("p1", "p2"), merge("p2", "p1", 2 * HOUR)]
    case = send(hospital(), patient("p1"), patient("p2"), *(both if first else both[::-1]))
    send(case, content(patient_id="p2"))
    assert told(case) == [("p1", "report.ready")]


# -- reading ----------------------------------------------------------------------------


def may(case: Case, actor: Actor) -> Access:
    found = case.doc(Report, "r1")
    assert found is not None
    patients = {p.id: p for p in case.docs(Patient)}
    same = aliases(patients, actor.person)
    theirs = aliases(patients, found.patient_id)
    around = People(
        found.patient_id,
        {id: p for id, p in patients.items() if id in theirs},
        {r.id: r for r in case.docs(RelatedPerson) if r.patient_id in theirs},
        patients,
    )
    policy = case.policy.at(case.now)
    return access(found, around, actor, same, policy, case.now)


def aliases(patients: dict[str, Patient], id: str) -> frozenset[str]:
    known = patients.get(id)
    return frozenset({id, *(known.aliases if known else ())})


STRANGER = Actor("x1", frozenset({"patient", "guardian"}))
ORDERING = Actor("dr1", frozenset({"doctor"}))
GUARDIAN = Actor("g1", frozenset({"guardian"}))


@pytest.mark.parametrize(
    ("actor", "while_released", "while_held", "after_withdrawal"),
    [
        (PATIENT, Access.PATIENT_SIDE, Access.NOT_FOUND, Access.WITHDRAWN),
        (GUARDIAN, Access.PATIENT_SIDE, Access.NOT_FOUND, Access.WITHDRAWN),
        (DOCTOR, Access.STAFF, Access.STAFF, Access.WITHDRAWN),
        (NURSE, Access.STAFF, Access.STAFF, Access.WITHDRAWN),
        (ORDERING, Access.STAFF, Access.STAFF, Access.WITHDRAWN),
        (OTHER_DOCTOR, Access.NOT_FOUND, Access.NOT_FOUND, Access.NOT_FOUND),
        (STRANGER, Access.NOT_FOUND, Access.NOT_FOUND, Access.NOT_FOUND),
    ],
)
def test_who_may_read(
    actor: Actor, while_released: Access, while_held: Access, after_withdrawal: Access
) -> None:
    case = send(hospital(), patient(), guardian("g1"))
    send(case, content(critical=True))
    assert may(case, actor) is while_held
    send(case, content(2, at=NOW + HOUR))
    assert may(case, actor) is while_released
    send(case, withdrawn(at=NOW + 2 * HOUR))
    assert may(case, actor) is after_withdrawal


def test_what_was_withdrawn_unseen_does_not_exist_for_the_patient() -> None:
    case = send(hospital(), patient(), withdrawn(at=NOW + HOUR), content())
    assert may(case, PATIENT) is Access.NOT_FOUND
    assert may(case, DOCTOR) is Access.WITHDRAWN


def test_a_guardian_whose_link_ended_reads_no_more() -> None:
    case = send(hospital(), patient(), guardian("g1", valid_until=NOW + HOUR), content())
    assert may(case, GUARDIAN) is Access.PATIENT_SIDE
    case.advance(HOUR)
    assert may(case, GUARDIAN) is Access.NOT_FOUND


def test_a_guardian_reads_under_whichever_of_their_ids() -> None:
    case = send(hospital(), patient(), guardian("g1"), content())
    send(case, patient("g1"), patient("g7"), merge("g1", "g7"))
    answer = view(case, Actor("g7", frozenset({"guardian"})))
    assert isinstance(answer, Decision)
    assert may(case, Actor("g7", frozenset({"guardian"}))) is Access.PATIENT_SIDE


def view(case: Case, actor: Actor, edition: str = "1") -> Decision | Refusal:
    return case.command(VIEW, ViewReport(edition=edition), actor=actor, subject="r1")


def test_the_first_view_of_each_person_is_published() -> None:
    case = send(hospital(), patient(), guardian("g1"), content())
    for actor in (PATIENT, PATIENT, GUARDIAN):
        assert isinstance(view(case, actor), Decision)
    assert [v.person_id for v in case.events(ResultViewed)] == ["p1", "g1"]


def test_a_view_of_somebody_elses_or_of_a_held_report_is_not_found() -> None:
    case = send(hospital(), patient(), content())
    for actor in (STRANGER, DOCTOR):
        answer = view(case, actor)
        assert isinstance(answer, Refusal)
        assert answer.reason == "not_found"
    send(case, content(2, critical=True, at=NOW + HOUR))
    answer = view(case, PATIENT)
    assert isinstance(answer, Refusal)
    assert answer.reason == "not_found"


def test_who_has_read_a_report_is_told_that_it_was_withdrawn() -> None:
    case = send(hospital(), patient(), guardian("g1"), content())
    view(case, PATIENT)
    send(case, withdrawn(at=NOW + HOUR))
    assert told(case) == [("p1", "report.ready"), ("p1", "report.withdrawn")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": ReportStatus.ENTERED_IN_ERROR},
        {"status": ReportStatus.CANCELLED},
        {"status": ReportStatus.PRELIMINARY},
        {"corrected": True, "hold": Hold(on=True)},
        {"corrected": True, "critical": True},
        {"corrected": True, "kind": ReportKind.PATHOLOGY},
        {"corrected": True, "patient_id": "p2"},
    ],
)
def test_who_has_read_what_is_no_longer_shown_is_warned(wrong: dict[str, Any]) -> None:
    case = send(hospital(), patient(), patient("p2"), guardian("g1"), content())
    view(case, PATIENT)
    send(case, content(2, at=NOW + HOUR, **wrong))
    warnings = [n for n in case.events(NotificationRequested) if n.template == "report.withdrawn"]
    assert [(n.recipient_id, n.patient_id) for n in warnings] == [("p1", "p1")]
    assert warnings[0].health_data


def test_who_has_read_what_was_corrected_is_told_of_the_correction_only() -> None:
    case = send(hospital(), patient(), content())
    view(case, PATIENT)
    send(case, content(2, corrected=True, at=NOW + HOUR))
    assert told(case) == [("p1", "report.ready"), ("p1", "report.corrected")]


def test_what_was_taken_away_and_is_shown_again_is_told_again_and_taken_away_again() -> None:
    case = send(hospital(), patient(), content())
    view(case, PATIENT)
    for hours in (1, 3):
        send(case, content(hold=Hold(on=True), at=NOW + hours * HOUR))
        send(case, content(at=NOW + (hours + 1) * HOUR))
    ready, gone = ("p1", "report.ready"), ("p1", "report.withdrawn")
    assert told(case) == [ready, gone, ready, gone, ready]
    ids = [n.notification_id for n in case.events(NotificationRequested)]
    assert len(set(ids)) == len(ids)


def test_a_view_of_what_was_just_replaced_is_stale() -> None:
    case = send(hospital(), patient(), content(2))
    answer = view(case, PATIENT)
    assert isinstance(answer, Refusal)
    assert answer.reason == "stale"
