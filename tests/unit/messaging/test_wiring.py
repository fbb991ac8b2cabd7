"""Do the parts of messaging fit together?"""

from __future__ import annotations

from pathlib import Path

import yaml

from libs.common.decision import Common
from libs.common.events import Event
from libs.common.http.words import without_text
from services.messaging.api.routes import TEXTS
from services.messaging.domain.talking import QUESTION_ANSWERED, QUESTION_ASKED, Reason
from services.messaging.main import SPEC


def test_every_refusal_is_told_in_both_languages() -> None:
    assert without_text(TEXTS, [*Reason, *Common]) == set()


def test_notify_has_a_text_for_whatever_messaging_asks_it_to_tell() -> None:
    known: set[str] = set()
    for file in Path("policies/templates").glob("*.yaml"):
        known |= yaml.safe_load(file.read_text(encoding="utf-8"))["templates"].keys()
    assert {QUESTION_ASKED, QUESTION_ANSWERED} <= known


def test_messaging_reads_the_topics_of_the_events_that_it_handles() -> None:
    handled = {h.data.TOPIC for h in SPEC.handlers.values() if issubclass(h.data, Event)}
    assert handled == set(SPEC.topics)
