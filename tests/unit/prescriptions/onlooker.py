"""What does somebody see who reads only what is published, and counts for themselves?

Nothing of the service is asked. An ``Onlooker`` hears the facts in the order in which they come
out, knows which may follow on which, and counts renewals by the time when they took effect
and visits by the time when they happened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from libs.common.events import (
    RefillCancelled,
    RefillCollected,
    RefillDelivered,
    RefillDispensed,
    RefillDoctorApproved,
    RefillDoctorChanged,
    RefillDoctorDeclined,
    RefillDoctorReplaced,
    RefillEffective,
    RefillExpired,
    RefillFulfilmentChosen,
    RefillLapsed,
    RefillPharmacistPassed,
    RefillPharmacistRefused,
    RefillPharmacistReturned,
    RefillRefused,
    RefillRequested,
    RefillReturnedToStock,
    RefillSuspended,
    RefillVisitNeeded,
)
from libs.common.events.refills import DoctorDecision, PharmacistReview, Refill
from tests.support.rules import Emitted

LIMIT = 3

NEW, DOCTOR, PHARMACIST, PASSED, EFFECTIVE, VOID, FULFILLED, OVER = (
    "new", "doctor", "pharmacist", "passed", "effective", "void", "fulfilled", "over",
)  # fmt: skip
#: Whatever a pharmacy tells may follow on whatever it has told.
_FULFILLED = dict.fromkeys((EFFECTIVE, VOID, FULFILLED), FULFILLED)

#: From where to where each fact leads. A stage that is left out can't be skipped.
WAYS: Mapping[type[Refill], Mapping[str, str]] = {
    RefillRequested: {NEW: DOCTOR},
    RefillRefused: {NEW: OVER, DOCTOR: OVER, PHARMACIST: OVER},
    RefillDoctorApproved: {DOCTOR: PHARMACIST},
    RefillDoctorChanged: {DOCTOR: PHARMACIST},
    RefillDoctorReplaced: {DOCTOR: PHARMACIST},
    RefillDoctorDeclined: {DOCTOR: OVER},
    RefillVisitNeeded: {DOCTOR: OVER},
    RefillPharmacistReturned: {PHARMACIST: DOCTOR},
    RefillPharmacistRefused: {PHARMACIST: OVER},
    RefillPharmacistPassed: {PHARMACIST: PASSED},
    RefillEffective: {PASSED: EFFECTIVE},
    RefillCancelled: {DOCTOR: OVER, PHARMACIST: OVER},
    RefillExpired: {DOCTOR: OVER, PHARMACIST: OVER},
    RefillFulfilmentChosen: {EFFECTIVE: EFFECTIVE},
    RefillDispensed: _FULFILLED,
    RefillCollected: _FULFILLED,
    RefillDelivered: _FULFILLED,
    RefillReturnedToStock: _FULFILLED,
    # What lies ready is void like what was not dispensed yet.
    RefillSuspended: {DOCTOR: DOCTOR, PHARMACIST: DOCTOR, EFFECTIVE: VOID, FULFILLED: VOID},
    RefillLapsed: {EFFECTIVE: VOID},
}


@dataclass
class Onlooker:
    """``merged`` and ``visited`` say what the hospital told; the rest is heard."""

    #: With whom each renewal lies, by what was published.
    at: dict[str, str] = field(default_factory=dict)
    #: What was told of each visit: of whom, when it was recorded so, and when it took place;
    #: None: it did not, or does not count.
    visits: dict[str, list[tuple[str, datetime, datetime | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    #: Those that stood at some time, of whom and when.
    stood: set[tuple[str, datetime]] = field(default_factory=set)
    effective: list[tuple[str, datetime]] = field(default_factory=list)
    #: Whether a doctor has said how many more may follow, or has replaced the dosing.
    narrowed: bool = False
    #: What was made void once it was in effect.
    withheld: set[str] = field(default_factory=set)
    #: When doctors left, and when they were last said to work here.
    left: dict[str, datetime] = field(default_factory=dict)
    works: dict[str, datetime] = field(default_factory=dict)
    _said: Counter[str] = field(default_factory=Counter)
    _approved_by: dict[str, str] = field(default_factory=dict)
    _passed_by: dict[str, str] = field(default_factory=dict)
    _returned_to: dict[str, str] = field(default_factory=dict)
    _same: list[set[str]] = field(default_factory=list)

    # -- what the hospital told -----------------------------------------------------------

    def merged(self, *patients: str) -> None:
        touched = [s for s in self._same if not s.isdisjoint(patients)]
        self._same = [s for s in self._same if s.isdisjoint(patients)]
        self._same.append(set(patients).union(*touched))

    def together(self, patient: str) -> set[str]:
        """All records of one person."""
        return next((s for s in self._same if patient in s), {patient})

    def visited(self, patient: str, id: str, told_at: datetime, at: datetime | None) -> None:
        self.visits[id].append((patient, told_at, at))
        self.stood |= {(patient, at) for at in self.standing(patient)}

    def standing(self, patient: str) -> Iterator[datetime]:
        """The visits of which what was recorded last is that they took place."""
        ids = self.together(patient)
        for told in self.visits.values():
            theirs = ((told_at, at is None, at) for p, told_at, at in told if p in ids)
            *_, at = max(theirs, key=lambda t: t[:2], default=(None,))
            if at is not None:
                yield at

    def has_left(self, doctor: str) -> bool:
        left, works = self.left.get(doctor), self.works.get(doctor)
        return left is not None and (works is None or works < left)

    # -- what is published ----------------------------------------------------------------

    def hear(self, emitted: Iterable[Emitted]) -> list[Refill]:
        """The facts about renewals among them, each of which may come now."""
        facts = []
        for one in emitted:
            if isinstance(one.data, Refill):
                self._hear(one.data, one.sequence)
                facts.append(one.data)
        return facts

    def _hear(self, fact: Refill, sequence: int) -> None:
        id = fact.refill_id
        assert sequence == self._said[id] + 1, f"{fact.TYPE} is number {sequence}"
        self._said[id] = sequence
        before = self.at.get(id, NEW)
        assert before in WAYS[type(fact)], f"{fact.TYPE} after {before}"
        self.at[id] = WAYS[type(fact)][before]
        if isinstance(fact, RefillSuspended) and self.at[id] == VOID:
            assert fact.new_prescription_id is not None
            self.withheld.add(id)
        if isinstance(fact, DoctorDecision):
            assert fact.doctor_id != fact.requested_by
            bound_to = self._returned_to.pop(id, fact.doctor_id)
            assert fact.doctor_id == bound_to or bound_to in self.left
            assert not self.has_left(fact.doctor_id)
            self._approved_by[id] = fact.doctor_id
        if isinstance(fact, RefillPharmacistReturned):
            self._returned_to[id] = fact.doctor_id
        if isinstance(fact, PharmacistReview):
            assert fact.pharmacist_id not in (fact.requested_by, self._approved_by[id])
            self._passed_by[id] = fact.pharmacist_id
        if isinstance(fact, RefillDoctorReplaced):
            self.narrowed = True
        if isinstance(fact, RefillDoctorChanged):
            self.narrowed = self.narrowed or fact.refills_allowed is not None
        if isinstance(fact, RefillEffective):
            self._takes_effect(fact)

    def _takes_effect(self, fact: RefillEffective) -> None:
        signed = (self._approved_by[fact.refill_id], self._passed_by[fact.refill_id])
        assert (fact.doctor_id, fact.pharmacist_id) == signed
        assert len(set(signed)) == 2
        number = self.used(fact.patient_id) + 1
        assert number <= LIMIT, "a fourth renewal became effective"
        assert fact.number == number
        assert fact.remaining <= LIMIT - number
        assert self.narrowed or fact.remaining == LIMIT - number
        self.effective.append((fact.patient_id, fact.effective_at))

    # -- counted --------------------------------------------------------------------------

    def used(self, patient: str) -> int:
        """Renewals since the last visit in person that was told and not taken back."""
        ids = self.together(patient)
        last = max(self.standing(patient), default=None)
        return sum(p in ids and (last is None or at >= last) for p, at in self.effective)

    def most_between_visits(self, patient: str) -> int:
        """Of whom no record was merged: the most renewals between two visits, or before or
        after all of them. One that was taken back parts those that it let pass."""
        assert self.together(patient) == {patient}
        times = sorted(at for p, at in self.effective if p == patient)
        visits = sorted(at for p, at in self.stood if p == patient)
        if not times:
            return 0
        edges = [min(times[0], *visits), *visits, None] if visits else [times[0], None]
        return max(
            sum(begin <= at and (end is None or at < end) for at in times)
            for begin, end in pairwise(edges)
            if begin is not None
        )
