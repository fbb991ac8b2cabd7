"""Does what is read again change only what was not settled, and harm nothing else?"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from libs.common.decision import Answer, Env, Input, State
from libs.common.flood import OWN_FAULTS
from libs.common.kafka.reading import read_all
from libs.common.kafka.record import Record
from libs.common.replays import copy, origin, replay_topic
from tests.support.topics import once
from tests.support.toy import Toy, eventually


async def letters(toy: Toy, count: int) -> list[Record]:
    found: list[Record] = []
    async with aclosing(read_all(toy.bootstrap, [f"{toy.name}.dlq"])) as records:  # type: ignore[type-var]
        async for record in records:
            found.append(record)
            if len(found) == count:
                break
    return found


async def fates(toy: Toy) -> dict[str, str]:
    return {r["_id"].rsplit("|", 1)[1]: r["fate"] for r in await toy.rows("inbox")}


async def test_a_rejected_event_is_handled_once_its_cause_is_mended_and_once_only(
    toy: Toy,
) -> None:
    await toy.publish([toy.event("a", 1), toy.event("b", 1, then="crash")])
    async with toy.replica().running():
        (letter,) = await letters(toy, 1)
    faulty = toy.handlers["test.ticked.v1"]

    def mended(input: Input, state: State, env: Env) -> Answer:
        data = input.data.model_copy(update={"then": "ok"})
        return faulty.decide(input._replace(data=data), state, env)

    toy.handlers["test.ticked.v1"] = replace(faulty, decide=mended)
    async with toy.replica().running():
        for _ in range(3):
            await toy.send([copy(letter, toy.name)])
        await toy.publish([toy.event("a", 2)])

        async def served() -> bool:
            return await toy.tallies() == {"a": 2, "b": 1}

        await eventually(served)
        events = await toy.published(lambda found: len({e.id for e in found}) >= 3)
    assert await fates(toy) == {"a-1": "done", "b-1": "done", "a-2": "done"}
    # Once each: a replica that is stopped may leave a row to be sent again.
    assert sorted(e.subject for e in once(events)) == ["a", "a", "b"]


async def test_a_copy_says_where_the_record_first_stood_also_when_it_is_set_aside_again(
    toy: Toy,
) -> None:
    await toy.publish([toy.event("b", 1, then="crash")])
    async with toy.replica().running():
        (letter,) = await letters(toy, 1)
        await toy.send([copy(letter, toy.name)])
        _, again = await letters(toy, 2)
    assert dict(again.headers)["dlq_topic"].decode() == replay_topic(toy.name)
    assert origin(again) == origin(letter)
    assert origin(letter).topic == toy.topic_in
    sent = copy(again, toy.name)
    assert sent == copy(letter, toy.name), "however often, it is the record as it was"
    assert (sent.key, sent.value) == (letter.key, letter.value)
    assert not any(name.startswith("dlq_") for name, _ in sent.headers)


async def test_rejects_of_what_is_read_again_do_not_stop_the_consumer(toy: Toy) -> None:
    await toy.publish([toy.event("b", 1, then="crash")])
    replica = toy.replica()
    async with replica.running():
        (letter,) = await letters(toy, 1)
        await toy.send([copy(letter, toy.name)] * (OWN_FAULTS * 3))
        await letters(toy, 1 + OWN_FAULTS * 3)
        await toy.publish([toy.event("a", 1)])

        async def served() -> bool:
            return await toy.tallies() == {"a": 1}

        await eventually(served)
        assert not replica.consumer.stopped
