"""Which topics are there, who writes and reads them, and how are they kept?

The registry is ``contracts/topics``: one file for each topic. What creates topics, what grants
rights on them and what checks an installation all read it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

#: From the folder that the programs run in: a checkout, or an image's working directory.
FOLDER = Path("contracts/topics")


class TopicType(BaseModel):
    """A type on a topic. ``draft``: no code writes or reads it yet, so it may still change."""

    model_config = ConfigDict(extra="forbid")

    type: str
    status: Literal["draft", "stable"]


class Topic(BaseModel):
    """One file of the registry."""

    model_config = ConfigDict(extra="forbid")

    name: str
    summary: str
    key: str
    owner: str
    producers: list[str] = Field(min_length=1)
    consumers: list[str]
    #: What a partner's credential may be allowed, over Kafka (its ACLs) or over HTTP.
    partners: frozenset[Literal["read", "write"]] = frozenset()
    partitions: int = Field(ge=1)
    retention_ms: int = Field(ge=1)
    cleanup: Literal["delete", "compact"]
    max_message_bytes: int
    types: list[TopicType]
    nuances: list[str] = Field(min_length=1)

    @property
    def dead_letters(self) -> bool:
        return self.name.endswith(".dlq")

    @property
    def replays(self) -> bool:
        return self.name.endswith(".replay")

    @property
    def internal(self) -> bool:
        """Of the operators: it holds copies of what other topics hold."""
        return self.dead_letters or self.replays

    @property
    def config(self) -> dict[str, str]:
        """Kafka's settings of the topic; how many copies there are is the installation's."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }


def read(folder: Path = FOLDER) -> Mapping[str, Topic]:
    """The topics by name, in the names' order."""
    found = (yaml.safe_load(file.read_text("utf-8")) for file in folder.glob("*.yaml"))
    topics = map(Topic.model_validate, found)
    return {topic.name: topic for topic in sorted(topics, key=lambda t: t.name)}
