"""Which results of a patient may those who decide on a renewal look up?

Kept is that there is a result, of what kind and since when; what was found stays with the
reports service. Released and recalled may come late, twice and in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
)
from libs.common.events import ReportKind, ResultRecalled, ResultReleased


class Result(Document):
    """A report as one patient's. Without ``released_at`` only its recall is known yet."""

    COLLECTION: ClassVar[str] = "results"

    report_id: str
    patient_id: str
    kind: ReportKind | None = None
    code: str | None = None
    report_version: int | None = None
    corrected: bool = False
    released_at: datetime | None = None
    recalled_at: datetime | None = None

    @property
    def is_recalled(self) -> bool:
        """Whether it was taken back and not released again."""
        return self.recalled_at is not None and (
            self.released_at is None or self.released_at <= self.recalled_at
        )


def result_id(told: ResultReleased | ResultRecalled) -> str:
    """A report that was filed under the wrong patient is recalled there, and released here."""
    return f"{told.report_id}|{told.patient_id}"  # neither may hold a bar


def needs_result(input: Input, state: State) -> Iterator[Need]:
    yield Need(Result, "id", result_id(input.data))


def _known(input: Input, state: State) -> Result:
    told: ResultReleased | ResultRecalled = input.data
    id = result_id(told)
    return state.get(Result, id) or Result(
        id=id, hospital=input.hospital, report_id=told.report_id, patient_id=told.patient_id
    )


def decide_released(input: Input, state: State, env: Env) -> Answer:
    told: ResultReleased = input.data
    known = _known(input, state)
    if known.released_at is not None and known.released_at >= told.released_at:
        return Refusal(Common.STALE)
    released = known.but(
        kind=told.kind,
        code=told.code,
        report_version=told.version,
        corrected=told.corrected,
        released_at=told.released_at,
    )
    return Decision(changes=(released,), note="result")


def decide_recalled(input: Input, state: State, env: Env) -> Answer:
    told: ResultRecalled = input.data
    known = _known(input, state)
    if known.recalled_at is not None and known.recalled_at >= told.recalled_at:
        return Refusal(Common.STALE)
    return Decision(changes=(known.but(recalled_at=told.recalled_at),), note="result_recalled")
