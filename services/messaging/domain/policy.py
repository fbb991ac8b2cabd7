"""By which dated rules and texts do groups talk?

The shape of ``policies/messaging/*.yaml`` (figures) and ``policies/education/*.yaml``
(the sheets that a group posts, in both languages, each with its source); the groups' rules
are those of ``policies/consents``. Of a figure or a sheet, the version in force on the
hospital's calendar day counts; what was posted stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from libs.common.dated import Dated
from libs.common.events import MessageKind, Wording
from libs.common.events.base import Prose, Word


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Told(_Strict):
    told_hours: int = Field(ge=1, le=8784, description="How long it is worth telling.")
    source: tuple[str, ...] = Field(min_length=1)

    @property
    def told_for(self) -> timedelta:
        return timedelta(hours=self.told_hours)


class Figures(_Strict):
    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    question: Told
    answer: Told


class Sheet(_Strict):
    """One text of one version. ``key`` is what enrollment's programmes name."""

    key: Word
    kind: MessageKind
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    valid_from: date
    source: str = Field(min_length=1)
    title: Wording
    zh: Prose
    en: Prose


#: What stands above the rules. Their text is the one to which people consent on joining.
RULES_TITLE = {"zh": "群规", "en": "Rules of this group"}


def rules_sheet(rules: Mapping[str, Any]) -> Sheet:
    """A consent's text of rules, as the sheet that a group shows."""
    return Sheet.model_validate({**rules, "kind": MessageKind.RULES, "title": RULES_TITLE})


class Policy(Dated[Figures]):
    """All versions of the figures and the sheets, with the hospital's calendar."""

    def __init__(
        self,
        *,
        figures: Iterable[Mapping[str, Any]],
        rules: Iterable[Mapping[str, Any]],
        sheets: Iterable[Mapping[str, Any]],
        zone: ZoneInfo,
    ) -> None:
        super().__init__(map(Figures.model_validate, figures), zone)
        all_sheets = [*map(rules_sheet, rules), *map(Sheet.model_validate, sheets)]
        self._sheets = sorted(all_sheets, key=lambda s: s.valid_from)
        if len({(s.key, s.valid_from) for s in all_sheets}) != len(all_sheets):
            raise ValueError("a sheet has two texts from the same day on")

    def sheet(self, key: str, now: datetime) -> Sheet | None:
        """The text of ``key`` that is valid at ``now``."""
        today = now.astimezone(self.zone).date()
        found = [s for s in self._sheets if s.key == key and s.valid_from <= today]
        return found[-1] if found else None

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(s.key for s in self._sheets)
