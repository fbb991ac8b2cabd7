"""Does the comparison of topics say all that differs, and what can be done?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from lianxin.topics import Difference, Figures, differences, wanted_config
from libs.common import topic_registry
from libs.common.devstack.places import ROOT
from libs.common.kafka.cluster import TopicState

REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)
FIGURES = Figures(replication=3, min_insync=2)
NAME = "hospital.reports"


def as_wanted() -> tuple[dict[str, TopicState], dict[str, dict[str, str]]]:
    states = {
        name: TopicState(name, topic.partitions, 3, 0, frozenset())
        for name, topic in REGISTRY.items()
    }
    return states, {name: wanted_config(topic, FIGURES) for name, topic in REGISTRY.items()}


def found(states: dict[str, TopicState], configs: dict[str, dict[str, str]]) -> list[Difference]:
    return list(differences(REGISTRY, states, configs, FIGURES))


def test_a_cluster_as_the_registry_has_it_does_not_differ() -> None:
    assert found(*as_wanted()) == []


def test_a_missing_topic_is_created() -> None:
    states, configs = as_wanted()
    del states[NAME]
    assert [(d.topic, d.what, d.action) for d in found(states, configs)] == [
        (NAME, "missing", "create")
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention.ms", "1000"),
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_a_setting_that_is_another_is_set(key: str, value: str) -> None:
    states, configs = as_wanted()
    configs[NAME] = {**configs[NAME], key: value}
    (only,) = found(states, configs)
    assert (only.topic, only.what, only.found, only.action) == (NAME, key, value, "set")
    assert only.wanted == wanted_config(REGISTRY[NAME], FIGURES)[key]


def test_partitions_can_be_added_and_not_taken_away() -> None:
    states, configs = as_wanted()
    right = states[NAME]
    states[NAME] = replace(right, partitions=right.partitions - 1)
    assert [d.action for d in found(states, configs)] == ["add partitions"]
    states[NAME] = replace(right, partitions=right.partitions + 1)
    assert [(d.what, d.action) for d in found(states, configs)] == [("partitions", None)]


def test_copies_are_the_installations_figure_and_moved_by_other_tools() -> None:
    states, configs = as_wanted()
    states[NAME] = replace(states[NAME], copies=2)
    (only,) = found(states, configs)
    assert (only.what, only.found, only.wanted, only.action) == ("copies", "2", "3", None)


def test_only_what_could_be_ours_and_is_not_known_is_named_and_left_alone() -> None:
    states, configs = as_wanted()
    for name in ("hospital.forgotten", "lianxin.old.dlq", "orders"):
        states[name] = TopicState(name, 1, 3, 0, frozenset())
    assert [(d.topic, d.what, d.action) for d in found(states, configs)] == [
        ("hospital.forgotten", "unknown", None),
        ("lianxin.old.dlq", "unknown", None),
    ]
