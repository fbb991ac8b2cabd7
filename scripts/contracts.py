"""Is what we publish under ``contracts/`` true, complete and still what we promised?

``python -m scripts.contracts generate`` writes the schemas from classes and examples;
``check`` compares them, the examples and the topic registry with the classes, and the
schemas with those of an earlier commit (``--against``; see :func:`earlier`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import ValidationError

from libs.common.events import EVENT_TYPES, Event
from libs.common.topic_registry import Topic
from scripts.asyncapi import with_channels
from scripts.compatibility import Schema, breaking_changes
from scripts.published import Published, commit, read, read_at
from scripts.schemas import schema_of, unshown

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / "contracts"
#: What a topic takes: far more than an event, so that whatever comes can be set aside; and
#: a dead letter is larger than what it holds.
SOURCE_BYTES = 4 * 1024 * 1024
DEAD_LETTER_BYTES = 16 * 1024 * 1024


def written(schema: Schema) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def bodies(name: str, contracts: Path) -> list[Any]:
    """The examples of a type, in the order of their files' names."""
    files = sorted((contracts / "examples" / name).glob("*.json"))
    return [json.loads(path.read_text("utf-8")) for path in files]


def generate(types: Mapping[str, type[Event]], contracts: Path) -> list[str]:
    """Write all schemas and remove those of no type; what has changed."""
    folder = contracts / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        f"{name}.json": written(schema_of(model, bodies(name, contracts)))
        for name, model in types.items()
    }
    changed = []
    for path in sorted(folder.glob("*.json")):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(name)
    document = contracts / "asyncapi.yaml"
    made = with_channels(before := document.read_text("utf-8"), read(contracts))
    if made != before:
        document.write_text(made, "utf-8")
        changed.append(document.name)
    return changed


def drift(types: Mapping[str, type[Event]], published: Published, contracts: Path) -> list[str]:
    """Schemas that are not what their class and its examples say."""
    found = [f"{t}: a schema of no event class" for t in published.schemas.keys() - types.keys()]
    for name, model in types.items():
        if name not in published.schemas:
            found.append(f"{name}: no schema; generate it")
        elif written(published.schemas[name]) != written(schema_of(model, bodies(name, contracts))):
            found.append(
                f"{name}: the schema is not what class and examples say; generate it again"
            )
    document = (contracts / "asyncapi.yaml").read_text("utf-8")
    if document != with_channels(document, published):
        found.append(
            "asyncapi.yaml: its topics and types are not the registry's; generate it again"
        )
    return found


def examples(types: Mapping[str, type[Event]], contracts: Path) -> list[str]:
    """Examples that are missing, or that class or schema do not take; fields that none shows."""
    folder = contracts / "examples"
    found = [
        f"{p.name}: examples of no event class" for p in folder.iterdir() if p.name not in types
    ]
    for name, model in types.items():
        schema = schema_of(model)
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            found.append(f"{name}: no sound JSON Schema: {error.message}")
            continue
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        files = sorted((folder / name).glob("*.json"))
        if not files:
            found.append(f"{name}: no example")
            continue
        for path in files:
            text = path.read_text("utf-8")
            try:
                model.model_validate_json(text, strict=True)
            except ValidationError as error:
                found.append(f"{name}/{path.name}: the class refuses it: {error}")
            body = json.loads(text)
            found += [
                f"{name}/{path.name}: the schema refuses it: {e.json_path} {e.message}"
                for e in validator.iter_errors(body)
            ]
            if isinstance(body, dict) and (strange := body.keys() - model.model_fields.keys()):
                found.append(f"{name}/{path.name}: unknown fields {sorted(strange)}")
        shown = schema_of(model, bodies(name, contracts))
        found += [f"{name}: no example shows {field}" for field in unshown(shown)]
    return found


