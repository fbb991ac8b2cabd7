"""How is messaging put together? ``python -m services.messaging.main``"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from libs.common import service, yaml_files
from libs.common.decision import Answer, Input
from libs.common.service import Runtime, ServiceSpec
from libs.common.wakes import Wakes
from services.messaging.api.routes import ACCESS, TEXTS, router
from services.messaging.domain.message import Message
from services.messaging.domain.policy import Policy
from services.messaging.handlers import HANDLERS
from services.messaging.settings import Settings
from services.messaging.store import COLLECTIONS


def load_policy(settings: Settings) -> Policy:
    folder = settings.policies_dir
    return Policy(
        figures=_read(folder / "messaging"),
        rules=_read(folder / "consents", only="rules."),
        sheets=_read(folder / "education"),
        zone=ZoneInfo(settings.hospital_time_zone),
    )


def _read(folder: Path, only: str = "") -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob(f"{only}*.yaml")):
        yield yaml_files.read(file)


def new_spec() -> ServiceSpec:
    """Messaging with wakes of its own: two replicas in one process need two."""
    wakes = Wakes(Message.COLLECTION, "group_id")

    def committed(_input: Input, answer: Answer) -> None:
        for doc in answer.changes:
            if isinstance(doc, Message):
                wakes.wake((doc.hospital, doc.group_id))

    def background(runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
        return [wakes.listen(runtime.database, runtime.ports)]

    return ServiceSpec(
        name="messaging",
        settings=Settings,
        topics=("enrollment.events", "enrollment.groups", "hospital.patients", "hospital.staff"),
        handlers=HANDLERS,
        collections=COLLECTIONS,
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
