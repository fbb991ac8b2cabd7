"""How many years are over on a day, and on which day is somebody so old?

The same for all services: who is a child to one is no adult to another.
"""

from __future__ import annotations

from datetime import date


def years(since: date, day: date) -> int:
    """Completed years on ``day``; of who was born on 29 February, from 1 March in other years."""
    return day.year - since.year - ((day.month, day.day) < (since.month, since.day))


def birthday(born: date, age: int) -> date:
    """The day on which somebody is of that age, as :func:`years` counts."""
    year = min(born.year + age, date.max.year)
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
