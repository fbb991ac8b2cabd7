"""Who leaves hospital on a day, and what must come of it?

Thirty discharges with every case that the rules know. What must happen is written down
here by hand, so that the rules are checked and not repeated.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from libs.common.devstack.day import records
from libs.common.devstack.day.cast import DOCTORS, Casting, Patient, Person
from libs.common.events import (
    Attending,
    Diagnosis,
    Disposition,
    EncounterDischarged,
    Guardian,
    PatientSnapshot,
    Procedure,
    Relationship,
)


class Outcome(StrEnum):
    """What a discharge leads to."""

    INVITED = "invited"
    NO_PROGRAMME = "no_programme"
    NO_GUARDIAN = "no_guardian"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay that ends today. ``invited`` are the persons whom ``programme`` must invite."""

    encounter_id: str
    patient: Patient
    department: str
    diagnosis: tuple[str, str]
    procedure: tuple[str, str] | None
    programme: str | None
    outcome: Outcome
    invited: tuple[Person, ...]
    discharged_at: datetime
    disposition: Disposition = Disposition.HOME

    def discharged(self) -> EncounterDischarged:
        """The event as the hospital sends it."""
        p, doctor = self.patient, DOCTORS[self.department]
        return EncounterDischarged(
            encounter_id=self.encounter_id,
            patient_id=p.id,
            patient=PatientSnapshot(
                **records.contact(p).model_dump(),
                birth_date=p.birth_date,
                gender=p.gender,
                deceased=self.disposition is Disposition.DECEASED,
            ),
            guardians=tuple(
                Guardian(
                    person_id=g.id,
                    **records.contact(g).model_dump(),
                    relationship=Relationship(relationship),
                )
                for relationship, g in p.guardians
            ),
            department=records.department_called(self.department),
            diagnoses=(Diagnosis(code=self.diagnosis[0], display=self.diagnosis[1]),),
            procedures=(
                (Procedure(code=self.procedure[0], display=self.procedure[1]),)
                if self.procedure
                else ()
            ),
            attending=Attending(practitioner_id=doctor.id, name=doctor.name),
            admitted_at=self.discharged_at - timedelta(days=6),
            discharged_at=self.discharged_at,
            disposition=self.disposition,
        )


