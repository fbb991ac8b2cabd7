"""What do partners read of our contracts? One page that asks for nothing from elsewhere.

Made of ``contracts/``: the README, the topics, the schemas and the examples. ``make run``
serves it; ``python -m libs.common.devstack.page.contracts DIR`` (``make docs``) writes it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from libs.common.devstack.places import ROOT

CONTRACTS = ROOT / "contracts"
#: Where the page finds the files themselves.
FILES = "files"
#: Where the README begins to speak to partners.
GUIDE = "\n## The record\n"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One field, however deep: ``guardians[].name``."""

    path: str
    title: str
    kind: str
    required: bool
    personal: bool
    description: str
    rules: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Type:
    name: str
    title: str
    status: str
    description: str
    rows: tuple[Row, ...]
    #: File name and text of each.
    examples: tuple[tuple[str, str], ...]


@cache
def page(contracts: Path = CONTRACTS) -> str:
    """The whole page as HTML."""
    document = yaml.safe_load((contracts / "asyncapi.yaml").read_text("utf-8"))
    topics = [
        yaml.safe_load(path.read_text("utf-8"))
        for path in sorted((contracts / "topics").glob("*.yaml"))
    ]
    types = {
        name: _type(name, message, contracts)
        for channel in document["channels"].values()
        for name, message in channel["messages"].items()
        if "payload" in message
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    _, _, guide = (contracts / "README.md").read_text("utf-8").partition(GUIDE)
    return environment.get_template("contracts.html").render(
        title=document["info"]["title"],
        # The rest of it says to those who have the document alone what the guide says here.
        about=_html(document["info"]["description"].partition("\n\n")[0]),
        guide=_html(GUIDE + guide),
        # What outsiders may write or read comes first, then what is for the operators.
        topics=sorted(topics, key=lambda topic: not topic["types"]),
        types=types,
        text=_inline,
        files=FILES,
    )


def write(folder: Path, contracts: Path = CONTRACTS) -> Path:
    """The page in ``folder``, with the files that it links to; the page's path."""
    target = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / FILES, ignore_errors=True)
    shutil.copytree(contracts, folder / FILES, ignore=shutil.ignore_patterns("lint"))
    target.write_text(page(contracts), "utf-8")
    return target


# -- texts: ours, out of the repository, so their HTML is trusted; Markdown's own is not taken

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def _html(text: str) -> Markup:
    return Markup(_markdown.render(text))


def _inline(text: str) -> Markup:
    return Markup(_markdown.renderInline(text))


# -- types


def _type(name: str, message: Mapping[str, Any], contracts: Path) -> Type:
    schema = json.loads((contracts / message["payload"]["schema"]["$ref"]).read_text("utf-8"))
    examples = sorted((contracts / "examples" / name).glob("*.json"))
    return Type(
        name=name,
        title=message["title"],
        status=message["x-status"],
        description=" ".join(schema["description"].split()),
        rows=tuple(_rows(schema, schema.get("$defs", {}), "")),
        examples=tuple((path.name, path.read_text("utf-8")) for path in examples),
    )


def _rows(node: Schema, definitions: Schema, before: str) -> Iterator[Row]:
    required = node.get("required", ())
    for name, field in node.get("properties", {}).items():
        path = f"{before}{name}"
        value, many = _value(field, definitions)
        nested = "properties" in value
        examples = () if nested else tuple(_written(e) for e in field.get("examples", ()))
        yield Row(
            path=path,
            title=field["title"],
            kind=_kind(value, many),
            required=name in required,
            personal=bool(field.get("x-sensitive")),
            description=field["description"],
            rules=_rules(field, value),
            examples=examples,
        )
        if nested:
            yield from _rows(value, definitions, f"{path}[]." if many else f"{path}.")


def _value(field: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """What a value is, with null left aside (such a field is simply absent); one or many."""
    if "$ref" in field:
        return _value(definitions[field["$ref"].removeprefix("#/$defs/")], definitions)
    options = [o for o in field.get("anyOf", ()) if o.get("type") != "null"]
    if len(options) == 1:
        return _value(options[0], definitions)
    if field.get("type") == "array":
        return _value(field["items"], definitions)[0], True
    return field, False


def _kind(value: Schema, many: bool) -> str:
    if "anyOf" in value:
        kind = " or ".join(_kind(o, False) for o in value["anyOf"] if o.get("type") != "null")
    elif "enum" in value:
        kind = "one of " + ", ".join(map(str, value["enum"]))
    elif "properties" in value:
        kind = "object"
    else:
        kind = str(value.get("format", value.get("type", "anything")))
    return f"list, each {kind}" if many else kind


_RULES = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "pattern": "{}",
}


def _rules(field: Schema, value: Schema) -> str:
    found = {k: part[k] for part in (value, field) for k in _RULES if k in part}
    said = [text.format(found[k]) for k, text in _RULES.items() if k in found]
    if (default := field.get("default")) not in (None, [], {}):
        said.append(f"if absent, {_written(default)}")
    return "; ".join(said)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    print(f"docs: {write(Path(sys.argv[1]))}")
