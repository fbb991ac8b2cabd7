"""Whatever dies between the record of an attempt and that of its outcome.

The inbox has a message exactly once, a webhook is called with one key only, and a mail has
one Message-ID and is taken by the mail server at most twice.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.decision import Decision
from libs.common.events import (
    Channel,
    NotificationFailed,
    NotificationSent,
)
from services.notify.domain.delivering import Verdict
from services.notify.domain.delivery import Delivery, DeliveryStatus
from services.notify.domain.inbox import InboxMessage
from tests.support.rules import Case
from tests.unit.notify.cases import (
    CLAIM_HOLDS,
    NOW,
    SECOND,
    claim,
    delivery,
    ended,
    known_case,
    request,
)

CHANNELS = (Channel.EMAIL, Channel.WEBHOOK)


class World:
    """A provider with a memory, and processes that die where the example says."""

    def __init__(self) -> None:
        self.case: Case = known_case()
        self.taken: dict[Channel, list[str]] = {c: [] for c in CHANNELS}
        self.late: list[tuple[Channel, int]] = []
        self.published = self.case.event_input(request())
        self.case.send(self.published)

    def attempt(self, channel: Channel, fate: str) -> None:
        """Look at the delivery as the loop does, and let the process meet its fate."""
        doc = delivery(self.case, channel)
        if doc.next_attempt_at is None or doc.next_attempt_at > self.case.now:
            return
        answer = claim(self.case, channel)
        if not isinstance(answer, Decision) or answer.note != "claimed":
            return
        attempt = answer.result["attempt"]
        assert delivery(self.case, channel).attempt == attempt, "recorded before the call"
        if fate == "dies before the call":
            return
        if fate in ("busy", "unreachable"):
            ended(self.case, channel, Verdict.PASSING, attempt)
            return
        if fate == "answer lost, not taken":
            ended(self.case, channel, Verdict.LOST, attempt, reason="answer_lost")
            return
        self.taken[channel].append(doc.key)
        if fate == "dies after the call":
            return
        if fate == "outcome is recorded late":
            self.late.append((channel, attempt))
            return
        if fate == "answer lost, taken":
            ended(self.case, channel, Verdict.LOST, attempt, reason="answer_lost")
            return
        ended(self.case, channel, Verdict.SENT, attempt)


FATES = st.sampled_from(
    [
        "taken",
        "busy",
        "unreachable",
        "dies before the call",
        "dies after the call",
        "answer lost, taken",
        "answer lost, not taken",
        "outcome is recorded late",
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("attempt"), st.sampled_from(CHANNELS), FATES),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 60, 700]), st.none()),
    st.tuples(st.just("request again"), st.booleans(), st.none()),
    st.tuples(st.just("late outcomes"), st.none(), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_a_push_is_never_lost_and_sent_at_most_as_often_as_its_channel_allows(
    steps: list[tuple[str, object, object]],
) -> None:
    world = World()
    for what, one, two in steps:
        if what == "attempt":
            assert isinstance(one, Channel)
            world.attempt(one, str(two))
        elif what == "wait":
            assert isinstance(one, int)
            world.case.advance(one * SECOND)
        elif what == "request again":  # the same event, or one of the same content
            world.case.send(world.published if one else world.case.event_input(request()))
        else:
            for channel, attempt in world.late:
                ended(world.case, channel, Verdict.SENT, attempt)
            world.late.clear()
    # From now on nobody dies: everything comes to an end.
    for _ in range(20):
        for channel in CHANNELS:
            world.attempt(channel, "taken")
        world.case.advance(max(CLAIM_HOLDS, timedelta(seconds=700)))

    assert len(world.case.docs(InboxMessage)) == 1
    for channel in CHANNELS:
        doc = delivery(world.case, channel)
        assert doc.status in (DeliveryStatus.SENT, DeliveryStatus.FAILED)
        assert len(set(world.taken[channel])) <= 1
        said = [e for e in world.case.events(NotificationSent) if e.channel is channel]
        failed = [e for e in world.case.events(NotificationFailed) if e.channel is channel]
        assert len(said) + len(failed) == 1
        assert doc.status is DeliveryStatus.FAILED or world.taken[channel]
    assert len(world.taken[Channel.EMAIL]) <= 2
    # A webhook is given up only when a whole day has passed.
    if world.case.now < NOW + timedelta(hours=20):
        assert delivery(world.case, Channel.WEBHOOK).status is DeliveryStatus.SENT
    assert len(world.case.docs(Delivery)) == 2
