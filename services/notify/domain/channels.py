"""What does each channel promise, and when is a call made again?

*transactional*: recorded with the state itself, so exactly once (the inbox). *keyed*: the
provider drops a repetition with the same key within a window. *blind*: nobody notices a
repetition, so a message whose answer was lost is sent once more and then given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events import Channel
from services.notify.domain.texts import Language, Texts


class Kind(StrEnum):
    """What a channel promises about a repetition."""

    TRANSACTIONAL = "transactional"
    KEYED = "keyed"
    BLIND = "blind"


KINDS: Mapping[Channel, Kind] = {
    Channel.INBOX: Kind.TRANSACTIONAL,
    Channel.WEBHOOK: Kind.KEYED,
    Channel.EMAIL: Kind.BLIND,
}
#: Those that call somebody outside.
CALLED = tuple(c for c, kind in KINDS.items() if kind is not Kind.TRANSACTIONAL)
#: How many answers may be lost before a message on a blind channel is given up: with two
#: sends whose answers were lost, the person has it twice at worst.
BLIND_LOSSES = 2


class Retry(BaseModel):
    """When a channel is called again. Durations in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float = Field(gt=0)
    cap: float = Field(gt=0)
    #: Since the first attempt. For a keyed channel it is also how long keys are remembered.
    give_up_after: float = Field(gt=0)

    def delay(self, attempt: int, jitter: float, asked: float | None = None) -> timedelta:
        """Until the attempt after ``attempt``; ``jitter`` is in [0, 1).

        Doubled, capped, with jitter over the upper half (AWS Architecture Blog,
        "Exponential Backoff And Jitter", 2015: equal jitter). What the provider asked for
        (``Retry-After``) is respected up to the cap.
        """
        ceiling = min(self.cap, self.first * 2 ** min(attempt - 1, 30))
        seconds = ceiling * (0.5 + 0.5 * jitter)
        return timedelta(seconds=max(seconds, min(asked or 0.0, self.cap)))


class ChannelFigures(Retry):
    """One channel of ``policies/notify``, with where its figures come from."""

    source: tuple[str, ...] = Field(min_length=1)


class Figures(BaseModel):
    """One file of ``policies/notify``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    default_language: Language
    channels: Mapping[Channel, ChannelFigures]


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """One channel that this installation has. ``claim`` outlasts any call by far.

    ``default_address`` serves persons who have none of their own.
    """

    retry: Retry
    claim: timedelta
    default_address: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that notify's rules may know besides their documents, from a day on."""

    version: str
    in_force_from: date
    texts: Texts
    channels: Mapping[Channel, ChannelRule]
    default_language: Language = "zh-CN"
    discharge_ahead: timedelta = timedelta(days=1)
