"""Does ``contracts/asyncapi.yaml`` name every topic and type, and none besides?

Its head is written by hand; channels, operations and messages below the marker follow from
the topic registry and the schemas, so that nothing can be missing.
"""

from __future__ import annotations

from typing import Any

import yaml

from libs.common.topic_registry import Topic
from scripts.compatibility import Schema
from scripts.published import Published

MARKER = "\n# -- generated from here on " + "-" * 60 + "\n"
FORMAT = "application/schema+json;version=2020-12"
BINDING = {"bindingVersion": "0.5.0"}


def with_channels(text: str, published: Published) -> str:
    """The document ``text`` with its generated part made anew."""
    head = text.partition(MARKER)[0].rstrip() + "\n"
    body = {"channels": _channels(published), "operations": _operations(published)}
    made = yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"{head}{MARKER}{made}"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _channels(published: Published) -> dict[str, Any]:
    return {
        name: {
            "address": name,
            "title": name,
            "summary": topic.summary,
            "description": "\n".join(f"- {nuance}" for nuance in topic.nuances),
            "messages": _messages(topic, published.schemas)
            or {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
            "bindings": {
                "kafka": {
                    "topic": name,
                    "partitions": topic.partitions,
                    "topicConfiguration": {
                        "cleanup.policy": [topic.cleanup],
                        "retention.ms": topic.retention_ms,
                        "max.message.bytes": topic.max_message_bytes,
                    },
                    **BINDING,
                }
            },
            "x-owner": topic.owner,
            "x-partners": sorted(topic.partners),
        }
        for name, topic in sorted(published.topics.items())
    }


def _messages(topic: Topic, schemas: Any) -> dict[str, Any]:
    return {
        entry.type: {
            "name": entry.type,
            "title": title(entry.type),
            "summary": summary(schemas.get(entry.type, {})),
            "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
            "payload": {
                "schemaFormat": FORMAT,
                "schema": {"$ref": f"schemas/{entry.type}.json"},
            },
            "bindings": {
                "kafka": {
                    "key": {
                        "type": "string",
                        "description": f"<hospital>/<{topic.key}>",
                    },
                    **BINDING,
                }
            },
            "x-status": entry.status,
        }
        for entry in topic.types
    }


def title(type: str) -> str:
    """``hospital.encounter.discharge_cancelled.v1`` is "Encounter discharge cancelled"."""
    _, *words, version = type.split(".")
    text = " ".join(words).replace("_", " ").capitalize()
    return text if version == "v1" else f"{text} ({version})"


def summary(schema: Schema) -> str:
    """What the class says of itself, on one line."""
    return " ".join(str(schema.get("description", "")).split())


def _operations(published: Published) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, topic in sorted(published.topics.items()):
        if topic.consumers:
            found[f"receive.{name}"] = _operation("receive", topic, "read", topic.consumers) | {
                "bindings": {
                    "kafka": {"groupId": {"type": "string", "enum": topic.consumers}, **BINDING}
                }
            }
        if ours := [p for p in topic.producers if p.startswith("lianxin.")]:
            found[f"send.{name}"] = _operation("send", topic, "write", ours)
    return found


def _operation(action: str, topic: Topic, verb: str, services: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "title": f"{action.capitalize()} {topic.name}",
        "summary": f"Services that {verb} it: {', '.join(services)}.",
    }
