"""What may stand in the body of a request?

Exactly what its model names: an unknown field is a mistake that the sender should hear
of, not a wish silently dropped. (Events are read the other way round, see
``libs/common/events/base.py``.) Times are texts with a time zone: pydantic alone would
also read ``0`` as the year 1970.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StrictBool
from pydantic_core import PydanticCustomError


class Body(BaseModel):
    """The base of every request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def _day(value: Any) -> Any:
    if isinstance(value, str) and value[4:5] == "-":  # a year first, not a number of seconds
        return value
    raise PydanticCustomError("date_type", "must be a date")


def _moment(value: Any) -> Any:
    if isinstance(value, str) and value[4:5] == "-":
        return value
    raise PydanticCustomError("datetime_type", "must be a time")


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("int_type", "must be a number")


#: A point in time, as ``2026-03-01T08:00:00+08:00``.
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
#: A calendar day, as ``2026-03-01``.
Day = Annotated[date, BeforeValidator(_day)]
#: Last in ``Annotated[int, Field(ge=1), NotText]``: a JSON number, not a text that looks like
#: one. (``1.0`` is a whole number in JSON, so ``StrictInt`` would be too strict.)
NotText = BeforeValidator(_number)
#: A JSON boolean, not a word for one.
YesNo = StrictBool
