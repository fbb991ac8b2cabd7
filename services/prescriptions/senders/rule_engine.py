"""How is the hospital's rule engine asked? (The contract is docs/clinical-checks.md.)

One POST for each check and no second try: a person waits. Any answer but the one agreed on
means that nothing was checked; none is half believed.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal, Self

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from libs.common import tls
from libs.common.http.problems import safe_name
from services.prescriptions.domain.checks import (
    AlertId,
    CheckName,
    CheckVerdict,
    ClinicalCheck,
    ClinicalChecks,
    NotChecked,
)
from services.prescriptions.domain.facts import Severity
from services.prescriptions.ports import CheckFailed, CheckRequest
from services.prescriptions.settings import Settings

#: An answer above this size is not read to its end.
MAX_BYTES: Final = 64 * 1024
#: What one answer may hold: far more than anybody would read.
MAX_FINDINGS: Final = 64

Words = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Text(Part):
    zh: Words = Field(alias="zh-CN")
    en: Words | None = None


class Passed(Part):
    check: CheckName = Field(strict=False)
    verdict: Literal["passed"]


class NotMade(Part):
    check: CheckName = Field(strict=False)
    verdict: Literal["not_checked"]


class Alerted(Part):
    check: CheckName = Field(strict=False)
    verdict: Literal["alert"]
    id: AlertId
    severity: Severity = Field(strict=False)
    text: Text
    source: tuple[Words, ...] = Field(min_length=1, max_length=8, strict=False)


class Engine(Part):
    name: Name
    version: Name


class Answer(Part):
    id: str
    engine: Engine
    checks: tuple[Annotated[Passed | NotMade | Alerted, Field(discriminator="verdict")], ...] = (
        Field(max_length=MAX_FINDINGS, strict=False)
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        ids = [c.id for c in self.checks if isinstance(c, Alerted)]
        if len(set(ids)) != len(ids):
            raise ValueError("two alerts share an id")
        passed = {c.check for c in self.checks if isinstance(c, Passed)}
        if any(c.check in passed for c in self.checks if not isinstance(c, Passed)):
            raise ValueError("a check passed and did not pass")
        return self


class RuleEngine:
    name = "hospital"

    def __init__(self, settings: Settings) -> None:
        self._url = settings.clinical_url
        self._timeout = settings.clinical_timeout
        # Kept: reading certificates takes longer than a check.
        self._tls = tls.renewed(
            settings.clinical_ca, settings.clinical_client_cert, settings.clinical_client_key
        )

    async def check(self, asked: CheckRequest) -> ClinicalChecks:
        try:
            # In all: an answer that trickles in would reset a timeout of each read.
            async with asyncio.timeout(self._timeout):
                content = await self._post(body(asked))
        except TimeoutError:
            raise CheckFailed(NotChecked.UNAVAILABLE, "too slow") from None
        except httpx.HTTPError as error:
            raise CheckFailed(NotChecked.UNAVAILABLE, type(error).__name__) from None
        try:
            answer = Answer.model_validate_json(content)
        except ValidationError as error:
            raise CheckFailed(NotChecked.UNREADABLE, _first(error)) from None
        if answer.id != asked.id:
            raise CheckFailed(NotChecked.UNREADABLE, "the answer to another question")
        return ClinicalChecks(
            id=asked.id,
            engine=answer.engine.name,
            version=answer.engine.version,
            at=asked.at,
            checks=tuple(_finding(c) for c in answer.checks),
        )

    async def _post(self, content: dict[str, Any]) -> bytes:
        # Redirects are not followed: only the configured address may check.
        async with (
            httpx.AsyncClient(
                timeout=self._timeout, verify=self._tls(), follow_redirects=False
            ) as client,
            client.stream("POST", self._url, json=content) as response,
        ):
            if response.status_code != 200:
                raise CheckFailed(NotChecked.UNAVAILABLE, str(response.status_code))
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > MAX_BYTES:
                    raise CheckFailed(NotChecked.UNREADABLE, "too large")
            return bytes(read)


def body(asked: CheckRequest) -> dict[str, Any]:
    """What is sent: no name, no birth date, no address."""
    question = asked.question.model_dump(mode="json")
    patient = {"id": question.pop("patient_id")}
    patient |= {name: question.pop(name) for name in ("sex", "age", "conditions", "allergies")}
    return {
        "id": asked.id,
        "hospital": asked.hospital,
        "at": asked.at.isoformat(),
        "checks": list(CheckName),
        "patient": patient,
        **question,
    }


def _finding(told: Passed | NotMade | Alerted) -> ClinicalCheck:
    if isinstance(told, Alerted):
        return ClinicalCheck(
            id=told.id,
            check=told.check,
            verdict=CheckVerdict.ALERT,
            severity=told.severity,
            text=told.text.model_dump(by_alias=True, exclude_none=True),
            source=told.source,
        )
    made = isinstance(told, Passed)
    return ClinicalCheck(
        id=told.check,
        check=told.check,
        verdict=CheckVerdict.PASSED if made else CheckVerdict.NOT_CHECKED,
        why=None if made else NotChecked.UNKNOWN,
    )


def _first(error: ValidationError) -> str:
    """Where the first fault is and of which kind, for the log: none of what was answered."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return "/".join(map(safe_name, first["loc"])) + f" {first['type']}"
