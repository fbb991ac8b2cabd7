"""Is a trace that is kept kept whole, where a region keeps one in ten?

The platform of these tests does (``TRACE_SAMPLE_RATIO=0.1``). Nobody outside begins a trace for
an HL7 message, so interop decides; everybody behind it must do as it has.
"""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from libs.common.events import EncounterDischarged, InvitationIssued, NotificationRequested
from libs.common.spans import is_sampled
from tests.failure.test_interfaces import HOSPITAL, SAMPLED, HospitalSystem, discharge
from tests.support import topics
from tests.support.otlp import Collector, orphans
from tests.support.platform import Hospital, Platform, eventually

COUNT = 150


@pytest.mark.timeout(300)
async def test_one_in_ten_is_kept_whole_and_of_the_others_nothing(
    platform: Platform, hospital: Hospital, collector: Collector
) -> None:
    at = hospital.ports.clock.now() - timedelta(hours=1)
    port = platform.stack.ports.mllp
    his = HospitalSystem(lambda: port, (discharge(SAMPLED + n, at) for n in range(COUNT)))
    await his.run()
    await hospital.settled()

    stays = {f"hl7-e{SAMPLED + n}" for n in range(COUNT)}
    persons = {f"hl7-p{SAMPLED + n}" for n in range(COUNT)}
    read = (EncounterDischarged.TOPIC, InvitationIssued.TOPIC, NotificationRequested.TOPIC)
    kept: dict[str, set[bool]] = {}
    for event in topics.once(
        topics.events(await topics.standing(platform.stack.bootstrap, *read), HOSPITAL)
    ):
        data = event.data
        if (
            getattr(data, "encounter_id", "") in stays
            or getattr(data, "recipient_id", "") in persons
        ):
            assert event.traceparent is not None
            kept.setdefault(event.traceparent[3:35], set()).add(is_sampled(event.traceparent))
    assert len(kept) == COUNT, "each stay is one trace"
    assert all(len(said) == 1 for said in kept.values()), "all say the same of one trace"
    whole = {trace for trace, said in kept.items() if said == {True}}
    assert 0 < len(whole) < COUNT / 2

    async def arrived() -> bool:
        """From each process in its own time, a provider's call last."""
        found = collector.traces()
        return all(
            {"interop", "enrollment", "notify"} <= {s.service for s in found[trace]}
            and any(s.name.startswith("process notify.requests") for s in found[trace])
            and not orphans(found[trace])
            for trace in whole
        )

    await eventually(arrived, 60)
    found = collector.traces()
    assert not found.keys() & (kept.keys() - whole), "nothing of what is not kept"
    for trace in whole:
        (root,) = [s for s in found[trace] if not s.parent_id]
        assert root.service == "interop"


@pytest.mark.parametrize("flag", ["00", "01"])
async def test_whoever_begins_a_trace_outside_decides_for_us(
    hospital: Hospital, collector: Collector, flag: str
) -> None:
    headers = hospital.headers("n-1", "nurse", departments=["NEURO"])
    began = {f"{n:032x}" for n in itertools.islice(itertools.count(int(flag, 16) * 100 + 1), 20)}
    for trace in began:
        headers["traceparent"] = f"00-{trace}-00000000000000aa-{flag}"
        answer = await hospital.call("GET", "enrollment", "/v1/groups", headers=headers)
        assert answer.status_code == 200, answer.text
    kept = began if flag == "01" else set()
    # Behind them in the same queue: when it has come, what was before it has, too.
    headers["traceparent"] = f"00-{'f' * 31}{flag[1]}-00000000000000aa-01"
    await hospital.call("GET", "enrollment", "/v1/groups", headers=headers)

    async def last() -> bool:
        return headers["traceparent"][3:35] in collector.traces()

    await eventually(last, 30)
    assert collector.traces().keys() & began == kept
