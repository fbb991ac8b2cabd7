"""What do all acts of a day share?"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from libs.common.devstack.day.cast import Patient
from libs.common.devstack.day.diary import Diary
from libs.common.devstack.day.plan import Plan
from libs.common.devstack.day.wire import Wire


@dataclass(frozen=True, slots=True)
class Day:
    """``id`` is part of the ids of everything that the day invents."""

    id: str
    wire: Wire
    diary: Diary
    plan: Plan

    def now(self) -> datetime:
        return self.wire.ports.clock.now()

    def step(self, en: str, zh: str) -> AbstractAsyncContextManager[None]:
        return self.diary.step(en, zh)

    def department_of(self, patient: Patient) -> str:
        return next(s.department for s in self.plan.stays if s.patient.id == patient.id)
