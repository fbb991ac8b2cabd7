"""What do the routes record and hide, whatever the store finds?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from libs.common.audit import Outcome
from libs.common.auth import Role
from libs.common.decision import Actor
from libs.common.events import Hold
from libs.common.http.problems import Problem
from services.reports.api.routes import ACCESS, mine
from services.reports.api.views import held_report
from tests.unit.reports.given import (
    DOCTOR,
    NOW,
    OTHER_DOCTOR,
    content,
    hospital,
    patient,
    policies,
    report,
)


class _Reads:
    def __init__(self) -> None:
        self.recorded: list[tuple[Any, ...]] = []

    async def of(self, patient_id: str, resource: str, *ids: str, outcome: Outcome) -> None:
        self.recorded.append((patient_id, resource, ids, outcome))


class _Store:
    async def patients_of(self, *_: object) -> frozenset[str]:
        return frozenset({"p1"})


async def test_asking_for_a_foreign_patients_list_is_recorded() -> None:
    ports = SimpleNamespace(clock=SimpleNamespace(now=lambda: NOW))
    parts: dict[str, Any] = {
        "request": SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(ports=ports))),
        "caller": SimpleNamespace(hospital="h1", actor=Actor("p1", frozenset({"patient"}))),
        "store": _Store(),
        "policy": policies().at(NOW),
        "page": SimpleNamespace(after=lambda _: None),
    }
    reads: Any = _Reads()
    with pytest.raises(Problem) as refused:
        await mine(**parts, reads=reads, patient_id="p2")
    assert refused.value.status_code == 404
    assert reads.recorded == [("p2", "DiagnosticReport", (), Outcome.MINOR_FAILURE)]


def test_the_list_of_what_is_held_shows_its_title_only_to_who_may_read_it() -> None:
    case = hospital()
    case.event(patient())
    case.event(content(critical=True))
    ops = Actor("ops1", frozenset({"ops"}), frozenset({"cardiology"}))
    assert held_report(report(case), DOCTOR).title == "Metabolic panel"
    assert [held_report(report(case), a).title for a in (ops, OTHER_DOCTOR)] == [None, None]


@pytest.mark.parametrize("reason", ["unpaid", None])
def test_the_list_of_what_is_held_says_why_the_hospital_holds_it(reason: str | None) -> None:
    case = hospital()
    case.event(patient())
    case.event(content(hold=Hold(on=True, reason=reason)))
    shown = held_report(report(case), DOCTOR)
    assert (shown.why, shown.hold_reason) == ("held", reason)
    assert held_report(report(case), OTHER_DOCTOR).hold_reason is None


def test_ops_lists_what_is_held_and_opens_nothing() -> None:
    opened = [
        r for r, roles in ACCESS.items() if isinstance(roles, frozenset) and Role.OPS in roles
    ]
    assert opened == [("GET", "/v1/held-reports")]
