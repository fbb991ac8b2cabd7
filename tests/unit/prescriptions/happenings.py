"""What may happen at a hospital to two records of one ingredient, and be told in any order?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from libs.common.decision import Input
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    EncounterAdmitted,
    Event,
    Medication,
    PatientDeceased,
    PractitionerLeft,
    PractitionerUpdated,
    PrescriptionIssued,
    PrescriptionStopped,
    StaffRole,
    VerificationStatus,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from services.prescriptions.domain.documents import Prescription, Refill
from tests.unit.prescriptions.given import (
    Hospital,
    deceased,
    prescription,
    stopped,
    unvisited,
    visit,
)

RECORDS = ("p1", "p2")
#: What is prescribed from the beginning, all of one ingredient.
PRESCRIBED = {"rx1": "p1", "rx2": "p1", "rx3": "p2"}

#: What looks like a visit and resets nothing.
NO_VISITS: list[dict[str, Any]] = [
    {"department": "dermatology"},
    {"visit_class": VisitClass.VIRTUAL},
]
AFTER_ALL = [{}, {}, {}, *NO_VISITS]
DOSAGES = ("two tablets in the morning", "one tablet in the morning")
_RECODED = Medication(code="C08CA01", name="Amlodipine", ingredient_code="C08CA01")

#: What may be a ground to refuse.
ADVERSE = (
    ConditionRecorded, AllergyRecorded, EncounterAdmitted, PrescriptionStopped, PatientDeceased,
)  # fmt: skip
#: A pharmacy's reports.
DISPENSING = ("dispensed", "collected", "delivered", "returned_to_stock", "preparing", "declined")


def counts(told: VisitCompleted) -> bool:
    """Whether it is a visit in person to the department that treats."""
    return told.visit_class is not VisitClass.VIRTUAL and told.department.code == "cardiology"


def copy(refill: Refill, at: datetime, id: str | None = None, **more: Any) -> PrescriptionIssued:
    """The hospital's own prescription of what is renewed."""
    it = refill.prescribed
    fields: dict[str, Any] = {
        "patient_id": refill.patient_id,
        "refill_id": refill.id,
        "based_on": refill.prescription_id,
        "medication": it.medication,
        "dosage": it.dosage,
        "quantity": it.quantity,
        "days_supply": refill.days_supply,
        **more,
    }
    return prescription(id or refill.new_prescription_id or "", at=at, **fields)


