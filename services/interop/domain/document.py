"""Which document came with a message, whose is it, and who may read it?

The document itself is kept apart (``libs/common/blobs.py``), by the SHA-256 of its bytes.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Actor, Document, derived_id
from libs.common.events.base import Sensitive


class DocumentOf(BaseModel):
    """What is known of a document."""

    model_config = ConfigDict(frozen=True)

    id: str
    patient_id: str
    content_type: str
    title: Sensitive[str | None] = None
    size: int
    sha256: str
    department_code: str | None = None
    ordering_practitioner_id: str | None = None


class StoredDocument(Document, DocumentOf):
    """The same, as it is kept."""

    COLLECTION: ClassVar[str] = "documents"


def document_id(patient_id: str, sha256: str) -> str:
    """The same content of another patient is another document: whose it is decides who reads."""
    return derived_id("document", patient_id, sha256)


def may_read(document: DocumentOf, actor: Actor, *, is_told_reports: bool) -> bool:
    """Whoever runs the interfaces, a partner that is told reports (``is_told_reports``), who
    ordered it, and the staff of the department that did."""
    if actor.has("ops") or (actor.has("integration") and is_told_reports):
        return True
    return actor.has("doctor", "nurse") and (
        actor.person == document.ordering_practitioner_id
        or document.department_code in actor.departments
    )