#: Adults: programme, department, diagnosis, procedure, how many.
ADULTS: tuple[tuple[str, str, tuple[str, str], tuple[str, str] | None, int], ...] = (
    ("stroke", "NEURO", ("I63.900x001", "脑梗死"), None, 3),
    ("stroke", "NEURO", ("G45.900", "短暂性脑缺血发作"), None, 1),
    ("epilepsy", "NEURO", ("G40.900", "癫痫"), None, 1),
    ("parkinson", "NEURO", ("G20.x00", "帕金森病"), None, 2),
    ("neuro", "NEURO", ("G43.900", "偏头痛"), None, 1),
    ("cardio", "CARDIO", ("I50.900", "心力衰竭"), None, 2),
    ("cardio", "CARDIO", ("I48.x00", "心房颤动"), None, 1),
    ("colorectal-cancer", "GI-SURG", ("C18.700", "乙状结肠恶性肿瘤"), None, 2),
    ("stoma", "GI-SURG", ("Z93.300", "结肠造口状态"), None, 1),
    ("gi-surgery", "GI-SURG", ("K80.000", "胆囊结石伴急性胆囊炎"), None, 1),
    ("thyroid-surgery", "THYROID", ("C73.x00", "甲状腺恶性肿瘤"), ("06.4x00", "全甲状腺切除"), 2),
)
#: Children: programme, department, diagnosis, guardians.
CHILDREN: tuple[tuple[str, str, tuple[str, str], tuple[str, ...]], ...] = (
    ("ped-neph", "PED-NEPH", ("N04.900", "肾病综合征"), ("mother", "father")),
    ("ped-neph", "PED-NEPH", ("D69.000", "过敏性紫癜"), ("mother",)),
    ("ped-epilepsy", "PED-NEURO", ("G40.300", "全面性癫痫"), ("grandparent",)),
    ("ped-epilepsy", "PED-NEURO", ("R56.000", "热性惊厥"), ("mother", "father")),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The day's stays: ``usual`` ones, and those with a story of their own."""

    usual: tuple[Stay, ...]
    #: Of the usual ones: speaks English.
    english: Stay
    #: Children without a known guardian; the second one's mother becomes known later.
    alone: Stay
    late: Stay
    late_guardian: Person
    no_programme: Stay
    deceased: Stay
    transferred: Stay
    past: Stay
    #: Cancelled while the invitation is open, after joining, and before the discharge came.
    cancelled_open: Stay
    cancelled_joined: Stay
    cancelled_first: Stay

    @property
    def stays(self) -> tuple[Stay, ...]:
        """All whose discharge is published at the beginning."""
        return (
            *self.usual,
            self.alone,
            self.late,
            self.no_programme,
            self.deceased,
            self.transferred,
            self.past,
            self.cancelled_open,
            self.cancelled_joined,
        )

    @property
    def patients(self) -> tuple[Patient, ...]:
        return tuple(s.patient for s in (*self.stays, self.cancelled_first))


class Planning:
    def __init__(self, casting: Casting, now: datetime) -> None:
        self._casting, self._now = casting, now
        self._random = random.Random(f"plan of {casting.day}")
        self._count = 0

    def plan(self) -> Plan:
        usual = [*self._adults(), *self._children()]
        english = self._stroke(self._casting.adult(age=61, language="en"))
        self._random.shuffle(usual)
        return Plan(
            usual=(*usual, english),
            english=english,
            alone=self._nephrotic(),
            late=self._nephrotic(),
            late_guardian=self._casting.person(),
            no_programme=self._stay(
                self._casting.adult(),
                *("OPHTH", ("H25.900", "老年性白内障"), None, None),
                outcome=Outcome.NO_PROGRAMME,
            ),
            deceased=replace(self._silent(), disposition=Disposition.DECEASED),
            transferred=replace(self._silent(), disposition=Disposition.TRANSFERRED),
            past=replace(self._silent(), discharged_at=self._now - timedelta(days=45)),
            cancelled_open=self._stroke(),
            cancelled_joined=self._stroke(),
            cancelled_first=self._silent(),
        )

    def _adults(self) -> Iterator[Stay]:
        for programme, department, diagnosis, procedure, count in ADULTS:
            for _ in range(count):
                yield self._stay(self._casting.adult(), department, diagnosis, procedure, programme)

    def _children(self) -> Iterator[Stay]:
        for programme, department, diagnosis, guardians in CHILDREN:
            child = self._casting.child(*guardians)
            yield self._stay(child, department, diagnosis, None, programme)

    def _stroke(self, patient: Patient | None = None) -> Stay:
        patient = patient or self._casting.adult(age=self._random.randint(52, 84))
        return self._stay(patient, "NEURO", ("I63.900x001", "脑梗死"), None, "stroke")

    def _silent(self) -> Stay:
        return replace(self._stroke(), programme=None, outcome=Outcome.NOBODY, invited=())

    def _nephrotic(self) -> Stay:
        child, diagnosis = self._casting.child(), ("N04.900", "肾病综合征")
        return self._stay(child, "PED-NEPH", diagnosis, None, "ped-neph", Outcome.NO_GUARDIAN)

    def _stay(
        self,
        patient: Patient,
        department: str,
        diagnosis: tuple[str, str],
        procedure: tuple[str, str] | None,
        programme: str | None,
        outcome: Outcome = Outcome.INVITED,
    ) -> Stay:
        self._count += 1
        whom: tuple[Person, ...] = tuple(g for _, g in patient.guardians) or (patient,)
        return Stay(
            f"e-{self._casting.day}-{self._count:02}",
            patient,
            department,
            diagnosis,
            procedure,
            programme,
            outcome,
            whom if outcome is Outcome.INVITED else (),
            self._now - timedelta(minutes=self._random.randint(1, 180)),
        )
