"""Which topics exist? Those of the registry under ``contracts/topics``, and no others."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from libs.common.bus import BusError, TopicSpec, create_topics
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import ROOT

REGISTRY = ROOT / "contracts" / "topics"


def specs(registry: Path = REGISTRY) -> list[TopicSpec]:
    """The registry's topics as one machine has them: one copy of each."""
    found = []
    for file in sorted(registry.glob("*.yaml")):
        entry = yaml.safe_load(file.read_text())
        config = {
            "cleanup.policy": entry["cleanup"],
            "retention.ms": str(entry["retention_ms"]),
            "max.message.bytes": str(entry["max_message_bytes"]),
        }
        found.append(TopicSpec(entry["name"], entry["partitions"], 1, config))
    return found


def create(bootstrap: str) -> None:
    """Create what is missing. In a thread, since the caller may have an event loop running."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(asyncio.run, create_topics(bootstrap, specs())).result()
        except BusError as e:
            raise StackError(
                f"The topics of contracts/topics could not be created ({e}): if another program's "
                "topics stand in the way, `make clean` starts afresh."
            ) from e
