"""How long do patients wait for people, and against which target?

The targets of renewals and questions are those of the policies; no policy names one for the
others, so theirs stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.grafana.parts import JOB, Board, Panel, Query, Traces, quantile
from libs.common.metrics import STAGE_SECONDS

_FOLDER: Final = Path(__file__).parents[2] / "policies"
HOUR: Final = 3600


def _newest(folder: str) -> Any:
    read = [yaml.safe_load(p.read_bytes()) for p in (_FOLDER / folder).glob("*.yaml")]
    return max(read, key=lambda policy: policy["in_force_from"])


_DEADLINES: Final = _newest("renewal")["rules"]["deadlines"]["parameters"]
_QUESTION: Final = _newest("messaging")["question"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What waits for people: its stage in both metrics, and within how many hours it is done."""

    title: str
    journey: str
    stage: str
    waiting: str
    hours: int
    about: str
    #: TraceQL of the requests with which people end it.
    done_by: str

    @property
    def within(self) -> int:
        """The bucket that counts as in time: the largest that is not beyond the target."""
        return max(int(bound) for bound in STAGE_SECONDS if bound <= self.hours * HOUR)

    @property
    def where(self) -> str:
        return f'{JOB}, journey="{self.journey}", stage="{self.stage}"'


WAITS: Final = (
    Wait(
        "Doctors decide on renewals",
        "refill",
        "doctor",
        "doctor",
        _DEADLINES["doctor_hours"],
        "From the patient's request to the doctor's first decision. When the time is over the "
        "renewal expires and the patient has to ask again.",
        '{ span.http.route = "/v1/refills/{id}/doctor-decision" }',
    ),
    Wait(
        "Pharmacists review",
        "refill",
        "pharmacist",
        "pharmacist",
        _DEADLINES["pharmacist_hours"],
        "From the doctor's signature to the pharmacist's answer. A prescription is valid on the "
        "day that it was signed, so what waits longer expires.",
        '{ span.http.route = "/v1/refills/{id}/pharmacist-review" }',
    ),
    Wait(
        "Questions in groups are answered",
        "question",
        "answered",
        "question",
        _QUESTION["told_hours"],
        "From a question in a group to the first answer of its doctor or nurse.",
        '{ span.http.route = "/v1/groups/{group_id}/messages" '
        '&& span.http.request.method = "POST" }',
    ),
    Wait(
        "Doctors release critical results",
        "report",
        "doctor",
        "critical|talk_first",
        4,
        "From a report's issue to its release by a doctor who has talked with the patient: danger "
        "values (critical) and what is never told by a push (talk_first).",
        '{ span.http.route = "/v1/reports/{id}/release" }',
    ),
    Wait(
        "Departments see to those who were not invited",
        "discharge",
        "staff",
        "staff_task",
        48,
        "From a line on a department's list to whoever ticked it off: people whom the platform "
        "could not invite by itself.",
        '{ span.http.route = "/v1/staff-tasks/{id}/close" }',
    ),
)


def _row(wait: Wait) -> tuple[str, tuple[Panel, ...]]:
    target = wait.hours * HOUR
    counted = f"sum(increase(journey_stage_seconds_count{{{wait.where}}}[$__range]))"
    bucket = f'{wait.where}, le="{wait.within}.0"'
    in_time = f"sum(increase(journey_stage_seconds_bucket{{{bucket}}}[$__range]))"
    oldest = f'{JOB}, stage=~"{wait.waiting}"'
    return (
        f"{wait.title}: within {wait.hours} h",
        (
            Panel(
                "In time",
                f"{wait.about} The share done within {wait.hours} hours, of what was done in the "
                "time that is shown (nothing done: 100 %). Below 90 %: talk with the head of those "
                "who are late; the numbers are nobody's person.",
                [Query(f"({in_time} / ({counted} > 0)) or on() vector(1)")],
                kind="number",
                unit="percentunit",
                width=4,
                limits=(0.9, 0.98),
                more_is_better=True,
            ),
            Panel(
                "How long it took",
                f"{wait.about} Half were faster than p50, one in ten was slower than p90; the "
                "target is the dashed line. Points are examples: a click leads to their trace.",
                [
                    quantile(0.5, "journey_stage_seconds", "", wait.where),
                    quantile(0.9, "journey_stage_seconds", "", wait.where),
                ],
                unit="s",
                limits=(target / 2, target),
                traces=("Traces of what people did", wait.done_by),
            ),
            Panel(
                "Oldest waiting",
                "For how long what has waited longest has waited. Beyond the dashed line somebody "
                "waits too long now: ring whoever should see to it.",
                [Query(f"max by (stage) (waiting_oldest_age_seconds{{{oldest}}})", "{{stage}}")],
                unit="s",
                limits=(target / 2, target),
            ),
            Panel(
                "Waiting",
                "How many wait now (at most 10,000 are counted). It grows from day to day: there "
                "are too few people for it, or too few who know of it.",
                [Query(f"max by (stage) (waiting_for_person{{{oldest}}})", "{{stage}}")],
                width=4,
            ),
        ),
    )


PEOPLE: Final = Board(
    uid="lianxin-people",
    title="Response times of people",
    chinese="人工响应时间",
    about="How long patients wait for doctors, pharmacists and nurses, against the targets",
    rows=(
        *map(_row, WAITS),
        (
            "Traces",
            (
                Traces(
                    "Slow answers to staff",
                    "Requests of doctors and pharmacists that took over a second: a slow screen "
                    "makes slow people.",
                    '{ span.http.route =~ "/v1/(refills|work-lists)/.*" && duration > 1s }',
                ),
            ),
        ),
    ),
)
