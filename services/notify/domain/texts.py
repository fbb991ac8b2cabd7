"""In which words is a person told, and what may these words never hold?

Templates come from ``policies/templates``: one text each in Chinese and in English with
named parameters. They only say *that* there is something. The names that a parameter
may have are a closed list, so no template can carry a result, a diagnosis or a medicine.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.common.events.base import Word

Language = Literal["zh-CN", "en"]
LANGUAGES: tuple[Language, ...] = ("zh-CN", "en")
#: What a lock screen shows of a title, and a page of an inbox of a body, in characters.
TITLE_MAX = 120
BODY_MAX = 600
#: Told instead of a template that this version does not have: late words are better
#: than a lost push. It is about health, for all we know.
FALLBACK = "fallback"


class Audience(StrEnum):
    """For whom a text is. Staff are told of their work, also about a patient who died."""

    PERSON = "person"
    STAFF = "staff"


#: Everything that a text may be given. Nothing here says what a report holds, which
#: illness somebody has (as a department's or a group's name would) or which medicine
#: somebody takes.
ParameterName = Literal[
    "count",
    "date",
    "days",
    "deadline",
    "expires_on",
    "kind",
    "remaining",
    "time",
    "valid_on",
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class InBoth(_Strict):
    """A word in both languages."""

    zh_cn: str = Field(alias="zh-CN", min_length=1, max_length=200)
    en: str = Field(min_length=1, max_length=200)

    def in_(self, language: Language) -> str:
        return self.zh_cn if language == "zh-CN" else self.en


class Parameter(_Strict):
    """One parameter: its longest value, and what stands in its place when it is missing.

    With ``words`` the value is a code, and what people read is the code's word.
    """

    max_length: int = Field(default=40, ge=1, le=200)
    absent: InBoth
    words: Mapping[str, InBoth] = Field(default_factory=dict)

    def value(self, given: str | None, language: Language) -> str:
        # One line, because a title becomes a mail's subject.
        line = " ".join((given or "").split())
        if self.words and line:
            word = self.words.get(line)
            line = "" if word is None else word.in_(language)
        if not line:
            return self.absent.in_(language)
        return line if len(line) <= self.max_length else line[: self.max_length - 1] + "…"

    def longest(self, language: Language) -> str:
        return "x" * max(self.max_length, len(self.absent.in_(language)))


class Words(_Strict):
    """A text in one language, with ``{parameter}`` in it."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=TITLE_MAX)]
    body: Annotated[str, StringConstraints(min_length=1, max_length=BODY_MAX)]


class Template(_Strict):
    """One text in both languages.

    ``about_health``: it tells of care, so it is not told to whom withdrew that consent;
    False is for administrative matters only.
    """

    audience: Audience
    about_health: bool
    parameters: Mapping[ParameterName, Parameter] = Field(default_factory=dict)
    zh_cn: Words = Field(alias="zh-CN")
    en: Words

    def words(self, language: Language) -> Words:
        return self.zh_cn if language == "zh-CN" else self.en

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for language in LANGUAGES:
            words = self.words(language)
            used = _placeholders(words.title) | _placeholders(words.body)
            if used != set(self.parameters):
                raise ValueError(f"{language}: declared {set(self.parameters)}, used {used}")
            longest: dict[str, str] = {
                name: parameter.longest(language) for name, parameter in self.parameters.items()
            }
            if len(words.title.format_map(longest)) > TITLE_MAX:
                raise ValueError(f"{language}: the title can become too long")
            if len(words.body.format_map(longest)) > BODY_MAX:
                raise ValueError(f"{language}: the body can become too long")
        return self


def _placeholders(text: str) -> set[str]:
    found = set()
    for _, name, spec, conversion in Formatter().parse(text):
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            raise ValueError("a placeholder is a plain {name}")
        found.add(name)
    return found


class TemplateFile(_Strict):
    """One file of ``policies/templates``."""

    templates: Mapping[Word, Template]


class Rendered(BaseModel):
    """What a person reads, in one language."""

    model_config = ConfigDict(frozen=True)

    title: str
    body: str


class Texts:
    """All templates by key; ``FALLBACK`` is always among them."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        if FALLBACK not in templates or templates[FALLBACK].parameters:
            raise ValueError("there must be a template 'fallback' without parameters")
        self._templates = dict(templates)

    def __contains__(self, key: str) -> bool:
        return key in self._templates

    def keys(self) -> frozenset[str]:
        return frozenset(self._templates)

    def template(self, key: str) -> Template:
        return self._templates.get(key) or self._templates[FALLBACK]

    def render(self, key: str, parameters: Mapping[str, str]) -> dict[Language, Rendered]:
        """The text of ``key`` in each language; parameters that are not declared are ignored."""
        template = self.template(key)
        rendered = {}
        for language in LANGUAGES:
            values: dict[str, str] = {
                name: parameter.value(parameters.get(name), language)
                for name, parameter in template.parameters.items()
            }
            words = template.words(language)
            rendered[language] = Rendered(
                title=words.title.format_map(values), body=words.body.format_map(values)
            )
        return rendered


def language_of(preferred: str | None, default: Language) -> Language:
    """Ours for a BCP 47 tag: its first part decides, ``default`` if we do not have it."""
    primary = (preferred or "").partition("-")[0].lower()
    if primary == "zh":
        return "zh-CN"
    return "en" if primary == "en" else default
