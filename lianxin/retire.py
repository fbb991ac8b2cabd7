"""How does a partner end, however much of it can be done at the moment?

First what protects patients' data at once: nothing is delivered to it any more, and it subscribes
to nothing. Then its rights in Kafka, and its file. What can't be done keeps nothing else from it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import typer

from lianxin import asked, trail
from lianxin.installation import Installation
from lianxin.output import AWAY, LOOK, WELL, Answer, Failed, Json, command
from lianxin.partner_files import aside_of, files, last_file
from lianxin.partner_rights import expelled, of_user, partners_own, what_stays
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import cluster
from libs.common.mongo.errors import Conflict, Unavailable
from services.interop.domain.partners import Partner, Retired
from services.interop.domain.subscription import LIVE, RETIRED, Status, Subscription

Client = Annotated[str, typer.Argument(help="The claim `sub` of its tokens.")]
KafkaName = Annotated[
    str, typer.Option(help="Its user in Kafka; if absent its file's kafka_user, or its client.")
]


@command
async def retire(
    client: Client,
    kafka_user: KafkaName = "",
    really: asked.Apply = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Suspend its subscriptions, take its rights, set its file aside. With --apply it is done."""
    installation, who = Installation.of_environment(), asked.named(operator)
    folder = installation.settings.policies_dir / "partners"
    file, said = files(folder).get(client), last_file(folder, client)
    user = kafka_user or (said.kafka_user if said is not None else "") or client
    partners_own(installation, user)
    database = installation.database("interop")
    aside, done = None if file is None else aside_of(file), "" if really else "would be "
    again = f"`lianxin partner retire {client} --kafka-user {user} --apply`"
    filed = "File: there is none." if file is None else f"File: {done}set aside as {aside}."
    undone: list[str] = []
    gone, kept, may, unknown, away = False, "", list[kafka_rights.Right](), list[str](), ""
    async with installation.open():
        live = await database.find_rows(
            database.raw(Subscription.COLLECTION),
            {"client": client, "status": {"$in": list(LIVE)}, "reason": {"$ne": RETIRED}},
            fields=("hospital", "id", "version", "status"),
        )
        suspended = (
            f"Subscriptions: {len(live)} {done}suspended; what waits under them is kept for a"
            " while (WEBHOOK_SUSPENDED_DAYS)."
        )
        try:
            may, unknown = await of_user(installation, user)
        except BusError as error:
            if said is None and not live:
                raise  # nobody knows whether there is such a partner
            away = str(error)
        # Who has no right may be the brokers' own administrator: taken away only if named.
        nobody = file is None and not live and not may and not away
        unfound = Failed(
            f"There is no partner {client}: no file in {folder}, no subscription, no right of"
            f" Kafka's user {user}. See `lianxin partner list`; a user who has no right is"
            " taken away with --kafka-user and --apply."
        )
        if nobody and not (really and kafka_user):
            raise unfound
        if really:
            of = {row["hospital"] for row in live} | ({said.hospital} if said else set())
            of = of or {trail.EVERY_HOSPITAL}
            # What ends at once comes first, and nothing keeps the rest from being done.
            async with recorded(installation, client, of, user, who, "D") as undone:
                try:
                    await shut_out(installation, client, of)
                    for row in live:
                        await suspend(installation, row)
                except (Unavailable, Conflict, Failed) as error:
                    suspended = f"Subscriptions: NOT all are suspended ({error}). Again: {again}."
                    undone.append(suspended)
                if not away:
                    try:
                        async with cluster(installation.broker) as at:
                            gone, kept = await expelled(at, user, len(may))
                    except BusError as error:
                        away = str(error)
                if stays := away or kept:
                    undone.append(f"Kafka: {stays}")
                if nobody and not gone and not kept and not away:
                    raise unfound
                try:
                    if file is not None and aside is not None:
                        await asyncio.to_thread(file.rename, aside)
                except OSError as error:
                    filed = f"File: NOT set aside ({error.strerror}): rename {file} to {aside}."
                    undone.append(filed)
    facts = {
        "client": client,
        "applied": really,
        "undone": undone,
        "kafka_kept": kept,
        "file": file,
        "kafka_user": user,
        "kafka_rights": [str(right) for right in may],
        "kafka_unknown": unknown,
        "subscriptions": [f"{row['hospital']}/{row['id']}" for row in live],
    }
    shown = [
        suspended,
        what_stays(client, user, may, unknown, away=away, kept=kept, gone=gone, done=done),
        filed,
        *([] if really else ["Nothing was done yet: with --apply."]),
        f"Then: take the client {client} away at your OIDC provider (a token lives on until it"
        " expires), its certificates out of policies/senders, its KafkaUser out of the manifests,"
        " and restart interop with the policies.",
    ]
    return Answer(facts, shown, AWAY if away else LOOK if undone or unknown else WELL)


def recorded(
    installation: Installation, client: str, hospitals: set[str], user: str, who: str, action: str
) -> AbstractAsyncContextManager[list[str]]:
    """Rights come or go (DICOM PS3.16 CID 401: 110137, User Security Attributes Changed)."""
    what = [client, f"kafka/{user}"] if user else [client]
    return trail.recorded(
        installation.ports,
        installation.database("interop"),
        operator=who,
        what=f"partner {'add' if action == 'C' else 'retire'}",
        kind="110137",
        action=action,
        entities={hospital: what for hospital in sorted(hospitals)},
    )


async def shut_out(installation: Installation, client: str, hospitals: set[str]) -> None:
    """From now on it subscribes to nothing, whatever interop's policies still say."""
    database, now = installation.database("interop"), installation.ports.clock.now()
    for hospital in sorted(hospitals - {trail.EVERY_HOSPITAL}):
        row = Retired(id=client, hospital=hospital, version=1, at=now).model_dump()
        its = {"_id": f"{hospital}/{client}"}
        await database.update_row(database.raw(Retired.COLLECTION), its, {"$set": row}, upsert=True)


async def let_in(installation: Installation, partner: Partner) -> bool:
    """The opposite; whether it was shut out."""
    database, its = installation.database("interop"), f"{partner.hospital}/{partner.client}"
    raw = database.raw(Retired.COLLECTION)
    if not await database.find_rows(raw, {"_id": its}, fields=("id",)):
        return False
    await database.delete_rows(raw, [its])
    return True


async def suspend(installation: Installation, row: dict[str, Any]) -> None:
    """As ``Subscription.moved`` does it, and whatever the reason of one that was suspended;
    somebody who changes it at the same time is first."""
    database = installation.database("interop")
    raw = database.raw(Subscription.COLLECTION)
    for _ in range(5):
        now = installation.ports.clock.now()
        change: dict[str, Any] = {"status": Status.SUSPENDED.value, "reason": RETIRED}
        if row["status"] != Status.SUSPENDED:
            change["changed_at"] = now
        guard = {"_id": row["_id"], "version": row["version"]}
        if await database.update_row(raw, guard, {"$set": change, "$inc": {"version": 1}}):
            return
        (row,) = await database.find_rows(
            raw, {"_id": row["_id"]}, fields=("hospital", "id", "version", "status")
        )
        if row["status"] == Status.DELETED:
            return
    raise Failed(f"The subscription {row['_id']} is changed all the time: try again.")
