"""How are writes made together, or not at all?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from pymongo import ReplaceOne, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from libs.common.mongo.calls import SOCKET_SECONDS, awaited, call, translated
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Conflict, Unavailable

#: After this a transaction begins no further step; the server would end it after 60
#: (MongoDB's transactionLifetimeLimitSeconds).
TRANSACTION_SECONDS: Final = 10


async def _to_its_end(work: Awaitable[Any]) -> Any:
    """``work`` within a session, which is over when this is.

    Cancelled, it would go on in the driver's thread with the session that its caller ends.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running], timeout=SOCKET_SECONDS)
        if running.done() and not running.cancelled():
            running.exception()  # looked at: nobody else will
        raise


class Transaction:
    """Writes that happen together or not at all. After any error it is aborted."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._until = asyncio.get_running_loop().time() + TRANSACTION_SECONDS

    def in_time(self) -> None:
        """Looked at before every step: the locks of a long one keep others waiting."""
        if asyncio.get_running_loop().time() > self._until:
            raise Unavailable(f"a transaction took over {TRANSACTION_SECONDS} s")

    async def insert(self, raw: Any, rows: Sequence[Row]) -> None:
        if rows:
            self.in_time()
            work = raw.insert_many(rows, ordered=False, session=self._session)
            await call(_to_its_end(work))

    async def replace(self, raw: Any, pairs: Sequence[tuple[Row, Row]], *, upsert: bool) -> None:
        """Replace by (filter, row). Every filter must match, or be inserted if ``upsert``."""
        if not pairs:
            return
        self.in_time()
        ops = [ReplaceOne(f, r, upsert=upsert) for f, r in pairs]
        work = raw.bulk_write(ops, ordered=False, session=self._session)
        done = await call(_to_its_end(work))
        if done.matched_count + done.upserted_count != len(ops):
            raise Conflict("version")

    async def delete(self, raw: Any, ids: Sequence[str]) -> int:
        self.in_time()
        work = raw.delete_many({"_id": {"$in": list(ids)}}, session=self._session)
        done = await call(_to_its_end(work))
        return int(done.deleted_count)


@asynccontextmanager
async def transaction(
    client: Any, there: Callable[[], Awaitable[None]]
) -> AsyncIterator[Transaction]:
    """Commits at the end of the block, aborts when it raises."""
    await there()
    session = None
    try:
        session = await awaited(client.start_session())
        await awaited(
            session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            )
        )
        begun = Transaction(session)
        yield begun
        begun.in_time()
        await _commit(session)
    except Exception as error:
        meaning = translated(error)
        if meaning is error:
            raise
        raise meaning from error
    finally:
        if session is not None:
            # Not by ``async with``: Motor's aborts on the loop, and that is a round trip.
            await _to_its_end(session.end_session())


async def _commit(session: Any) -> None:
    for attempt in (1, 2, 3):
        try:
            await _to_its_end(session.commit_transaction())
            return
        except PyMongoError as error:
            unknown = error.has_error_label("UnknownTransactionCommitResult")
            if not unknown or attempt == 3:
                # Still unknown: the caller begins again and its inbox tells what happened.
                raise
