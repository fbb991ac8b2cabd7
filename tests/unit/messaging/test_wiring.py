"""Do the parts of messaging fit together?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.cipher import sealed_fields
from libs.common.decision import Common, Decision, Document
from libs.common.events import Event
from libs.common.http.words import without_text
from libs.common.mongo.collection import CollectionSpec
from services.messaging.api.routes import TEXTS
from services.messaging.domain.message import Message
from services.messaging.domain.person import Person
from services.messaging.domain.talking import QUESTION_ANSWERED, QUESTION_ASKED, PostMessage, Reason
from services.messaging.handlers import POST
from services.messaging.main import SPEC
from services.messaging.store import COLLECTIONS
from tests.support.counted import since, stage
from tests.unit.messaging.given import DOCTOR, HOUR, MEMBER, running, say


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


def test_how_long_a_question_waited_for_its_answer_is_measured() -> None:
    case, before = running(), stage("question", "answered")
    asked = say(case, MEMBER, "May I fly?")
    assert isinstance(asked, Decision)
    case.advance(HOUR)
    reply = PostMessage(text="After six weeks.", reply_to=asked.result["id"])
    for _ in range(2):  # a second answer is not the first
        input = case.command_input(POST, reply, actor=DOCTOR, subject="g1")
        SPEC.observe(input, case.send(input))
    assert since(before, stage("question", "answered")) == (1, 3600)


#: What queries ask for besides the fields of indexes.
ASKED: dict[type[Document], set[str]] = {
    Message: {"group_id", "number", "addressee_id", "question"},
}


SEALED: dict[type[Document], set[str]] = {Message: {"text"}, Person: {"name"}}


@pytest.mark.parametrize("spec", COLLECTIONS, ids=lambda s: s.model.COLLECTION)
def test_nothing_that_is_sealed_is_searched_for(spec: CollectionSpec[Any]) -> None:
    searched = {field for index in spec.indexes for field in index.fields}
    model: type[Document] = spec.model
    assert not sealed_fields(model) & (searched | ASKED.get(model, set()))


def test_what_is_personal_is_sealed() -> None:
    for model, fields in SEALED.items():
        assert fields <= sealed_fields(model)
