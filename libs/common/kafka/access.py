"""How does an operator let somebody into Kafka, and shut them out again?

Users by SCRAM-SHA-512 and rights as ACLs, for a cluster that no operator of Kubernetes keeps
(there a ``KafkaUser`` says the same). Needs a principal that may alter the cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import OPERATIONS, Cluster, check
from libs.common.kafka.rights import Right
from libs.common.kafka.wire import AlterScram, CreateAcls, DeleteAcls, DescribeAcls

#: Kafka's codes (org.apache.kafka.common.{resource,acl}).
_KINDS: Final = {"topic": 2, "group": 3, "cluster": 4}
_CLUSTER_NAME: Final = "kafka-cluster"
_ANY, _LITERAL, _PREFIXED, _ALLOW = 1, 3, 4, 3
_ALL: Final = 2  # every operation
_SHA512, _ITERATIONS = 2, 8192
#: What a removal of somebody who is not there is answered with.
_NO_SUCH_USER: Final = 91
_SECURITY_DISABLED: Final = 54
_NOT_AUTHORIZED: Final = 31


class NoAuthorizer(BusError):
    """The cluster asks nobody for rights: whoever reaches it may everything."""


class MayNot(BusError):
    """Users are kept by somebody else: by Strimzi, or by Kafka's administrators."""


async def rights(cluster: Cluster, user: str) -> set[Right]:
    """What the ACLs allow ``user``, as far as we have words for it."""
    return (await _described(cluster, f"User:{user}")).get(user, set())


async def everybodys_rights(cluster: Cluster) -> dict[str, set[Right]]:
    """The same of every user that an ACL allows something, by name; ``*`` is whoever is let in."""
    return await _described(cluster, None)


async def _described(cluster: Cluster, principal: str | None) -> dict[str, set[Right]]:
    found = await cluster.send(DescribeAcls, _ANY, None, _ANY, principal, None, _ANY, _ANY)
    if found.error_code == _SECURITY_DISABLED:
        raise NoAuthorizer("Kafka has no authorizer (authorizer.class.name)")
    check(found.error_code, found.error_message, "ACLs")
    kinds = {code: kind for kind, code in _KINDS.items()}
    names = {code: (name,) for name, code in OPERATIONS.items()} | {_ALL: tuple(OPERATIONS)}
    by_user: dict[str, set[Right]] = {}
    for kind, name, pattern, acls in found.resources:
        for user, _host, code, permission in acls:
            if kind in kinds and code in names and permission == _ALLOW:
                may = by_user.setdefault(user.removeprefix("User:"), set())
                may |= {_right(kinds[kind], name, o, pattern == _PREFIXED) for o in names[code]}
    return by_user


def _right(kind: Any, name: str, operation: Any, prefixed: bool) -> Right:
    return Right(kind, "" if kind == "cluster" else name, operation, prefixed)


async def allow(cluster: Cluster, user: str, wanted: Sequence[Right]) -> None:
    acls = [
        (
            _KINDS[right.kind],
            right.name or _CLUSTER_NAME,
            _PREFIXED if right.prefixed else _LITERAL,
            f"User:{user}",
            "*",
            OPERATIONS[right.operation],
            _ALLOW,
        )
        for right in wanted
    ]
    answer = await cluster.send(CreateAcls, acls, node=await cluster.controller())
    for code, message in answer.creation_responses:
        check(code, message, f"ACL of {user}")
    for _ in range(150):  # each broker takes them up by itself, in a moment
        if set(wanted) <= await rights(cluster, user):
            return
        await asyncio.sleep(0.2)
    raise BusError(f"the ACLs of {user} were taken, but the broker does not tell of them")


async def deny(cluster: Cluster, user: str) -> int:
    """Take away all that ``user`` may; how many rights those were."""
    every = (_ANY, None, _ANY, f"User:{user}", None, _ANY, _ANY)
    answer = await cluster.send(DeleteAcls, [every], node=await cluster.controller())
    removed = 0
    for code, message, matching in answer.filter_responses:
        check(code, message, f"ACLs of {user}")
        for each in matching:
            check(each[0], each[1], f"ACL of {user}")
            removed += 1
    return removed


async def admit(cluster: Cluster, user: str, password: str, salt: bytes) -> None:
    """Make the user, or give it this password; the broker never learns it (RFC 5802)."""
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    row: tuple[object, ...] = (user, _SHA512, _ITERATIONS, salt, salted, {})
    await _scram(cluster, user, [], [row])


async def dismiss(cluster: Cluster, user: str) -> bool:
    """Whether there was one; its connections that are open end by themselves only."""
    return await _scram(cluster, user, [(user, _SHA512, {})], [])


async def _scram(
    cluster: Cluster, user: str, deletions: list[object], upsertions: list[object]
) -> bool:
    answer = await cluster.send(
        AlterScram, deletions, upsertions, {}, node=await cluster.controller()
    )
    for _user, code, message, _tags in answer.results:
        if code == _NO_SUCH_USER:
            return False
        if code == _NOT_AUTHORIZED:
            raise MayNot(f"user {user}: ClusterAuthorizationFailedError")
        check(code, message, f"user {user}")
    return True
