"""Is everything that happens told in words, in both languages?"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from libs.common import events, yaml_files
from libs.common.devstack.page.hub import Hub
from libs.common.devstack.page.people import People
from libs.common.devstack.page.sentences import LANGUAGES, SENTENCES, WORDS
from libs.common.devstack.page.timeline import Entry, Timeline, facts
from libs.common.devstack.page.ui import UI
from libs.common.devstack.places import ROOT
from libs.common.events import EVENT_TYPES
from libs.common.undecodable import Reason
from tests.support.examples import BODIES, cloud_event

PAGE = Path(events.__file__).parents[1] / "devstack" / "page"
PLACES = re.compile(r"\{(\w+)\}")


def test_every_event_type_has_a_sentence_and_no_other_has() -> None:
    assert set(SENTENCES) == set(EVENT_TYPES)


@pytest.mark.parametrize("type", SENTENCES)
def test_both_languages_say_the_same_facts(type: str) -> None:
    sentence = SENTENCES[type]
    assert sorted(PLACES.findall(sentence.zh)) == sorted(PLACES.findall(sentence.en))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", BODIES)
def test_every_example_is_told_with_all_its_facts(name: str, language: str) -> None:
    event = cloud_event(name)
    places = PLACES.findall(SENTENCES[event.type].en)
    known = facts(event, language, People())
    told = {place: known.get(place) for place in places}
    # A status is optional in some examples; what a sentence is about never is.
    assert all(told.values()), told
    entry = Entry(id="1", at=0, service="x", sentence=SENTENCES[event.type], event=event)
    text = Timeline(People(), Hub()).told(entry, language)
    assert text and "{" not in text and "None" not in text


@pytest.mark.parametrize(
    "words",
    [
        events.Channel,
        events.ReportKind,
        events.ReportStatus,
        events.FulfilmentStatus,
        events.Relationship,
        events.VisitClass,
        events.StaffRole,
        events.ConsentScope,
        events.MessageKind,
        events.AuthorRole,
        events.MemberRole,
        Reason,
    ],
)
def test_the_words_of_closed_lists_are_translated(words: type[StrEnum]) -> None:
    assert {str(w) for w in words} - set(WORDS) == set()


def test_every_template_of_a_notification_has_words() -> None:
    folder = ROOT / "policies" / "templates"
    names = {n for path in folder.glob("*.yaml") for n in yaml_files.read(path)["templates"]}
    assert names - set(WORDS) == {"fallback"}  # which nobody asks for


def test_the_labels_are_those_that_the_templates_use() -> None:
    used = set()
    for template in (PAGE / "templates").glob("*.html"):
        used |= set(re.findall(r"""t\[["'](\w+)["']\]""", template.read_text(encoding="utf-8")))
    assert used == set(UI)


def test_every_label_is_said_in_both_languages() -> None:
    assert [key for key, (zh, en) in UI.items() if not zh or not en] == []
    for zh, en in UI.values():
        assert PLACES.findall(zh) == PLACES.findall(en)