def registry(types: Mapping[str, type[Event]], topics: Mapping[str, Topic]) -> list[str]:
    """Where the topic registry and the event classes disagree."""
    found = []
    listed: dict[str, list[Topic]] = {}
    for file, topic in sorted(topics.items()):
        if topic.name != file:
            found.append(f"{file}.yaml: names itself {topic.name}")
        wanted = DEAD_LETTER_BYTES if topic.internal else SOURCE_BYTES
        if topic.max_message_bytes != wanted:
            found.append(f"{topic.name}: max_message_bytes must be {wanted}")
        for consumer in topic.consumers:
            if f"{consumer}.dlq" not in topics:
                found.append(f"{topic.name}: {consumer} has no topic {consumer}.dlq")
            if f"{consumer}.replay" not in topics:
                found.append(f"{topic.name}: {consumer} has no topic {consumer}.replay")
        for entry in topic.types:
            listed.setdefault(entry.type, []).append(topic)
    found += [f"{name}: on {len(on)} topics" for name, on in listed.items() if len(on) > 1]
    found += [f"{name}: on a topic, but no event class" for name in listed.keys() - types.keys()]
    for name, model in types.items():
        if name != model.TYPE:
            found.append(f"{name}: its class says {model.TYPE}")
        for topic in listed.get(name, []):
            if topic.name != model.TOPIC:
                found.append(f"{name}: its class says topic {model.TOPIC}, not {topic.name}")
            if topic.key != model.KEY:
                found.append(
                    f"{name}: its class says key {model.KEY}, {topic.name} says {topic.key}"
                )
            status = next(entry.status for entry in topic.types if entry.type == name)
            if (status == "draft") != model.DRAFT:
                found.append(f"{name}: {topic.name} says {status}, and its class the contrary")
        if name not in listed:
            found.append(f"{name}: on no topic")
    return found


def compatibility(old: Published, new: Published) -> list[str]:
    """What breaks a promise: changes to a type that was stable, or to the place it is found."""
    found = []
    for name in sorted(n for n, status in old.status().items() if status == "stable"):
        if name not in new.schemas:
            found.append(f"{name}: a stable type may not go; publish a new major version beside it")
        elif new.status().get(name) != "stable":
            found.append(f"{name}: once stable, it can't be a draft again")
        elif name in old.schemas:
            changes = breaking_changes(old.schemas[name], new.schemas[name])
            found += [f"{name}: {change}" for change in changes]
    for name, topic in sorted(old.topics.items()):
        kept = new.topics.get(name)
        if not any(t.status == "stable" for t in topic.types):
            continue
        if kept is None:
            found.append(f"{name}: a topic with stable types may not go")
        elif (kept.key, kept.partitions) != (topic.key, topic.partitions):
            found.append(f"{name}: key and partitions are fixed when a topic is made")
        if kept is not None:
            there = {t.type for t in kept.types}
            found += [
                f"{t.type}: readers look for it on {name}"
                for t in topic.types
                if t.status == "stable" and t.type in new.schemas and t.type not in there
            ]
    return found


def earlier(ref: str | None, root: Path) -> tuple[str, Published] | None:
    """What was promised: ``ref``, else the main branch, else (standing on it) the commit before."""
    here = commit(root, "HEAD")
    before = [c for c in ("origin/main", "main") if commit(root, c) != here] + ["HEAD~1"]
    for candidate in [ref] if ref else before:
        if (published := read_at(candidate, root)) is not None:
            return candidate, published
    return None


def check(ref: str | None) -> int:
    published = read(CONTRACTS)
    found = drift(EVENT_TYPES, published, CONTRACTS)
    found += examples(EVENT_TYPES, CONTRACTS)
    found += registry(EVENT_TYPES, published.topics)
    if (before := earlier(ref, ROOT)) is None:
        compared = f"compared with nothing: {ref or 'the main branch'} has no contracts"
    else:
        compared = f"compared with {before[0]}"
        found += compatibility(before[1], published)
    for line in found:
        print(f"contracts: {line}")
    drafts = sum(status == "draft" for status in published.status().values())
    print(
        f"contracts: {len(EVENT_TYPES)} types ({drafts} drafts), {len(published.topics)} topics, "
        f"{compared}: {'broken' if found else 'sound'}"
    )
    return 1 if found else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="contracts", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("generate", help="write the schemas from the event classes")
    checking = verbs.add_parser("check", help="compare classes, schemas, examples and topics")
    checking.add_argument(
        "--against", metavar="REF", help="a commit; default: main, or the one before"
    )
    chosen = parser.parse_args(arguments)
    if chosen.verb == "generate":
        for name in generate(EVENT_TYPES, CONTRACTS):
            print(f"contracts: wrote {name}")
        return 0
    return check(chosen.against)


if __name__ == "__main__":
    sys.exit(main())
