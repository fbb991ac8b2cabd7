"""What is known of people does not depend on the order in which it was told."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.decision import Refusal
from libs.common.events import (
    Channel,
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    Department,
    Disposition,
    EncounterDischarged,
    Event,
    Guardian,
    GuardianLinked,
    GuardianUnlinked,
    PatientDeceased,
    PatientMerged,
    PatientSnapshot,
    PatientUpdated,
    Relationship,
)
from libs.common.events.base import Contact
from services.notify.domain.delivery import Delivery
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.people import Link, Person
from tests.support.rules import Case
from tests.unit.notify.cases import (
    DAY,
    NOW,
    SECOND,
    delivery,
    linked,
    new_case,
    reason,
    record,
    request,
)


def person(case: Case, id: str = "p1") -> Person:
    found = case.doc(Person, id)
    assert found is not None
    return found


def discharge(at: Any = NOW, **changes: Any) -> EncounterDischarged:
    given: dict[str, Any] = {
        "encounter_id": "e1",
        "patient_id": "p1",
        "patient": PatientSnapshot(name="张三", birth_date=date(2020, 1, 1)),
        "guardians": (
            Guardian(
                person_id="mother",
                name="李四",
                email="mother@example.org",
                language="en",
                relationship=Relationship.MOTHER,
            ),
        ),
        "department": Department(code="neuro"),
        "discharged_at": at,
        "disposition": Disposition.HOME,
    }
    return EncounterDischarged(**(given | changes))


def updated(at: Any, **changes: Any) -> PatientUpdated:
    return PatientUpdated(**record(updated_at=at, **changes).model_dump())


def test_the_newest_record_holds_and_an_absent_field_is_unknown() -> None:
    case = new_case()
    case.event(record())
    case.event(updated(NOW, email=None, webhook=None, language="en"))
    assert (person(case).email, person(case).webhook, person(case).language) == (None, None, "en")


def test_an_older_record_changes_nothing() -> None:
    case = new_case()
    case.event(updated(NOW))
    assert reason(case.event(record(email="older@example.org"))) == "stale"
    assert person(case).email == "p1@example.org"


def test_a_snapshot_of_a_discharge_tells_how_to_reach_the_guardians() -> None:
    case = new_case()
    case.event(discharge())
    assert person(case, "mother").email == "mother@example.org"
    assert person(case, "mother").language == "en"
    assert person(case).known_at is not None


def test_a_snapshot_without_an_address_takes_none_away() -> None:
    case = new_case()
    case.event(record())
    case.event(discharge())
    assert person(case).email == "p1@example.org"


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_contacts_do_not_depend_on_the_order_of_arrival(order: tuple[int, ...]) -> None:
    facts: list[Event] = [
        record("mother", updated_at=NOW - 3 * DAY, email="first@example.org"),
        linked("p1", "mother", linked_at=NOW - 2 * DAY, contact=Contact(name="x", language="fr")),
        record("mother", updated_at=NOW - DAY, email=None, webhook="https://last.example/"),
        discharge(NOW - 2 * DAY),
    ]
    case = new_case()
    for n in order:
        case.event(facts[n])
    mother = person(case, "mother")
    assert (mother.email, mother.webhook, mother.language) == (None, "https://last.example/", None)


@given(st.permutations(range(4)))
def test_consents_and_links_do_not_depend_on_the_order_of_arrival(order: list[int]) -> None:
    consent: dict[str, Any] = {
        "consent_id": "c",
        "patient_id": "p1",
        "person_id": "mother",
        "scope": ConsentScope.HEALTH_DATA,
    }
    facts: list[Event] = [
        ConsentGiven(**consent, given_at=NOW - DAY),
        ConsentWithdrawn(**consent, withdrawn_at=NOW - DAY),  # at the same time: it holds
        GuardianLinked(**dict(linked("p1", "mother", linked_at=NOW - 2 * DAY))),
        GuardianUnlinked(patient_id="p1", person_id="mother", unlinked_at=NOW - 2 * DAY),
    ]
    case = new_case()
    for n in order:
        case.event(facts[n])
    [link] = case.docs(Link)
    assert (link.consent_withdrawn, link.ended) == (True, True)


def test_a_later_discharge_that_names_a_guardian_takes_an_end_back() -> None:
    case = new_case()
    case.event(linked("p1", "mother", linked_at=NOW - 3 * DAY))
    case.event(GuardianUnlinked(patient_id="p1", person_id="mother", unlinked_at=NOW - 2 * DAY))
    case.event(discharge(NOW - 2 * DAY - SECOND))
    assert case.docs(Link)[0].ended
    case.event(discharge(NOW - DAY))
    assert not case.docs(Link)[0].ended


@pytest.mark.parametrize(
    "changes",
    [
        {"disposition": Disposition.DECEASED},
        {"patient": PatientSnapshot(name="x", birth_date=date(2020, 1, 1), deceased=True)},
    ],
)
def test_a_discharge_may_tell_of_a_death(changes: dict[str, Any]) -> None:
    case = new_case()
    case.event(discharge(**changes))
    assert reason(case.event(request(recipient_id="mother"))) == "deceased"


def test_the_same_fact_again_is_stale() -> None:
    case = new_case()
    for data in (
        record(),
        linked("p1", "mother"),
        PatientDeceased(patient_id="p1", deceased_at=NOW),
        PatientMerged(patient_id="x", survivor_id="y", merged_at=NOW),
    ):
        case.event(data)
        assert reason(case.event(data)) == "stale", data


# -- merged -----------------------------------------------------------------------------


def merged(gone: str, stays: str) -> PatientMerged:
    return PatientMerged(patient_id=gone, survivor_id=stays, merged_at=NOW)


def test_who_was_merged_is_reached_where_the_survivor_is() -> None:
    case = new_case()
    case.event(record("old"))
    case.event(record("p1"))
    case.event(merged("old", "p1"))
    case.event(request(recipient_id="old", patient_id="old"))
    assert delivery(case, Channel.EMAIL).address == "p1@example.org"
    assert case.docs(InboxMessage)[0].person_id == "p1"


@pytest.mark.parametrize("order", list(permutations([("a", "b"), ("b", "c"), ("c", "d")])))
def test_a_chain_of_merges_ends_at_one_person_in_any_order(
    order: tuple[tuple[str, str], ...],
) -> None:
    case = new_case()
    case.event(record("d"))
    for gone, stays in order:
        case.event(merged(gone, stays))
    assert set(person(case, "d").aliases) == {"a", "b", "c"}
    assert {person(case, x).survivor_id for x in "abc"} == {"d"}
    for n, id in enumerate("abcd"):
        case.event(request(f"n{n}", recipient_id=id, patient_id=id))
    assert {d.address for d in case.docs(Delivery)} == {
        "d@example.org",
        "https://d.example.org/in",
    }
    assert sorted(m.number for m in case.docs(InboxMessage)) == [1, 2, 3, 4]


def test_merges_in_a_circle_do_no_harm() -> None:
    case = new_case()
    case.event(merged("a", "b"))
    assert reason(case.event(merged("b", "a"))) == "stale"
    assert reason(case.event(merged("b", "b"))) == "stale"


def test_a_withdrawn_consent_outlives_a_merge() -> None:
    case = new_case()
    case.event(record("p1"))
    case.event(
        ConsentWithdrawn(
            consent_id="c",
            patient_id="old",
            person_id="old",
            scope=ConsentScope.HEALTH_DATA,
            withdrawn_at=NOW,
        )
    )
    case.event(merged("old", "p1"))
    assert reason(case.event(request("n1"))) == "no_consent"
    assert reason(case.event(request("n2", recipient_id="old", patient_id="old"))) == "no_consent"


@pytest.mark.parametrize("withdrawn_last", [True, False])
@pytest.mark.parametrize("first_as", ["old", "p1"])
def test_of_decisions_under_two_ids_the_later_holds(withdrawn_last: bool, first_as: str) -> None:
    def decision(id: str, withdrawn: bool, at: Any) -> Event:
        whose = {"consent_id": "c", "patient_id": id, "person_id": id}
        scope = ConsentScope.HEALTH_DATA
        if withdrawn:
            return ConsentWithdrawn(**whose, scope=scope, withdrawn_at=at)
        return ConsentGiven(**whose, scope=scope, given_at=at)

    case = new_case()
    case.event(record("p1"))
    case.event(decision(first_as, not withdrawn_last, NOW - DAY))
    case.event(decision({"old": "p1", "p1": "old"}[first_as], withdrawn_last, NOW))
    case.event(merged("old", "p1"))
    assert isinstance(case.event(request()), Refusal) is withdrawn_last


@pytest.mark.parametrize("ended_last", [True, False])
def test_of_links_under_two_ids_the_later_holds(ended_last: bool) -> None:
    at = {True: NOW - DAY, False: NOW}
    case = new_case()
    case.event(record("p1"))
    case.event(linked("old", "mother", linked_at=at[ended_last]))
    case.event(
        GuardianUnlinked(patient_id="p1", person_id="mother", unlinked_at=at[not ended_last])
    )
    case.event(merged("old", "p1"))
    answer = case.event(request(recipient_id="mother"))
    assert isinstance(answer, Refusal) is ended_last


def test_numbers_go_on_after_both_inboxes() -> None:
    case = new_case()
    case.event(record("p1"))
    case.event(record("old"))
    for n in range(3):
        case.event(request(f"a{n}", recipient_id="old", patient_id="old"))
    case.event(request("b0"))
    case.event(merged("old", "p1"))
    case.event(request("b1"))
    assert case.docs(InboxMessage, id="b1")[0].number == 4


def test_who_stays_is_reached_as_the_other_was_if_nobody_tells_how() -> None:
    case = new_case()
    case.event(record("old"))
    case.event(merged("old", "p1"))
    case.event(request())
    assert delivery(case, Channel.EMAIL).address == "old@example.org"
    case.event(record("p1", updated_at=NOW - 2 * DAY))
    assert person(case).email == "old@example.org"  # it is newer
    case.event(record("p1", updated_at=NOW))
    assert person(case).email == "p1@example.org"


def test_a_death_outlives_a_merge() -> None:
    case = new_case()
    case.event(record("p1"))
    case.event(PatientDeceased(patient_id="old", deceased_at=NOW))
    case.event(merged("old", "p1"))
    assert reason(case.event(request())) == "deceased"
