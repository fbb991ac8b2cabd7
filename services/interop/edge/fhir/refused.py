"""Why is a FHIR request not taken, and which element says so?

The one exception of this package: the caller turns it into an OperationOutcome. Its text
quotes codes at most, never a name, a date or a finding: it goes into logs.
"""

from __future__ import annotations

from enum import StrEnum

from services.interop.domain.receipt import Fault


class Issue(StrEnum):
    """FHIR's IssueType, as far as we say it."""

    INVALID = "invalid"
    STRUCTURE = "structure"
    REQUIRED = "required"
    VALUE = "value"
    CODE_INVALID = "code-invalid"
    NOT_SUPPORTED = "not-supported"
    NOT_FOUND = "not-found"
    MULTIPLE_MATCHES = "multiple-matches"
    TOO_COSTLY = "too-costly"
    TOO_LONG = "too-long"
    BUSINESS_RULE = "business-rule"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    TRANSIENT = "transient"
    EXCEPTION = "exception"
    INFORMATIONAL = "informational"


class Refused(Exception):
    """What is at ``expression`` (FHIRPath) can't be taken."""

    def __init__(self, expression: str, code: Issue, text: str) -> None:
        super().__init__(f"{expression}: {text}")
        self.faults: tuple[Fault, ...] = (Fault(expression=expression, code=code, text=text),)

    @classmethod
    def of(cls, faults: tuple[Fault, ...]) -> Refused:
        """Several at once, such as every element that has not FHIR's form."""
        found = cls(faults[0].expression, Issue(faults[0].code), faults[0].text)
        found.faults = faults
        return found
