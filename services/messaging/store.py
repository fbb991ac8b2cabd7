"""How are groups kept, and what can be asked of them?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from libs.common.decision import Actor
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.waiting import Wait, index_of_waiting
from services.messaging.domain.group import STAFF_ROLES, Group, Member, Voice, voice
from services.messaging.domain.message import Message, QuestionStatus
from services.messaging.domain.person import Person

GROUPS = CollectionSpec(Group, indexes=(Index(("department_code",)),))
MEMBERS = CollectionSpec(Member, indexes=(Index(("group_id",)), Index(("person_id",))))
UNANSWERED: Row = {"question": QuestionStatus.UNANSWERED.value}
MESSAGES = CollectionSpec(
    Message,
    indexes=(
        Index(("group_id", "number"), unique=True),
        Index(("question", "sent_at", "id")),
        index_of_waiting("question", "sent_at", where=UNANSWERED),
    ),
)
PERSONS = CollectionSpec(Person, indexes=(Index(("survivor_id",)),))

COLLECTIONS: tuple[CollectionSpec[Any], ...] = (GROUPS, MEMBERS, MESSAGES, PERSONS)

WAITS = (Wait("question", MESSAGES, UNANSWERED, "sent_at"),)


class Store:
    """The questions that the API asks."""

    def __init__(self, database: Database) -> None:
        self._groups = database.collection(GROUPS)
        self._members = database.collection(MEMBERS)
        self._messages = database.collection(MESSAGES)
        self._persons = database.collection(PERSONS)

    async def group(self, hospital: str, id: str, actor: Actor) -> tuple[Group, Voice] | None:
        """The group with the voice of ``actor`` there; None if it is not theirs."""
        group = await self._groups.get(hospital, id)
        if group is None:
            return None
        same, places = await self._places(hospital, actor)
        found = voice(group, places, actor, same)
        return None if found is None else (group, found)

    async def groups(self, hospital: str, actor: Actor) -> list[tuple[Group, Voice]]:
        """All groups of ``actor``, by id: a few, or for staff those of the department."""
        same, places = await self._places(hospital, actor)
        ids = {m.group_id for m in places if m.active}
        found = await self._groups.load("id", [(hospital, id) for id in ids]) if ids else []
        if actor.departments and actor.has(*STAFF_ROLES):
            pairs = [(hospital, code) for code in actor.departments]
            found += await self._groups.load("department_code", pairs)
        voices = [(g, voice(g, places, actor, same)) for g in {g.id: g for g in found}.values()]
        return sorted(((g, v) for g, v in voices if v), key=lambda pair: pair[0].id)

    async def messages(
        self,
        group: Group,
        reader: Voice,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Newest first, or with ``after`` those that came since, oldest first."""
        number: dict[str, int] = {"$gt": after} if after is not None else {"$gt": 0}
        if before is not None:
            number["$lt"] = before
        where: dict[str, Any] = {"group_id": group.id, "number": number}
        if not reader.is_staff:
            where["addressee_id"] = {"$in": [None, *sorted(reader.same)]}
        order = -1 if after is None else 1
        return await self._messages.find(
            group.hospital, where, sort=(("number", order),), limit=limit
        )

    async def pinned(self, group: Group) -> list[Message]:
        found = await self._messages.load("id", [(group.hospital, id) for id in group.pinned])
        return sorted(found, key=lambda m: m.number)

    async def questions(
        self,
        hospital: str,
        group_ids: Iterable[str],
        status: QuestionStatus,
        *,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[Message]:
        """The longest unanswered first."""
        where: dict[str, Any] = {"question": status.value, "group_id": {"$in": sorted(group_ids)}}
        if after is not None:
            sent_at, id = after
            where["sent_at"] = {"$gte": sent_at}
            where["$or"] = [{"sent_at": {"$gt": sent_at}}, {"id": {"$gt": id}}]
        return await self._messages.find(
            hospital, where, sort=(("sent_at", 1), ("id", 1)), limit=limit
        )

    async def names(self, hospital: str, ids: Iterable[str]) -> dict[str, str | None]:
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        found = await self._persons.load("id", [(hospital, id) for id in wanted])
        return {p.id: p.name for p in found}

    async def _places(self, hospital: str, actor: Actor) -> tuple[frozenset[str], list[Member]]:
        known = await self._persons.get(hospital, actor.person)
        survivor = known.survivor_id if known else actor.person
        others = await self._persons.load("survivor_id", [(hospital, survivor)])
        same = frozenset({actor.person, *(p.id for p in others)})
        return same, await self._members.load("person_id", [(hospital, id) for id in same])
