"""How is messaging put together? ``python -m services.messaging.main``"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from libs.common import exemplars, metrics, service, yaml_files
from libs.common.decision import Answer, Input
from libs.common.events import QuestionAnswered
from libs.common.runtime import Runtime, ServiceSpec
from libs.common.wakes import Wakes
from services.messaging.api.routes import ACCESS, TEXTS, router
from services.messaging.domain.message import Message
from services.messaging.domain.policy import Figures, Policy, Sheet, rules_sheet
from services.messaging.handlers import HANDLERS
from services.messaging.settings import Settings
from services.messaging.store import COLLECTIONS, WAITS


def load_policy(settings: Settings) -> Policy:
    folder = settings.policies_dir
    return Policy(
        figures=yaml_files.checked(folder / "messaging", Figures.model_validate),
        rules=yaml_files.checked(folder / "consents", rules_sheet, "rules.*.yaml"),
        sheets=yaml_files.checked(folder / "education", Sheet.model_validate),
        zone=ZoneInfo(settings.hospital_time_zone),
    )


def _took(time: timedelta, input: Input) -> None:
    metrics.JOURNEY_STAGE_SECONDS.labels(journey="question", stage="answered").observe(
        time.total_seconds(), exemplars.of(input.traceparent)
    )


metrics.begin("question", "answered")


def new_spec() -> ServiceSpec:
    """Messaging with wakes of its own: two replicas in one process need two."""
    wakes = Wakes(Message.COLLECTION, "group_id")

    def committed(input: Input, answer: Answer) -> None:
        for doc in answer.changes:
            if isinstance(doc, Message):
                wakes.wake((doc.hospital, doc.group_id))
        for emit in answer.events:
            if isinstance(emit.data, QuestionAnswered):
                _took(emit.data.answered_at - emit.data.asked_at, input)

    def background(runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
        return [wakes.listen(runtime.database, runtime.ports)]

    return ServiceSpec(
        name="messaging",
        settings=Settings,
        topics=("enrollment.events", "enrollment.groups", "hospital.patients", "hospital.staff"),
        handlers=HANDLERS,
        collections=COLLECTIONS,
        waits=WAITS,
        routers=(router(wakes),),
        access=ACCESS,
        texts=TEXTS,
        policy=load_policy,
        observe=committed,
        background=background,
    )


SPEC = new_spec()

if __name__ == "__main__":
    service.main(SPEC)