@dataclass
class Happenings:
    """What has happened, and what of it has not been told yet."""

    case: Hospital
    untold: list[tuple[Event, datetime]] = field(default_factory=list)
    #: Every prescription that there is, told or not, with whose it is.
    prescriptions: dict[str, str] = field(default_factory=lambda: dict(PRESCRIBED))
    #: Every visit that was told, or will be.
    visits: list[VisitCompleted] = field(default_factory=list)

    def prescribed(self, n: int) -> tuple[str, str]:
        """One of those that were told, and whose it is."""
        orders = [p for p in self.case.docs(Prescription) if p.order is not None]
        chosen = sorted(orders, key=lambda p: (p.issued_at, p.id))[n % len(orders)]
        return chosen.id, chosen.patient_id

    def happen(self, kind: str, patient: str, pick: int) -> None:
        self.untold += [(fact, self.case.now) for fact in KINDS[kind](self, patient, pick)]

    def tell(self, n: int) -> list[Input]:
        """One of those that are untold, if any."""
        if not self.untold:
            return []
        fact, at = self.untold.pop(n if n == -1 else n % len(self.untold))
        return [self.case.event_input(fact, time=at)]

    def again(self, input: Input) -> Input:
        """The same, published under another id."""
        return self.case.event_input(input.data, time=input.time)

    # -- each of them, now ----------------------------------------------------------------

    def visit(self, patient: str, pick: int) -> Iterator[Event]:
        self.visits.append(visit(self.case.now, self._id("v"), patient_id=patient))
        yield self.visits[-1]

    def no_visit(self, patient: str, pick: int) -> Iterator[VisitCancelled]:
        """One of the last visits was told by mistake, perhaps of the wrong patient."""
        for known in self.visits[-1 - pick % 3 :][:1]:
            yield unvisited(self.case.now, known.visit_id, known.patient_id)

    def visit_again(self, patient: str, pick: int) -> Iterator[Event]:
        """One of the last is told anew: that it was after all, elsewhere, or by telephone."""
        for known in self.visits[-1 - pick % 3 :][:1]:
            id, other = known.visit_id, {"recorded_at": self.case.now, **AFTER_ALL[pick % 5]}
            yield visit(known.occurred_at, id, patient_id=known.patient_id, **other)

    def visit_elsewhere(self, patient: str, pick: int) -> Iterator[Event]:
        yield visit(self.case.now, self._id("v"), patient_id=patient, department="dermatology")

    def call(self, patient: str, pick: int) -> Iterator[Event]:
        virtual = VisitClass.VIRTUAL
        yield visit(self.case.now, self._id("v"), patient_id=patient, visit_class=virtual)

    def comes_back(self, patient: str, pick: int) -> Iterator[Event]:
        """Renewals come back as prescriptions, perhaps under another code of the ingredient:
        nothing is reset by them."""
        code: dict[str, Any] = {"medication": _RECODED} if pick > 3 else {}
        for refill in self.case.docs(Refill):
            own = refill.new_prescription_id
            if own is not None and own not in self.prescriptions:
                self.prescriptions[own] = refill.patient_id
                yield copy(refill, self.case.now, **code)

    def dispensing(self, patient: str, pick: int) -> Iterator[Event]:
        """A pharmacy tells of a renewal, the newest or another, whether it may be dispensed or
        not; of two dispensings of it."""
        refills = sorted(self.case.docs(Refill), key=lambda r: (r.requested_at, r.id))
        for refill in refills[-1 - pick : len(refills) - pick][:1]:
            yield self.case.report(
                refill.id, DISPENSING[(pick + self.made) % len(DISPENSING)],
                f"d{pick % 2}-{refill.id}", patient_id=refill.patient_id,
            )  # fmt: skip

    def prescribe(self, patient: str, pick: int) -> Iterator[Event]:
        id = self._id("rx")
        self.prescriptions[id] = patient
        yield prescription(id, at=self.case.now, patient_id=patient)

    def recoded(self, patient: str, pick: int) -> Iterator[Event]:
        """A prescription comes again, with another code of its ingredient."""
        yield from self._again(patient, pick, medication=_RECODED)

    def corrected(self, patient: str, pick: int) -> Iterator[Event]:
        """It never was so: another dosing, or what it was at first."""
        yield from self._again(patient, pick, dosage=DOSAGES[pick % 2])

    def _again(self, patient: str, pick: int, **more: Any) -> Iterator[Event]:
        """One of those that a doctor prescribed, told again; its time stays."""
        theirs = [
            (p.id, p.order)
            for p in self.case.docs(Prescription)
            if p.order is not None and p.order.refill_id is None and p.patient_id == patient
        ]
        for id, order in theirs[pick % max(1, len(theirs)) :][:1]:
            said = {**order.model_dump(), "prescription_id": id, "patient_id": patient, **more}
            yield PrescriptionIssued.model_validate(said)

    def stop(self, patient: str, pick: int) -> Iterator[Event]:
        """Perhaps of one that was not told yet."""
        theirs = [id for id, whose in self.prescriptions.items() if whose == patient]
        yield stopped(self.case.now, theirs[pick % len(theirs)], patient)

    def admission(self, patient: str, pick: int) -> Iterator[Event]:
        at, id = self.case.now, f"s{pick}-{patient}"
        yield EncounterAdmitted(encounter_id=id, patient_id=patient, admitted_at=at)

    def no_admission(self, patient: str, pick: int) -> Iterator[Event]:
        at, id = self.case.now, f"s{pick}-{patient}"
        yield AdmissionCancelled(encounter_id=id, patient_id=patient, cancelled_at=at)

    def condition(self, patient: str, pick: int) -> Iterator[Event]:
        n, resolved = pick % 2, pick > 3
        yield ConditionRecorded(
            condition_id=f"c{n}-{patient}", patient_id=patient, code=["I50", "N18"][n],
            recorded_at=self.case.now,
            clinical_status=ClinicalStatus.RESOLVED if resolved else ClinicalStatus.ACTIVE,
        )  # fmt: skip

    def allergy(self, patient: str, pick: int) -> Iterator[Event]:
        code = ["C08", "J01", None][pick % 3]
        wrong = VerificationStatus.ENTERED_IN_ERROR
        status = wrong if pick > 3 else VerificationStatus.CONFIRMED
        yield AllergyRecorded(
            allergy_id=f"a{pick % 3}-{patient}", patient_id=patient, code=code, system="ATC",
            display="something", recorded_at=self.case.now, verification_status=status,
        )  # fmt: skip

    def practitioner(self, patient: str, pick: int) -> Iterator[Event]:
        yield PractitionerUpdated(
            practitioner_id=["dr1", "dr2"][pick % 2], name="王一", roles=(StaffRole.DOCTOR,),
            departments=("cardiology",), updated_at=self.case.now,
            practising_since=date(2025, 1, 1) if pick > 3 else date(2010, 1, 1),
        )  # fmt: skip

    def leaving(self, patient: str, pick: int) -> Iterator[Event]:
        """A doctor who has left decides nothing more, and holds nobody's renewal up."""
        yield PractitionerLeft(practitioner_id=["dr2", "dr1"][pick > 4], left_at=self.case.now)

    def death(self, patient: str, pick: int) -> Iterator[Event]:
        yield deceased(patient, self.case.now)

    def _id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}-{self.made}"

    made: int = 0


H = Happenings
KINDS: dict[str, Callable[[Happenings, str, int], Iterator[Event]]] = {
    f.__name__: f
    for f in (
        H.visit, H.no_visit, H.visit_again, H.visit_elsewhere, H.call, H.comes_back,
        H.prescribe, H.practitioner, H.dispensing, H.recoded, H.corrected,
        H.admission, H.no_admission, H.condition, H.allergy, H.stop, H.death, H.leaving,
    )
}  # fmt: skip
#: What may be a ground to refuse; half of the histories are without.
GROUNDS = frozenset(
    {"admission", "no_admission", "condition", "allergy", "stop", "death", "corrected"}
)
#: What ends much, so only once there is something to end.
RARE = frozenset({"stop", "death", "leaving"})
