"""Does the broker keep what it has acknowledged, and let in only whom it knows?

The conditions of the delivery's promises, in Strimzi's resources. That the topics and users are the
registry's: tests/unit/scripts/test_strimzi.py; that the rights are enough: tests/integration.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common import topic_registry
from libs.common.devstack.places import ROOT
from tests.support.components import rendered
from tests.support.manifests import Manifest, Manifests
from tests.support.pod_security import refused

REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)


@pytest.fixture
def manifests() -> Manifests:
    return rendered("kafka")


def kafka(manifests: Manifests) -> Manifest:
    found: Manifest = manifests.one("Kafka", "lianxin-kafka")["spec"]["kafka"]
    return found


def unsafe(manifests: Manifests) -> Iterator[str]:
    """What an acknowledged record could be lost by."""
    config = kafka(manifests)["config"]
    wanted = {
        "auto.create.topics.enable": "false",
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
    }
    yield from (name for name, value in wanted.items() if config.get(name) != value)
    pools = {m["metadata"]["name"]: m for m in manifests.kind("KafkaNodePool")}
    for role in ("broker", "controller"):
        if sum(p["spec"]["replicas"] for p in pools.values() if role in p["spec"]["roles"]) != 3:
            yield f"not three of {role}"
    for name, pool in pools.items():
        for volume in pool["spec"]["storage"]["volumes"]:
            if volume["type"] != "persistent-claim" or volume.get("deleteClaim"):
                yield f"{name}: a disk that does not stay"
        (spread,) = pool["spec"]["template"]["pod"]["topologySpreadConstraints"]
        if spread["whenUnsatisfiable"] != "DoNotSchedule":
            yield f"{name}: two on one node"
    for topic in manifests.kind("KafkaTopic"):
        name = topic["metadata"]["name"]
        config = topic["spec"]["config"]
        if (topic["spec"]["replicas"], config["min.insync.replicas"]) != (3, "2"):
            yield name
        if config["unclean.leader.election.enable"] != "false":
            yield f"{name}: a leader that lacks records"


def test_an_acknowledged_record_outlives_a_broker(manifests: Manifests) -> None:
    assert list(unsafe(manifests)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")],
)
def test_an_unsafe_setting_would_be_seen(manifests: Manifests, name: str, value: str) -> None:
    kafka(manifests)["config"][name] = value
    assert list(unsafe(manifests)) == [name]


def test_the_brokers_take_records_as_large_as_the_largest_topic_does(
    manifests: Manifests,
) -> None:
    largest = max(topic.max_message_bytes for topic in REGISTRY.values())
    config = kafka(manifests)["config"]
    assert int(config["message.max.bytes"]) >= largest
    assert int(config["replica.fetch.max.bytes"]) >= largest


def test_where_a_group_stands_is_kept_longer_than_the_records(manifests: Manifests) -> None:
    minutes = int(kafka(manifests)["config"]["offsets.retention.minutes"])
    assert minutes * 60_000 > max(topic.retention_ms for topic in REGISTRY.values())


def test_nobody_comes_without_tls_and_a_password_and_rights_count(
    manifests: Manifests,
) -> None:
    spec = kafka(manifests)
    for listener in spec["listeners"]:
        assert (listener["tls"], listener["authentication"]["type"]) == (True, "scram-sha-512")
    assert spec["authorization"] == {"type": "simple"}  # and no superUsers


def test_partners_get_a_port_of_their_own_that_is_no_less_guarded() -> None:
    spec = kafka(rendered("kafka", "kafka-partners"))
    (listener,) = (each for each in spec["listeners"] if each["name"] == "partners")
    assert (listener["tls"], listener["authentication"]["type"]) == (True, "scram-sha-512")


def test_one_node_is_asked_for_no_copies_that_it_can_t_make() -> None:
    manifests = rendered("kafka", "kafka-one-node")
    config = kafka(manifests)["config"]
    assert {v for k, v in config.items() if k.endswith(("replication.factor", "min.isr"))} == {"1"}
    assert config["min.insync.replicas"] == "1"
    for topic in manifests.kind("KafkaTopic"):
        assert topic["spec"]["replicas"] == 1
        assert topic["spec"]["config"]["min.insync.replicas"] == "1"


# -- how the pods run -------------------------------------------------------------------


def templates(manifests: Manifests) -> Iterator[tuple[str, Manifest, dict[str, Manifest]]]:
    """Each pod that Strimzi makes, and its containers, as their templates have them."""
    spec = manifests.one("Kafka", "lianxin-kafka")["spec"]
    for pool in manifests.kind("KafkaNodePool"):
        # Each property of a pool's template stands instead of that of Kafka's (Strimzi 0.49).
        both = {**spec["kafka"]["template"], **pool["spec"]["template"]}
        yield pool["metadata"]["name"], both["pod"], {"kafka": both.get("kafkaContainer", {})}
    operator = spec["entityOperator"]["template"]
    containers = {n: operator[f"{n}Container"] for n in ("topicOperator", "userOperator")}
    yield "entity-operator", operator["pod"], containers
    exporter = spec["kafkaExporter"]["template"]
    yield "kafka-exporter", exporter["pod"], {"exporter": exporter["container"]}


def not_taken(manifests: Manifests) -> list[str]:
    return [
        f"{name} {why}"
        for name, pod, containers in templates(manifests)
        for why in refused(pod, containers)
    ]


def test_a_namespace_that_enforces_restricted_takes_every_pod(manifests: Manifests) -> None:
    assert {name for name, _, _ in templates(manifests)} == {
        "broker", "controller", "entity-operator", "kafka-exporter",
    }  # fmt: skip
    assert not_taken(manifests) == []


def test_a_pool_s_template_that_says_too_little_would_be_seen(manifests: Manifests) -> None:
    manifests.one("KafkaNodePool", "broker")["spec"]["template"]["kafkaContainer"] = {"env": []}
    del manifests.one("KafkaNodePool", "controller")["spec"]["template"]["pod"]["securityContext"]
    assert not_taken(manifests) == [
        "broker kafka: allowPrivilegeEscalation",
        "broker kafka: capabilities",
        "controller kafka: runAsNonRoot",
        "controller kafka: seccompProfile",
    ]


def test_who_keeps_records_may_write_to_the_disk(manifests: Manifests) -> None:
    """The image's user is of group 0; a `securityContext` of ours replaces Strimzi's `fsGroup`."""
    pools = [m["spec"]["template"]["pod"] for m in manifests.kind("KafkaNodePool")]
    assert [pod["securityContext"].get("fsGroup") for pod in pools] == [0, 0]
