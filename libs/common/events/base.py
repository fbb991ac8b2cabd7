"""What do all event types have in common, and which of their fields are personal?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue

T = TypeVar("T")


#: Where the published schemas live.
SCHEMAS = "https://lianxin.example/schemas/"


def dataschema(type: str) -> str:
    """The URI of the published schema of an event type."""
    return f"{SCHEMAS}{type}.json"


@dataclass(frozen=True, slots=True)
class SensitiveMark:
    """Marks a field as personal data; the published schema says so as ``x-sensitive``."""

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "x-sensitive": True}


#: ``Sensitive[str]``: a name, a contact, a birth date or a finding. Mark the whole field
#: (``Sensitive[str | None]``), so that :func:`sensitive_fields` finds it.
Sensitive = Annotated[T, SensitiveMark()]

#: Ids become parts of keys, URLs and documents' ``_id``: no slash, no bar, no blank.
Id = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@~-]*$")]
#: A code of a code system (ICD-10 ``I63.900x001``, LOINC ``2345-7``, ATC ``C09AA02``).
Code = Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\s/|]+$")]
#: One of our own words, in lower case. Reasons are an open list: new ones may appear.
Word = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_.-]*$")]
#: A line for people to read.
Line = Annotated[str, StringConstraints(min_length=1, max_length=256)]
#: Several sentences for people to read.
Prose = Annotated[str, StringConstraints(min_length=1, max_length=8000)]
#: A language as in BCP 47: ``zh-CN``, ``en``.
Language = Annotated[
    str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
]
Phone = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Email = Annotated[
    str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
]
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://\S+$")]


class EventModel(BaseModel):
    """Anything inside an event: frozen, and tolerant of fields that it does not know.

    A validation error never quotes the value that was wrong: it may be personal.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Event(EventModel):
    """The body (CloudEvents ``data``) of one event type: a fact in the past tense."""

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
    #: The field whose value, prefixed by the hospital, is the Kafka key.
    KEY: ClassVar[str] = "patient_id"
    #: The field that holds the aggregate's id, the CloudEvents ``subject``.
    SUBJECT: ClassVar[str]
    #: No code writes or reads it yet, so it may still change; partners can't subscribe to it.
    DRAFT: ClassVar[bool] = False


class Department(EventModel):
    """A department of the hospital."""

    code: Code = Field(description="The hospital's code of the department.")
    name: Line | None = Field(default=None, description="Its name, as patients know it.")


class Contact(EventModel):
    """How one person can be reached, and in which language."""

    name: Sensitive[Line] = Field(description="The person's full name.")
    phone: Sensitive[Phone | None] = Field(default=None, description="Telephone number.")
    email: Sensitive[Email | None] = Field(default=None, description="E-mail address.")
    webhook: Sensitive[Url | None] = Field(
        default=None, description="A URL that takes this person's notifications (own software)."
    )
    language: Language | None = Field(
        default=None, description="Preferred language (BCP 47); the hospital's if absent."
    )


def sensitive_fields(model: type[BaseModel]) -> frozenset[str]:
    """The names of ``model``'s own fields that hold personal data (nested models: ask them)."""
    return frozenset(
        name
        for name, info in model.model_fields.items()
        if any(isinstance(m, SensitiveMark) for m in info.metadata)
    )


__all__ = [
    "AwareDatetime",
    "Code",
    "Contact",
    "Department",
    "Email",
    "Event",
    "EventModel",
    "Id",
    "Language",
    "Line",
    "Phone",
    "Prose",
    "Sensitive",
    "SensitiveMark",
    "Url",
    "Word",
    "dataschema",
    "sensitive_fields",
]
