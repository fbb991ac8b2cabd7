"""Does it matter in which order the hospital tells, or how often?

Any facts about a patient with two records, in two orders, some of them twice, some in one
poll. What the rules look at must be the same; what stands against a renewal must have stopped
it, whichever came last; and where nothing is ever taken back, every renewal must end alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from libs.common.events import (
    AllergyCategory,
    ClinicalStatus,
    Event,
    PractitionerLeft,
    VerificationStatus,
)
from services.prescriptions.domain.accounts import account
from services.prescriptions.domain.chart import Chart, gather
from services.prescriptions.domain.consequences import LOOK_AGAIN, look_again
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Facts
from services.prescriptions.domain.health import Allergy, Condition, Practitioner, Stay
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    deceased,
    hospital,
    merged,
    prescription,
    registered,
    stopped,
    visit,
)
from tests.unit.prescriptions.test_stable import admitted, allergy, condition, doctor, taken_back

STATIN: dict[str, Any] = {"code": "C10AA05", "ingredient": "atorvastatin"}
LATER = NOW - HOUR

C = TypeVar("C", Prescription, Condition, Allergy, Stay)

#: Facts that can only stand against a renewal, or concern none.
AGAINST: list[Event] = [
    condition(NOW - 2 * DAY),
    condition(NOW - DAY),
    condition(LATER, "c2", "I48", patient="p2"),
    admitted(NOW - DAY, "s2", "p2"),
    admitted(NOW - 40 * DAY, "s3"),
    allergy(None, "a1", None, recorded_at=NOW - DAY),
    allergy("C10", "a2", recorded_at=LATER),
    allergy("J01CA04", "a3"),
    allergy(None, "a4", None, category=AllergyCategory.FOOD),
    stopped(LATER, "rx1"),
    stopped(LATER, "rx9"),
    prescription("rx9", at=NOW - 20 * DAY, code="A10BA02", ingredient="metformin"),
    prescription("rx8", at=NOW - 2 * DAY, days_supply=30, **STATIN),
    deceased("p2", LATER),
    registered("p1", at=LATER),
    merged("p2", "p1", LATER),
    prescription("rx6", at=NOW - 3 * DAY, dosage="half a tablet", **STATIN),
    prescription("rx5", at=NOW - 4 * DAY, dosage="half a tablet", patient_id="p2"),
    prescription(
        "rx5", at=NOW - 4 * DAY, dosage="half a tablet", ingredient="C08CA01", patient_id="p2"
    ),
    PractitionerLeft(practitioner_id="dr1", left_at=NOW - DAY),
    doctor(None, LATER),
]
#: Facts by which another no longer stands against one.
MENDS: list[Event] = [
    condition(LATER, clinical_status=ClinicalStatus.RESOLVED),
    taken_back(LATER, "s2"),
    allergy("C10", "a2", recorded_at=NOW, verification_status=VerificationStatus.REFUTED),
    allergy(None, "a1", None, recorded_at=LATER, clinical_status=ClinicalStatus.RESOLVED),
    visit(NOW - DAY, "v2"),
    visit(LATER, "v3", patient_id="p2"),
]


class Told(NamedTuple):
    """How a set of facts is told: each ``(fact, again)`` in turn, so many at a time."""

    order: Sequence[tuple[int, bool]]
    at_once: int


class End(NamedTuple):
    facts: dict[str, Facts]
    statuses: dict[str, Status]


def told(facts: Sequence[Event], how: Told) -> End:
    case = hospital()
    case.event(prescription("rx2", **STATIN))
    in_effect = case.renewed("rx1").id
    waiting = case.asked("rx2")
    case.doctor(waiting, "approve", valid_days=3)
    case.now = NOW + HOUR
    inputs = []
    for n, again in how.order:
        # The same in every order: it is the publisher's, which tells one thing after another.
        at = (NOW if n % 2 else NOW - 2 * HOUR) + timedelta(minutes=n)
        inputs.append(case.event_input(facts[n], id=f"f{n}", time=at))
        if again:
            inputs.append(case.event_input(facts[n], id=f"f{n}-again", time=at))
    for start in range(0, len(inputs), how.at_once):
        case.batch(inputs[start : start + how.at_once])
    renewals = {"in_effect": in_effect, "waiting": waiting}
    before = {name: case.refill(id) for name, id in renewals.items()}
    case.send(case.timer_input(look_again("p1", case.now)))
    # Nothing stands against a renewal that has not stopped it already.
    assert {name: case.refill(id) for name, id in renewals.items()} == before, LOOK_AGAIN
    return End(
        {name: gathered(case, refill) for name, refill in before.items()},
        {name: refill.status for name, refill in before.items()},
    )


def gathered(case: Hospital, refill: Refill) -> Facts:
    """What the rules look at, from all that is stored."""
    care = case.doc(PatientCare, "p1")
    base = case.doc(Prescription, refill.prescription_id)
    assert care is not None and base is not None
    ids = {"p1", *care.aliases}

    def of(model: type[C]) -> list[C]:
        return [d for d in case.docs(model) if d.patient_id in ids]

    chart = Chart(of(Prescription), of(Condition), of(Allergy), of(Stay))
    own, _ = account(care, refill.ingredient_code, lambda id: case.doc(RenewalAccount, id))
    # Whether it was withheld is no fact of the hospital's; that ends alike only if nothing mends.
    own = own.but(
        renewals=tuple(r.model_copy(update={"supplied": True}) for r in own.renewals), open=()
    )
    policy = case.policy.at(case.now)
    return gather(base, refill.order, care, own, chart, now=case.now, policy=policy, oneself=False)


STOPPED = {Status.SUSPENDED, Status.WITHHELD, Status.REFUSED}


@st.composite
def twice_told(draw: st.DrawFn, pool: list[Event]) -> tuple[list[Event], Told, Told]:
    facts = draw(st.lists(st.sampled_from(range(len(pool))), max_size=8, unique=True))
    numbers = list(range(len(facts)))

    def order() -> Told:
        shuffled = draw(st.permutations(numbers))
        again = draw(st.lists(st.booleans(), min_size=len(facts), max_size=len(facts)))
        return Told(list(zip(shuffled, again, strict=True)), draw(st.integers(1, 4)))

    return [pool[n] for n in facts], order(), order()


often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@often
@examples(twice_told(AGAINST + MENDS))
def test_the_rules_see_the_same_facts_in_any_order(
    case: tuple[list[Event], Told, Told],
) -> None:
    facts, first, second = case
    one, other = told(facts, first), told(facts, second)
    assert one.facts == other.facts
    for name in one.statuses:
        # A person looks at what was stopped; so it may be stopped in one order and not in the
        # other only if something mended it, and never if it was refused for good.
        assert (one.statuses[name] is Status.REFUSED) == (other.statuses[name] is Status.REFUSED)
        if one.statuses[name] != other.statuses[name]:
            assert any(fact in MENDS for fact in facts)


@often
@examples(twice_told(AGAINST))
def test_every_renewal_ends_alike_where_nothing_is_taken_back(
    case: tuple[list[Event], Told, Told],
) -> None:
    facts, first, second = case
    assert told(facts, first).statuses == told(facts, second).statuses


def test_each_of_these_facts_stops_something_or_mends_it() -> None:
    """So that the above compares more than renewals that nothing ever touched."""
    merge = merged("p2", "p1", LATER)
    stops = [f for f in AGAINST if STOPPED & set(end_of(f, merge).statuses.values())]
    assert len(stops) == 11
    for mend, of in ((1, 3), (2, 6), (3, 5)):
        end = end_of(MENDS[mend], merge, AGAINST[of])
        assert not STOPPED & set(end.statuses.values())


def end_of(*facts: Event) -> End:
    return told(facts, Told([(n, False) for n in range(len(facts))], 1))


def test_a_practitioners_record_is_the_same_in_any_order() -> None:
    ends = []
    for facts in ((AGAINST[-1], AGAINST[-2]), (AGAINST[-2], AGAINST[-1])):
        case = hospital()
        for fact in facts:
            case.event(fact)
        [practitioner] = case.docs(Practitioner)
        ends.append((practitioner.left_at, practitioner.updated_at, practitioner.has_left(NOW)))
    assert ends[0] == ends[1] and not ends[0][2]
