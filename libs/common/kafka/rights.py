"""What may a service, and what may a partner, do in Kafka?

A service what the topic registry says of it as producer and consumer; a partner what its topics'
``partners`` allow it, in groups whose names begin with its own. No credential may anything else:
whoever reads ``notify.requests`` or dead letters reads secrets and patients. Nobody may create
topics; who may write one may also be an idempotent producer (KIP-679, Kafka 2.8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from libs.common.topic_registry import Topic

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "ClusterAction"]
Topics = Mapping[str, Topic]

#: Strimzi's name of the installation's own brokers.
CLUSTER = "lianxin-kafka"
#: The command line's user.
OPERATORS = "cli"


class Right(NamedTuple):
    """One operation on one topic or group, or on the cluster, which has no name; ``prefixed``:
    on all whose names begin so."""

    kind: Literal["topic", "group", "cluster"]
    name: str
    operation: Operation
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.operation} {self.kind} {self.name}{'*' if self.prefixed else ''}".rstrip()


def services(topics: Topics) -> list[str]:
    """Those that the registry names, sorted."""
    named = (name for topic in topics.values() for name in (*topic.producers, *topic.consumers))
    return sorted({name.removeprefix("lianxin.") for name in named if name.startswith("lianxin.")})


def of_service(service: str, topics: Topics) -> list[Right]:
    """What ``lianxin.<service>`` produces and consumes, and its group."""
    group = f"lianxin.{service}"
    writes = [t.name for t in topics.values() if group in t.producers]
    reads = [t.name for t in topics.values() if group in t.consumers]
    return _unique(
        [*_on_topics("Write", writes), *_on_topics("Read", reads), Right("group", group, "Read")]
    )


def of_partner(
    user: str, writes: Iterable[str], reads: Iterable[str], topics: Topics
) -> list[Right]:
    """Raises ``ValueError`` that names what is not for partners."""
    writes, reads = set(writes), set(reads)
    for wanted, right in ((writes, "write"), (reads, "read")):
        allowed = {t.name for t in topics.values() if right in t.partners}
        if wrong := sorted(wanted - allowed):
            raise ValueError(
                f"a partner may not {right} {', '.join(wrong)}; it may {', '.join(sorted(allowed))}"
            )
    groups = [Right("group", f"{user}.", "Read", prefixed=True)] if reads else []
    return _unique([*_on_topics("Write", writes), *_on_topics("Read", reads), *groups])


def of_operators(topics: Topics) -> list[Right]:
    """The command line: look at everything, have a service read a record again, and set its group
    back after a restore (Kafka's Read on it). It changes neither topics nor rights: what does so on
    Kubernetes is Strimzi, elsewhere the brokers' own administrators."""
    groups = [f"lianxin.{service}" for service in services(topics)]
    return _unique(
        [
            *_on_topics("Write", (topic.name for topic in topics.values() if topic.replays)),
            *_on_topics("Read", topics),
            *(Right("topic", name, "DescribeConfigs") for name in sorted(topics)),
            *(Right("group", name, right) for name in groups for right in _GROUP),
            *(Right("cluster", "", operation) for operation in _CLUSTER),
        ]
    )


_DESCRIBE: Operation = "Describe"
_GROUP: tuple[Operation, ...] = ("Read", "Describe")
_CLUSTER: tuple[Operation, ...] = ("Describe", "DescribeConfigs")


def ours(right: Right, topics: Topics) -> bool:
    """Whether it is one to read or write the installation's topics, replays and dead letters too,
    or to act in its groups, by their names, their beginning or ``*``; or on the cluster itself.
    Whoever may only describe learns no event: many a monitoring does."""
    if right.operation in (_DESCRIBE, "DescribeConfigs"):
        return False
    if right.kind == "cluster" or right.name == "*":
        return True
    names = topics if right.kind == "topic" else [f"lianxin.{s}" for s in services(topics)]
    return any(name.startswith(right.name) if right.prefixed else name == right.name
               for name in names)  # fmt: skip


def _on_topics(operation: Operation, names: Iterable[str]) -> list[Right]:
    return [Right("topic", n, o) for n in sorted(names) for o in (operation, _DESCRIBE)]


def _unique(rights: Iterable[Right]) -> list[Right]:
    return list(dict.fromkeys(rights))


def kafka_user(
    name: str,
    rights: Iterable[Right],
    *,
    cluster: str = CLUSTER,
    namespace: str = "",
    secret: str = "",
) -> dict[str, Any]:
    """The user as Strimzi's operator makes it: with the ``password`` in ``secret``, or else with
    one of its own choosing in the Secret of the user's name."""
    operations: dict[tuple[str, str, bool], list[str]] = {}
    for right in rights:
        operations.setdefault((right.kind, right.name, right.prefixed), []).append(right.operation)
    authentication: dict[str, Any] = {"type": "scram-sha-512"}
    if secret:
        given = {"secretKeyRef": {"name": secret, "key": "password"}}
        authentication["password"] = {"valueFrom": given}
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "labels": {"strimzi.io/cluster": cluster, "app.kubernetes.io/part-of": "lianxin"},
        },
        "spec": {
            "authentication": authentication,
            "authorization": {
                "type": "simple",
                "acls": [
                    {"resource": _resource(*resource), "operations": found}
                    for resource, found in operations.items()
                ],
            },
        },
    }


def _resource(kind: str, name: str, prefixed: bool) -> dict[str, str]:
    if kind == "cluster":
        return {"type": kind}
    return {"type": kind, "name": name, "patternType": "prefix" if prefixed else "literal"}
