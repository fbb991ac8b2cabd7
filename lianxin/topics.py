"""Are the topics of the cluster those of the registry, and how do they become so?

``contracts/topics`` says which there are, with how many partitions and how they are kept; how many
copies there are is the installation's. Nothing is ever deleted. Where an operator of Kubernetes
keeps the topics (``KafkaTopic``), its manifests are what to change, and this is how to check them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import typer

from lianxin import asked, trail
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Json, command, table
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import Cluster, TopicState, cluster
from libs.common.kafka.topics import TopicSpec
from libs.common.topic_registry import Topic

app = typer.Typer(no_args_is_help=True, help="Topics: the registry's against the cluster's.")

#: Seconds within which the brokers have taken up a change.
SETTLES: Final = 30
#: A leader that lacks what others have acknowledged would lose it (scripts/strimzi.py, too).
_KEPT: Final = {"unclean.leader.election.enable": "false"}

Replication = Annotated[
    int | None,
    typer.Option(min=1, help="Copies of each partition: 3, in development 1."),
]
MinInsync = Annotated[
    int | None,
    typer.Option(min=1, help="Copies that acknowledge a write: 2, in development 1."),
]


@dataclass(frozen=True)
class Figures:
    """What the installation, and not the registry, says."""

    replication: int
    min_insync: int


@dataclass(frozen=True)
class Difference:
    """``action``: how ``apply`` mends it; ``None``: not by this command, see ``remedy``."""

    topic: str
    what: str
    found: str
    wanted: str
    action: Literal["create", "add partitions", "set"] | None
    remedy: str


def wanted_config(topic: Topic, figures: Figures) -> dict[str, str]:
    return {**topic.config, "min.insync.replicas": str(figures.min_insync), **_KEPT}


def differences(
    registry: Mapping[str, Topic],
    found: Mapping[str, TopicState],
    configs: Mapping[str, Mapping[str, str]],
    figures: Figures,
) -> Iterator[Difference]:
    """In the topics' order; those that the registry does not know last."""
    for name, topic in registry.items():
        state = found.get(name)
        if state is None:
            yield Difference(name, "missing", "-", "there", "create", "it is created")
            continue
        yield from _of_partitions(state, topic, figures)
        config = configs.get(name, {})
        for key, value in wanted_config(topic, figures).items():
            if config.get(key) != value:
                is_ = config.get(key, "-")
                yield Difference(name, key, is_, value, "set", "it is set")
    ours = {name.split(".")[0] for name in registry}
    for name in sorted(found.keys() - registry.keys()):
        if name.split(".")[0] in ours:
            remedy = "not of this version: find out who made it; it is left alone"
            yield Difference(name, "unknown", "there", "-", None, remedy)


def _of_partitions(state: TopicState, topic: Topic, figures: Figures) -> Iterator[Difference]:
    is_, should = str(state.partitions), str(topic.partitions)
    if state.partitions < topic.partitions:
        remedy = "keys move to other partitions: with --move-keys, and docs/runbook.md read"
        yield Difference(state.name, "partitions", is_, should, "add partitions", remedy)
    elif state.partitions > topic.partitions:
        remedy = "partitions can't be taken away: write this number into contracts/topics"
        yield Difference(state.name, "partitions", is_, should, None, remedy)
    if state.copies != figures.replication:
        remedy = "move copies with kafka-reassign-partitions.sh, or your operator's rebalance"
        yield Difference(
            state.name, "copies", str(state.copies), str(figures.replication), None, remedy
        )


async def look(at: Cluster, registry: Mapping[str, Topic], figures: Figures) -> list[Difference]:
    """How the cluster differs from the registry."""
    found = await at.topics()
    configs = await at.topic_configs(sorted(found.keys() & registry.keys()))
    return list(differences(registry, found, configs, figures))


