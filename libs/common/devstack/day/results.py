"""What must happen when reports of all kinds are finished?

A final one is told and can be read by its patient and nobody else; what is preliminary,
held, critical or wants to be talked about first stays with the staff.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from libs.common.devstack.day.cast import DOCTORS, Patient
from libs.common.devstack.day.context import Day
from libs.common.devstack.day.hearing import eventually, require
from libs.common.devstack.day.records import report
from libs.common.devstack.day.wire import HOSPITAL
from libs.common.events import (
    Hold,
    Interpretation,
    Observation,
    ReferenceRange,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
    ResultRecalled,
    ResultReleased,
    ResultViewed,
)

LIS = f"/hospitals/{HOSPITAL}/lis"
READY, CORRECTED, CRITICAL = "report.ready", "report.corrected", "report.critical"

GLUCOSE = Observation(
    code="2345-7",
    display="葡萄糖",
    value=7.93,
    unit="mmol/L",
    reference_range=ReferenceRange(low=3.9, high=6.1),
    interpretation=Interpretation.HIGH,
)
POTASSIUM = Observation(
    code="2823-3",
    display="血钾",
    value=6.87,
    unit="mmol/L",
    reference_range=ReferenceRange(low=3.5, high=5.3),
    interpretation=Interpretation.CRITICALLY_HIGH,
)
#: What a text must never hold: the values and words of a result.
RESULTS = ("7.93", "6.87", "4.18", "葡萄糖", "血钾", "腺癌", "mmol")


class Results:
    def __init__(self, day: Day) -> None:
        self._day, self._wire = day, day.wire
        self._count = 0

    async def play(self, adults: Sequence[Patient], child: Patient) -> None:
        """Nine reports, of eight adults and a child."""
        a, b, c, d, e, f, g, h = adults[:8]
        await asyncio.gather(
            self._laboratory(a, other=b),
            self._imaging(b),
            self._pathology(c),
            self._critical(d),
            self._preliminary(e),
            self._corrected(f),
            self._held(g),
            self._withdrawn(h),
            self._of_a_child(child),
        )

    def report(self, patient: Patient, title: str, kind: ReportKind, **more: Any) -> ReportReady:
        self._count += 1
        return report(
            patient,
            f"r-{self._day.id}-{self._count:02}",
            self._day.now(),
            self._day.department_of(patient),
            title=title,
            kind=kind,
            **more,
        )

    async def _send(self, name: str, told: ReportReady | ReportCorrected) -> None:
        with self._wire.tracing(name):
            await self._wire.publish(self._wire.event(told, source=LIS))

    async def _told(self, patient: Patient, template: str = READY, count: int = 1) -> None:
        message = await self._wire.told(patient.caller, template, count, patient_id=patient.id)
        text = f"{message['title']} {message['body']}"
        require(not any(r in text for r in RESULTS), f"no result in the text “{text}”")

    async def _hidden(self, patient: Patient, report_id: str) -> None:
        """Staff have it, so it is there, and its patient does not see it."""
        doctor = DOCTORS[self._day.department_of(patient)].caller
        await eventually(
            f"report {report_id} is there for staff",
            lambda: self._found(doctor, report_id),
        )
        await self._wire.get(patient.caller, "reports", f"/v1/reports/{report_id}", expect=404)

    async def _found(self, who: Any, report_id: str) -> Any:
        answer = await self._wire.call(
            who, "GET", "reports", f"/v1/reports/{report_id}", expect=None
        )
        return answer.json() if answer.status_code == 200 else None

    async def _release(self, patient: Patient, report_id: str) -> None:
        """The doctor finds it on the list of what is held, has talked, and releases it."""
        doctor = DOCTORS[self._day.department_of(patient)].caller
        held = await self._wire.items(doctor, "reports", "/v1/held-reports")
        require(report_id in [r["id"] for r in held], f"{report_id} is on the held list")
        await self._wire.post(doctor, "reports", f"/v1/reports/{report_id}/release")
        await self._told(patient)

    async def _laboratory(self, patient: Patient, other: Patient) -> None:
        found = self.report(patient, "空腹血糖", ReportKind.LABORATORY, observations=(GLUCOSE,))
        path = f"/v1/reports/{found.report_id}"
        async with self._day.step(
            "a laboratory report is told without its result, read by its patient, 404 for others",
            "检验报告：推送不含结果，本人可看，他人 404",
        ):
            await self._send("a laboratory report", found)
            await self._wire.hears(ResultReleased, report_id=found.report_id)
            await self._told(patient)
            read = await self._wire.get(patient.caller, "reports", path)
            require(read["observations"][0]["value"] == 7.93, "the patient reads the value")
            await self._wire.hears(ResultViewed, report_id=found.report_id, person_id=patient.id)
            await self._wire.get(other.caller, "reports", path, expect=404)

    async def _imaging(self, patient: Patient) -> None:
        found = self.report(
            patient, "头颅磁共振", ReportKind.IMAGING, code="24590-2", conclusion="未见急性梗死灶。"
        )
        async with self._day.step("an imaging report is told", "影像报告推送"):
            await self._send("an imaging report", found)
            await self._told(patient)

    async def _pathology(self, patient: Patient) -> None:
        found = self.report(
            patient, "病理", ReportKind.PATHOLOGY, code="60567-5", conclusion="中分化腺癌。"
        )
        async with self._day.step(
            "a pathology report waits until the doctor has talked with the patient",
            "病理报告：医生谈话后才发布",
        ):
            await self._send("a pathology report", found)
            await self._hidden(patient, found.report_id)
            await self._release(patient, found.report_id)

    async def _critical(self, patient: Patient) -> None:
        found = self.report(
            patient, "电解质", ReportKind.LABORATORY, critical=True, observations=(POTASSIUM,)
        )
        doctor = DOCTORS[self._day.department_of(patient)].caller
        async with self._day.step(
            "a critical value tells the ordering doctor and not the patient",
            "危急值：通知开单医生，不推送患者",
        ):
            await self._send("a critical report", found)
            await self._wire.told(doctor, CRITICAL, patient_id=patient.id)
            await self._hidden(patient, found.report_id)
            await self._release(patient, found.report_id)

    async def _preliminary(self, patient: Patient) -> None:
        first = self.report(
            patient, "血培养", ReportKind.MICROBIOLOGY, status=ReportStatus.PRELIMINARY
        )
        final = first.model_copy(update={"status": ReportStatus.FINAL, "version": 2})
        async with self._day.step(
            "a preliminary report is kept, the final one told", "初步报告只存不推，终审后推送"
        ):
            await self._send("a preliminary report", first)
            await self._hidden(patient, first.report_id)
            await self._send("its final version", final)
            await self._told(patient)

    async def _corrected(self, patient: Patient) -> None:
        wrong = self.report(patient, "糖耐量", ReportKind.LABORATORY, observations=(GLUCOSE,))
        right = GLUCOSE.model_copy(update={"value": 4.18, "interpretation": Interpretation.NORMAL})
        corrected = ReportCorrected(
            **{
                **wrong.model_dump(),
                "version": 2,
                "status": ReportStatus.CORRECTED,
                "observations": (right,),
                "corrects": 1,
                "correction": "样本已复检。",
            }
        )
        async with self._day.step(
            "a corrected report replaces the wrong one and tells again",
            "更正报告替换原报告并再次推送",
        ):
            await self._send("a report that is wrong", wrong)
            await self._told(patient)
            await self._send("its correction", corrected)
            await self._told(patient, CORRECTED)
            read = await self._wire.get(patient.caller, "reports", f"/v1/reports/{wrong.report_id}")
            require(read["observations"][0]["value"] == 4.18, "the corrected value is shown")

    async def _held(self, patient: Patient) -> None:
        held = self.report(
            patient, "腹部超声", ReportKind.ULTRASOUND, hold=Hold(on=True, reason="under_review")
        )
        free = held.model_copy(update={"hold": Hold(), "version": 2})
        async with self._day.step(
            "a report that the hospital holds is told when the hold ends",
            "暂缓发布的报告解除后推送",
        ):
            await self._send("a held report", held)
            await self._hidden(patient, held.report_id)
            await self._send("the end of its hold", free)
            await self._told(patient)

    async def _withdrawn(self, patient: Patient) -> None:
        found = self.report(patient, "心电图", ReportKind.FUNCTION_TEST, code="11524-6")
        async with self._day.step(
            "a withdrawn report can no longer be read", "撤回的报告不能再查看"
        ):
            await self._send("a report", found)
            await self._told(patient)
            await self._wire.publish(
                ReportWithdrawn(
                    report_id=found.report_id,
                    patient_id=patient.id,
                    withdrawn_at=self._day.now(),
                    reason="登记有误",
                )
            )
            await self._wire.hears(ResultRecalled, report_id=found.report_id)
            await self._wire.get(
                patient.caller, "reports", f"/v1/reports/{found.report_id}", expect=410
            )

    async def _of_a_child(self, child: Patient) -> None:
        found = self.report(child, "尿常规", ReportKind.LABORATORY, code="24356-8")
        async with self._day.step(
            "a child's report is told to the guardians and not to the child",
            "儿童报告推送监护人，不推送儿童",
        ):
            await self._send("a child's report", found)
            for _, guardian in child.guardians:
                await self._wire.told(guardian.caller, READY, patient_id=child.id)
                await self._wire.get(guardian.caller, "reports", f"/v1/reports/{found.report_id}")
            require(
                not [m for m in await self._wire.inbox(child.caller) if m["template"] == READY],
                "the child's own inbox has no report",
            )
