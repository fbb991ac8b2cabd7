"""How does a partner get its rights in Kafka, how does it lose them, and who has some unnamed?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lianxin.installation import Installation
from lianxin.output import Failed
from lianxin.partner_files import files
from libs.common import yaml_files
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import Cluster, cluster
from services.interop.domain.partners import Partner


def strangers(
    installation: Installation,
    everybodys: Mapping[str, set[kafka_rights.Right]],
    ours: Iterable[str] = (),
) -> list[str]:
    """Who may do something in Kafka with what is ours, and is no service, no operator, and no
    partner that has a file. ``ours``: users of the platform's own, besides."""
    known = {*ours, *kafka_rights.services(installation.topics), kafka_rights.OPERATORS}
    known.add(installation.broker.username or "")
    for file in files(installation.settings.policies_dir / "partners").values():
        partner = Partner.model_validate(yaml_files.read(file))
        known.add(partner.kafka_user or partner.client)
    return sorted(
        user
        for user, may in everybodys.items()
        if user not in known and any(kafka_rights.ours(r, installation.topics) for r in may)
    )


def partners_own(installation: Installation, user: str) -> None:
    """Refuse who in Kafka is no partner: to give a service another password, or to take its
    rights away, would stop it."""
    ours = (*kafka_rights.services(installation.topics), kafka_rights.OPERATORS)
    if user in (*ours, installation.broker.username):
        raise Failed(
            f"{user} is a user of the platform's own in Kafka: name the partner's with"
            " --kafka-user."
        )


async def admitted(
    installation: Installation, user: str, rights: Sequence[kafka_rights.Right]
) -> str:
    """The password of a user who may do that from now on, or nobody is let in."""
    token = installation.ports.randomness.token
    password = token()
    async with cluster(installation.broker) as at:
        if before := await kafka_access.rights(at, user):
            raise Failed(
                f"Kafka's user {user} has {len(before)} rights already: name another with"
                " --kafka-user."
            )
        # If this fails the user may be somebody who was there before: nobody is taken away.
        await kafka_access.admit(at, user, password, token().encode())
        try:
            await kafka_access.allow(at, user, rights)
        except BaseException as error:  # Ctrl-C, too: who is in by now is ours, and nobody's yet
            try:
                await kafka_access.deny(at, user)
                await kafka_access.dismiss(at, user)
            except BusError as left:
                raise Failed(
                    f"{type(error).__name__}, and then {left}: the user {user} may stay in Kafka,"
                    f" whose password nobody knows. `lianxin partner retire {user} --kafka-user"
                    f" {user} --apply` ends it."
                ) from None
            raise
    return password


async def expelled(at: Cluster, user: str, rights: int) -> tuple[bool, str]:
    """Whether there was such a user, and what stays of it and why: whoever only looks, where
    Strimzi keeps the users, may take nothing away."""
    stays = f"{rights} rights of the user {user} STAY"
    try:
        if rights:
            await kafka_access.deny(at, user)
            stays = f"the {rights} rights of the user {user} are taken away, but the user STAYS"
        else:
            stays = f"the user {user}, who has no right, STAYS if there is one"
        return await kafka_access.dismiss(at, user), ""
    except BusError as error:
        of_nothing = not rights and isinstance(error, kafka_access.MayNot)
        return False, "" if of_nothing else f"{stays} ({error})"


async def of_user(
    installation: Installation, user: str
) -> tuple[list[kafka_rights.Right], list[str]]:
    """What it may in Kafka; if that is nothing, who else may something and is nobody's."""
    async with cluster(installation.broker) as at:
        try:
            everybodys = await kafka_access.everybodys_rights(at)
        except kafka_access.NoAuthorizer:
            return [], []  # it is a user of nothing
    may = sorted(everybodys.get(user, ()))
    return may, [] if may else strangers(installation, everybodys)


def what_stays(
    client: str,
    user: str,
    may: Sequence[kafka_rights.Right],
    unknown: Sequence[str],
    *,
    away: str,
    kept: str,
    gone: bool,
    done: str,
) -> str:
    """What became of its user there, and what to do about what did not."""
    again = f"`lianxin partner retire {client} --kafka-user {user} --apply`"
    if away:
        return (
            f"Kafka does not answer ({away}): whatever the user {user} may there STAYS. Once it"
            f" does, {again}; where Strimzi keeps the users, kubectl delete kafkauser {user}."
        )
    if kept:
        return (
            f"Kafka: {kept}. kubectl delete kafkauser {user}, or as one who may alter the cluster:"
            f" {again}."
        )
    if may:
        return f"Kafka: {len(may)} rights of the user {user} {done}taken away, and the user too."
    said = f"Kafka: no user {user} has any right there."
    if gone:
        said += " The user was there, and is taken away."
    if unknown:
        said += (
            f" But these have some, and no file names them: {', '.join(unknown)}. If one"
            f" is this partner's: `lianxin partner retire {client} --kafka-user …`."
        )
    return said