async def mend(
    at: Cluster, registry: Mapping[str, Topic], given: Sequence[Difference], figures: Figures
) -> None:
    """Do what the differences' actions say."""
    missing = [registry[d.topic] for d in given if d.action == "create"]
    if missing:
        await at.create(
            [
                TopicSpec(t.name, t.partitions, figures.replication, wanted_config(t, figures))
                for t in missing
            ]
        )
    for difference in given:
        if difference.action == "add partitions":
            await at.add_partitions(difference.topic, int(difference.wanted))
    settings: dict[str, dict[str, str]] = {}
    for difference in given:
        if difference.action == "set":
            settings.setdefault(difference.topic, {})[difference.what] = difference.wanted
    for topic, config in settings.items():
        await at.set_config(topic, config)


def figures_of(
    installation: Installation, replication: int | None, min_insync: int | None
) -> Figures:
    """Three copies of which two acknowledge, unless it is a development's one broker."""
    alone = installation.settings.environment == "development"
    return Figures(replication or (1 if alone else 3), min_insync or (1 if alone else 2))


@app.command("diff")
@command
async def diff(
    replication: Replication = None, min_insync: MinInsync = None, json: Json = False
) -> Answer:
    """How the cluster's topics differ from contracts/topics. Exit code 1 if they do."""
    installation = Installation.of_environment()
    figures = figures_of(installation, replication, min_insync)
    async with cluster(installation.broker) as at:
        found = await look(at, installation.topics, figures)
    return _answer(found, f"{len(installation.topics)} topics are as the registry has them.")


@app.command("apply")
@command
async def apply(
    replication: Replication = None,
    min_insync: MinInsync = None,
    move_keys: Annotated[
        bool,
        typer.Option(
            "--move-keys",
            help="Add partitions that are missing. From then on a key's events stand in another"
            " partition than its earlier ones, so that their order between the two is lost.",
        ),
    ] = False,
    really: Annotated[bool, typer.Option("--apply", help="Do it, instead of showing it.")] = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Create what is missing, set what is set otherwise. Shows it; does it with --apply."""
    installation, who = Installation.of_environment(), asked.named(operator)
    figures = figures_of(installation, replication, min_insync)
    async with installation.open(), cluster(installation.broker) as at:
        found = await look(at, installation.topics, figures)
        todo = [d for d in found if d.action and (d.action != "add partitions" or move_keys)]
        if not really or not todo:
            done = f"{len(installation.topics)} topics are as the registry has them."
            hint = f"{len(todo)} would be mended: with --apply." if todo else ""
            return _answer(found, done, hint)
        # What concerns the whole installation stands in interop's trail (DICOM PS3.16 CID 401:
        # 110131, Software Configuration).
        recording = trail.recorded(
            installation.ports,
            installation.database("interop"),
            operator=who,
            what="topics apply",
            kind="110131",
            action="U",
            entities={trail.EVERY_HOSPITAL: [f"{d.topic} {d.what}={d.wanted}" for d in todo]},
        )
        async with recording:
            await mend(at, installation.topics, todo, figures)
            left = await _settled(at, installation, figures, len(found) - len(todo))
    return _answer(left, f"Mended: {len(todo)}. All topics are as the registry has them.")


async def _settled(
    at: Cluster, installation: Installation, figures: Figures, most: int
) -> list[Difference]:
    """What is left, once the brokers have taken up what was changed."""
    for _ in range(SETTLES * 5):
        left = await look(at, installation.topics, figures)
        if len(left) <= most:
            return left
        await asyncio.sleep(0.2)
    names = ", ".join(sorted({f"{d.topic} {d.what}" for d in left}))
    raise BusError(f"changes were taken, but not all are in force after {SETTLES} s: {names}")


def _answer(found: Sequence[Difference], well: str, hint: str = "") -> Answer:
    if not found:
        return Answer([], [well], WELL)
    rows = [(d.topic, d.what, d.found, d.wanted, d.remedy) for d in found]
    shown = table("", ("topic", "what", "is", "should be", "remedy"), rows)
    return Answer(found, [shown, *([hint] if hint else [])], LOOK)
