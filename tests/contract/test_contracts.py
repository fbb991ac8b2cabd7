"""Are the published contracts true? And would we notice if they were not?"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from libs.common.devstack.places import ROOT, SERVICES
from libs.common.events import EVENT_TYPES, Event
from libs.common.migrate import INBOX_DAYS
from libs.common.replays import replay_topic
from libs.common.topic_registry import Topic
from scripts.contracts import (
    CONTRACTS,
    compatibility,
    drift,
    examples,
    generate,
    main,
    registry,
)
from scripts.published import Published, read, read_at
from scripts.schemas import schema_of
from services.interop.domain.partners import PUBLISHABLE
from tests.support.examples import BODIES

DISCHARGED = "hospital.encounter.discharged.v1"
MOVED = "hospital.member.moved.v1"
ASYNCAPI = "asyncapi.yaml: its topics and types are not the registry's; generate it again"


@pytest.fixture
def published() -> Published:
    return read(CONTRACTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(CONTRACTS, tmp_path / "contracts")


# -- the contracts as they are ----------------------------------------------------------


def test_the_schemas_are_those_of_the_classes(published: Published) -> None:
    assert drift(EVENT_TYPES, published, CONTRACTS) == []


def test_every_example_satisfies_class_and_schema() -> None:
    assert examples(EVENT_TYPES, CONTRACTS) == []


def test_every_type_is_on_the_topic_that_its_class_names(published: Published) -> None:
    assert registry(EVENT_TYPES, published.topics) == []


def test_every_consumer_has_topics_for_its_dead_letters_and_for_what_it_reads_again(
    published: Published,
) -> None:
    topics = published.topics.values()
    assert {t.name for t in topics if t.dead_letters} == {f"lianxin.{s}.dlq" for s in SERVICES}
    assert {t.name for t in topics if t.replays} == {f"lianxin.{s}.replay" for s in SERVICES}
    for topic in topics:
        if topic.replays:  # nobody but its consumer
            assert topic.consumers == [topic.name.removesuffix(".replay")]


def test_partners_may_what_the_partner_kit_tells_them(published: Published) -> None:
    for name, topic in published.topics.items():
        assert ("read" in topic.partners) == (name != "notify.requests" and not topic.internal)
        assert ("write" in topic.partners) == name.startswith(("hospital.", "notify.requests"))


@pytest.mark.parametrize("service", SERVICES)
def test_the_topics_that_a_service_reads_name_it_as_consumer(
    published: Published, service: str
) -> None:
    wired = set(importlib.import_module(f"services.{service}.main").SPEC.topics)
    group = f"lianxin.{service}"
    listed = {name for name, t in published.topics.items() if group in t.consumers}
    assert listed == wired | {replay_topic(group)}


@pytest.mark.parametrize("service", SERVICES)
def test_the_topics_that_a_service_writes_name_it_as_producer(
    published: Published, service: str
) -> None:
    named = {
        name
        for name, topic in published.topics.items()
        if f"lianxin.{service}" in topic.producers and not topic.dead_letters
    }
    assert written(service) | (PUBLISHABLE if service == "interop" else set()) == named


def written(service: str) -> set[str]:
    """The topics of the events that its code makes, by ``Event(…)`` or ``fact(Event, …)``."""
    topic = {model.__name__: model.TOPIC for model in EVENT_TYPES.values()}
    found = set()
    for file in (ROOT / "services" / service).rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                made = [call.func, *call.args[:1]] if call.func.id == "fact" else [call.func]
                found |= {topic[n.id] for n in made if isinstance(n, ast.Name) and n.id in topic}
    return found


# -- class and schema say the same ------------------------------------------------------

#: No text that ends in a line break: Python's ``$``, unlike ECMA's, matches before it.
WRONG: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 1.5, "", "x", "x y", "字" * 9000),
    *([], {}, [1], ["x"], {"a": 1}, {"a": "x"}),
)
FORMATS = FormatChecker()


@FORMATS.checks("date-time")
def _rfc3339(value: object) -> bool:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(form, value) is not None


def mutations(body: Any) -> Iterator[Any]:
    """``body`` with one part, however deep, left out or replaced."""
    if isinstance(body, Mapping):
        for key, value in body.items():
            yield {k: v for k, v in body.items() if k != key}
            for other in (*WRONG, *mutations(value)):
                yield {**body, key: other}
    elif isinstance(body, list):
        for n, value in enumerate(body):
            for other in (*WRONG, *mutations(value)):
                yield [*body[:n], other, *body[n + 1 :]]


def takes(model: type[Event], body: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(body), strict=True)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", BODIES)
def test_class_and_schema_agree_on_every_mutation_of_an_example(name: str) -> None:
    model = EVENT_TYPES[name.partition("/")[0]]
    validator = Draft202012Validator(schema_of(model), format_checker=FORMATS)
    taken = 0
    for body in mutations(json.loads(BODIES[name])):
        assert takes(model, body) == validator.is_valid(body), body
        taken += validator.is_valid(body)
    assert taken, "some mutations are harmless, such as leaving an optional field out"


# -- what is wrong is found -------------------------------------------------------------


def test_a_class_that_changed_without_its_schema_is_found(folder: Path) -> None:
    path = folder / "schemas" / f"{DISCHARGED}.json"
    path.write_text(path.read_text().replace('"maxLength": 128', '"maxLength": 127', 1))
    assert drift(EVENT_TYPES, read(folder), folder) == [
        f"{DISCHARGED}: the schema is not what class and examples say; generate it again"
    ]
    assert generate(EVENT_TYPES, folder) == [f"{DISCHARGED}.json"]
    assert drift(EVENT_TYPES, read(folder), folder) == []


def test_a_schema_that_is_missing_or_left_over_is_found(folder: Path) -> None:
    path = folder / "schemas" / f"{DISCHARGED}.json"
    path.rename(folder / "schemas" / "hospital.other.v1.json")
    assert drift(EVENT_TYPES, read(folder), folder) == [
        "hospital.other.v1: a schema of no event class",
        f"{DISCHARGED}: no schema; generate it",
        ASYNCAPI,
    ]
    assert generate(EVENT_TYPES, folder) == ["hospital.other.v1.json", f"{DISCHARGED}.json"]
    assert drift(EVENT_TYPES, read(folder), folder) == []


def test_a_type_without_example_is_found(folder: Path) -> None:
    (folder / "examples" / DISCHARGED).rename(folder / "examples" / "hospital.other.v1")
    assert examples(EVENT_TYPES, folder) == [
        "hospital.other.v1: examples of no event class",
        f"{DISCHARGED}: no example",
    ]


def test_an_example_that_is_wrong_is_found_by_class_and_by_schema(folder: Path) -> None:
    path = folder / "examples" / DISCHARGED / "child.json"
    body = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(body | {"disposition": "moon", "unheard_of": 1}))
    found = examples(EVENT_TYPES, folder)
    assert [line.partition("json: ")[2][:20] for line in found] == [
        "the class refuses it",
        "the schema refuses i",
        "unknown fields ['unh",
    ]


def test_a_field_that_no_example_shows_is_found(folder: Path) -> None:
    for path in (folder / "examples" / DISCHARGED).glob("*.json"):
        body = json.loads(path.read_text("utf-8"))
        body.pop("attending", None)
        for guardian in body.get("guardians", ()):
            guardian.pop("relationship", None)
        path.write_text(json.dumps(body))
    assert examples(EVENT_TYPES, folder) == [
        f"{DISCHARGED}: no example shows attending",
        f"{DISCHARGED}: no example shows Attending.practitioner_id",
        f"{DISCHARGED}: no example shows Attending.name",
        f"{DISCHARGED}: no example shows Guardian.relationship",
    ]


def test_an_example_that_changed_without_its_schema_is_found(folder: Path) -> None:
    path = folder / "examples" / DISCHARGED / "adult.json"
    path.write_text(path.read_text("utf-8").replace("p-100234", "p-100235"))
    assert drift(EVENT_TYPES, read(folder), folder) == [
        f"{DISCHARGED}: the schema is not what class and examples say; generate it again"
    ]


def test_every_field_has_a_title_a_description_and_examples(published: Published) -> None:
    for name, schema in published.schemas.items():
        for part in (schema, *schema.get("$defs", {}).values()):
            assert part["title"] and part["description"], name
            for field, told in part.get("properties", {}).items():
                assert told["title"] and told["description"] and told["examples"], (name, field)


def test_titles_are_plain_words() -> None:
    schema = schema_of(EVENT_TYPES["hospital.encounter.discharge_cancelled.v1"])
    assert schema["properties"]["discharge_event_id"]["title"] == "Discharge event ID"
    assert schema_of(EVENT_TYPES[DISCHARGED])["$defs"]["PatientSnapshot"]["title"] == (
        "Patient snapshot"
    )


def changed(published: Published, name: str, /, **changes: Any) -> dict[str, Topic]:
    topic = Topic.model_validate(published.topics[name].model_dump() | changes)
    return {**published.topics, name: topic}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"types": []}, f"{DISCHARGED}: on no topic"),
        ({"key": "encounter_id"}, f"{DISCHARGED}: its class says key patient_id"),
        ({"name": "other"}, "hospital.encounters.yaml: names itself other"),
        ({"name": "other"}, f"{DISCHARGED}: its class says topic hospital.encounters, not other"),
        ({"consumers": ["lianxin.other"]}, "lianxin.other has no topic lianxin.other.dlq"),
        ({"max_message_bytes": 1048576}, "max_message_bytes must be 4194304"),
        (
            {"types": [{"type": "hospital.other.v1", "status": "draft"}]},
            "hospital.other.v1: on a topic, but no event class",
        ),
        (
            {"types": [{"type": "hospital.member.left.v1", "status": "draft"}]},
            "hospital.member.left.v1: on 2 topics",
        ),
    ],
)
def test_a_wrong_entry_of_the_registry_is_found(
    published: Published, changes: dict[str, Any], found: str
) -> None:
    lines = registry(EVENT_TYPES, changed(published, "hospital.encounters", **changes))
    assert any(found in line for line in lines), lines


def test_a_class_under_anothers_type_is_found(published: Published) -> None:
    types = {**EVENT_TYPES, MOVED: EVENT_TYPES["hospital.member.left.v1"]}
    assert registry(types, published.topics) == [f"{MOVED}: its class says hospital.member.left.v1"]


# -- a promise that is broken is found --------------------------------------------------


def planted(change: str) -> dict[str, Any]:
    """The schema of a discharge after ``change``, a statement about ``s`` and its parts."""
    s: dict[str, Any] = copy.deepcopy(schema_of(EVENT_TYPES[DISCHARGED]))
    names = {"s": s, "p": s["properties"], "d": s["$defs"], "r": s["required"]}
    exec(change, names)
    return s


BREAKING = {
    "a field is removed": ("del p['attending']", "body.attending: removed"),
    "a required field is removed": (
        "del p['department']; r.remove('department')",
        "body.department: removed",
    ),
    "a field deep inside is removed": (
        "del d['Guardian']['properties']['phone']",
        "body.guardians.items.phone: removed",
    ),
    "a field is retyped": (
        "p['encounter_id'] = {'type': 'integer'}",
        "body.encounter_id: retyped (type string became integer)",
    ),
    "a format changes": (
        "p['discharged_at']['format'] = 'date'",
        "body.discharged_at: retyped (format date-time became date)",
    ),
    "an alternative is retyped": (
        "p['admitted_at']['anyOf'][0]['type'] = 'number'",
        "body.admitted_at: retyped (type string became number)",
    ),
    "null is no longer allowed": (
        "p['attending'] = {'$ref': '#/$defs/Attending'}",
        "body.attending: retyped (2 alternatives became 1)",
    ),
    "null is newly allowed": (
        "p['encounter_id'] = {'anyOf': [p['encounter_id'], {'type': 'null'}]}",
        "body.encounter_id: retyped (1 alternatives became 2)",
    ),
    "a new field is required": (
        "p['ward'] = {'type': 'string'}; r.append('ward')",
        "body.ward: newly required",
    ),
    "an optional field becomes required": (
        "r.append('guardians')",
        "body.guardians: newly required",
    ),
    "a field deep inside becomes required": (
        "d['Diagnosis']['required'].append('display')",
        "body.diagnoses.items.display: newly required",
    ),
    "a required field becomes optional": (
        "r.remove('disposition')",
        "body.disposition: no longer required",
    ),
    "an enum gets a value": (
        "d['Disposition']['enum'].append('moon')",
        "body.disposition: new value 'moon'",
    ),
    "an enum loses a value": (
        "d['Disposition']['enum'].remove('other')",
        "body.disposition: value 'other' removed",
    ),
    "an enum appears": (
        "p['encounter_id']['enum'] = ['a']",
        "body.encounter_id: tightened (enum)",
    ),
    "a maximum falls": (
        "p['guardians']['maxItems'] = 2",
        "body.guardians: tightened (maxItems)",
    ),
    "a maximum grows": (
        "p['guardians']['maxItems'] = 99",
        "body.guardians: loosened (maxItems)",
    ),
    "a maximum appears": (
        "p['discharged_at']['maxLength'] = 20",
        "body.discharged_at: tightened (maxLength)",
    ),
    "a maximum goes": ("del p['guardians']['maxItems']", "body.guardians: loosened (maxItems)"),
    "a minimum grows": (
        "d['Diagnosis']['properties']['rank']['minimum'] = 2",
        "body.diagnoses.items.rank: tightened (minimum)",
    ),
    "a minimum falls": (
        "d['Diagnosis']['properties']['rank']['minimum'] = 0",
        "body.diagnoses.items.rank: loosened (minimum)",
    ),
    "a pattern changes": (
        "p['encounter_id']['pattern'] = '^[0-9]+$'",
        "body.encounter_id: changed (pattern)",
    ),
    "a default changes": (
        "d['Procedure']['properties']['system']['default'] = 'ICHI'",
        "body.procedures.items.system: changed (default)",
    ),
    "unknown fields are forbidden": (
        "s['additionalProperties'] = False",
        "body: changed (additionalProperties)",
    ),
}


@pytest.mark.parametrize(("change", "found"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_of_a_stable_type_is_found(
    published: Published, change: str, found: str
) -> None:
    after = Published({**published.schemas, DISCHARGED: planted(change)}, published.topics)
    assert f"{DISCHARGED}: {found}" in compatibility(published, after)


@pytest.mark.parametrize(
    "change",
    [
        "p['ward'] = {'type': 'string', 'default': 'none'}",
        "d['Guardian']['properties']['title'] = {'type': 'string'}",
        "p['encounter_id']['description'] = 'better words'",
        "p['encounter_id']['title'] = 'Better words'; d['Guardian']['title'] = 'Who cares'",
        "p['encounter_id']['examples'] = ['e-1']; d['Guardian']['examples'] = [{}]",
        "d['Disposition']['enum'].reverse()",
        "r.reverse()",
        "p['encounter_id']['x-sensitive'] = True",
        "d['Where'] = d.pop('Disposition'); p['disposition']['$ref'] = '#/$defs/Where'",
    ],
)
def test_a_harmless_change_passes(published: Published, change: str) -> None:
    after = Published({**published.schemas, DISCHARGED: planted(change)}, published.topics)
    assert compatibility(published, after) == []


def with_status(published: Published, name: str, status: str | None) -> Published:
    """The contracts with the status of a type changed, or without the type."""
    topics = {}
    for topic in published.topics.values():
        types = [t.model_dump() for t in topic.types]
        types = [t | {"status": status} if t["type"] == name else t for t in types]
        kept = [t for t in types if t["type"] != name or status]
        topics[topic.name] = Topic.model_validate(topic.model_dump() | {"types": kept})
    schemas = {k: v for k, v in published.schemas.items() if k != name or status}
    return Published(schemas, topics)


def test_a_draft_may_change_and_go(published: Published) -> None:
    before = with_status(published, DISCHARGED, "draft")
    schemas = {**published.schemas, DISCHARGED: planted("r.remove('disposition')")}
    assert compatibility(before, Published(schemas, published.topics)) == []
    assert compatibility(before, with_status(published, DISCHARGED, None)) == []


def test_a_stable_type_may_not_go(published: Published) -> None:
    found = compatibility(published, with_status(published, DISCHARGED, None))
    assert found == [
        f"{DISCHARGED}: a stable type may not go; publish a new major version beside it"
    ]


def test_a_stable_type_may_not_become_a_draft_and_so_escape(published: Published) -> None:
    schemas = {**published.schemas, DISCHARGED: planted("r.remove('disposition')")}
    after = with_status(Published(schemas, published.topics), DISCHARGED, "draft")
    found = compatibility(published, after)
    assert found == [f"{DISCHARGED}: once stable, it can't be a draft again"]


def test_a_new_type_is_no_break(published: Published) -> None:
    assert compatibility(with_status(published, DISCHARGED, None), published) == []


@pytest.mark.parametrize("changes", [{"partitions": 12}, {"key": "encounter_id"}])
def test_key_and_partitions_of_a_topic_stay(published: Published, changes: dict[str, Any]) -> None:
    after = Published(published.schemas, changed(published, "hospital.encounters", **changes))
    assert compatibility(published, after) == [
        "hospital.encounters: key and partitions are fixed when a topic is made"
    ]


def test_a_field_may_be_called_like_a_keyword(published: Published) -> None:
    before = {DISCHARGED: planted("p['title'] = p['examples'] = {'type': 'string'}")}
    after = Published(
        {**published.schemas, DISCHARGED: planted("p['title'] = {'type': 'integer'}")}
    )
    found = compatibility(
        Published(before, published.topics), Published(after.schemas, published.topics)
    )
    assert found == [
        f"{DISCHARGED}: body.examples: removed",
        f"{DISCHARGED}: body.title: retyped (type string became integer)",
    ]


def test_a_stable_type_stays_on_its_topic(published: Published) -> None:
    there = [t.model_dump() for t in published.topics["hospital.encounters"].types]
    left = changed(published, "hospital.encounters", types=there[1:])
    moved = Published(published.schemas, left)
    moved = Published(moved.schemas, changed(moved, "hospital.patients", types=there[:1]))
    found = compatibility(with_status(published, "hospital.patient.registered.v1", "draft"), moved)
    assert f"{DISCHARGED}: readers look for it on hospital.encounters" in found


def test_a_topic_with_stable_types_stays(published: Published) -> None:
    topics = {k: v for k, v in published.topics.items() if k != "hospital.encounters"}
    found = compatibility(published, Published(published.schemas, topics))
    assert "hospital.encounters: a topic with stable types may not go" in found


# -- against a commit -------------------------------------------------------------------


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def test_the_contracts_of_a_commit_are_read(folder: Path, published: Published) -> None:
    root = folder.parent
    git(root, "init", "--initial-branch=main")
    git(root, "commit", "--allow-empty", "--message=nothing yet")
    assert read_at("main", root) is None
    with (folder / "topics" / "hospital.reports.yaml").open("a") as file:
        file.write("added_by_a_later_commit: true\n")
    git(root, "add", ".")
    git(root, "commit", "--message=contracts")
    (folder / "schemas" / f"{DISCHARGED}.json").unlink()
    assert read_at("main", root) == published
    assert read_at("no-such-branch", root) is None
    assert read_at("main", root.parent) is None


def test_the_check_says_so_when_there_is_nothing_to_compare_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("scripts.contracts.ROOT", tmp_path)
    assert main(["check"]) == 0
    assert (
        "compared with nothing: the main branch has no contracts: sound" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("standing", "given", "base"),
    [
        ("on a branch", ["--against", "main"], "main"),
        ("on a branch", [], "main"),
        ("on main", [], "HEAD~1"),
    ],
)
def test_the_check_fails_on_a_change_since_the_commit(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    standing: str,
    given: list[str],
    base: str,
) -> None:
    root = folder.parent
    (folder / "schemas" / f"{DISCHARGED}.json").write_text(
        json.dumps(planted("p['ward'] = {'type': 'string'}"))
    )
    git(root, "init", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--message=with a ward")
    monkeypatch.setattr("scripts.contracts.ROOT", root)
    if standing == "on a branch":
        git(root, "switch", "--create", "mine")
    git(root, "commit", "--allow-empty", "--message=later")
    assert main(["check", *given]) == 1
    said = capsys.readouterr().out
    assert f"contracts: {DISCHARGED}: body.ward: removed" in said
    assert f"compared with {base}: broken" in said


def test_no_type_that_a_service_reads_is_a_draft() -> None:
    read_by_us = {
        type
        for name in SERVICES
        for type in importlib.import_module(f"services.{name}.handlers").HANDLERS
    }
    drafts = {name for name, status in read(CONTRACTS).status().items() if status == "draft"}
    assert drafts
    assert not drafts & read_by_us


def test_the_inbox_remembers_longer_than_anything_may_come_again() -> None:
    """A dead letter may be replayed as long as it is kept, and its source was kept before."""
    topics_kept = read(CONTRACTS).topics.values()
    source = max(t.retention_ms for t in topics_kept if not t.internal)
    letter = max(t.retention_ms for t in topics_kept if t.dead_letters)
    copy = max(t.retention_ms for t in topics_kept if t.replays)
    assert source + letter + copy < INBOX_DAYS * 86_400_000
