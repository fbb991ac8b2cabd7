"""Who may act for a patient, and until when? The rule of the sender's profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from libs.common.events import Relationship
from libs.common.years import birthday, years
from services.interop.edge.profile import Guardians


@dataclass(frozen=True, slots=True)
class GuardianRule:
    """``adult_age`` says from which age (in years, by the day) a person acts alone."""

    rule: Guardians
    zone: tzinfo
    now: datetime
    adult_age: Callable[[date], int]

    def who_may(self, born: date, at: datetime) -> frozenset[Relationship]:
        """Whether the patient is a child is asked for the moment ``at`` that the message is
        about and for now: it may be an old one."""
        days = [moment.astimezone(self.zone).date() for moment in (at, self.now)]
        is_adult = any(years(born, day) >= self.adult_age(day) for day in days)
        return self.rule.of_adult if is_adult else self.rule.of_child

    def until(
        self, relationship: Relationship, born: date, ends: Iterable[datetime | None]
    ) -> datetime | None:
        """The earlier of the ends that the sender gives and the patient's coming of age, from
        which on only those act who may for an adult."""
        told = [end for end in ends if end is not None]
        if relationship not in self.rule.of_adult:
            adult = self.adult_age(self.now.astimezone(self.zone).date())
            midnight = datetime.combine(birthday(born, adult), time(), self.zone)
            told.append(midnight.astimezone(UTC))
        return min(told, default=None)
