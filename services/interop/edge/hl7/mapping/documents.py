"""What does a document that is embedded in a line (OBX-2 ED) become?

A reference: the document is kept apart, and the report says where, of which type and how long
it is. What can't be read as a document is left out with a note; the line's text is never lost.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from libs.common.events import Department, DocumentRef
from services.interop.domain.document import DocumentOf, document_id
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, line
from services.interop.edge.hl7.message import Segment

#: ED.2 (table 0191 and its older forms).
_TYPES: Final[Mapping[str, str]] = {
    "ap": "application",
    "au": "audio",
    "im": "image",
    "si": "image",
    "tx": "text",
    "ft": "text",
}
#: ED.3 (table 0291) where the type is missing or says something else.
_SUBTYPES: Final[Mapping[str, str]] = {
    "pdf": "application/pdf",
    "rtf": "application/rtf",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tiff": "image/tiff",
    "gif": "image/gif",
    "dicom": "application/dicom",
    "html": "text/html",
    "xml": "application/xml",
    "x-hl7-cda-level-one": "application/xml",
}
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}", re.ASCII)
_UNKNOWN: Final = "application/octet-stream"
#: What one report's event holds.
_MOST: Final = 16


def embedded(
    reading: Reading,
    lines: Sequence[Segment],
    patient_id: str,
    department: Department | None,
    orderer: str | None,
) -> tuple[DocumentRef, ...]:
    """The documents of ED lines, which ``reading`` keeps: those of one report of ``patient_id``,
    ordered by ``orderer`` in ``department``, whose staff may read them."""
    whose = {
        "patient_id": patient_id,
        "department_code": department.code if department else None,
        "ordering_practitioner_id": orderer,
    }
    found = [ref for obx in lines[:_MOST] if (ref := _document(reading, obx, whose))]
    for obx in lines[_MOST:]:
        reading.note("document_left_out", obx, 5, f"beyond {_MOST} of one report")
    return tuple({ref.document_id: ref for ref in found}.values())


def _document(
    reading: Reading, obx: Segment, whose: Mapping[str, str | None]
) -> DocumentRef | None:
    content = _content(reading, obx)
    if not content:
        reading.note("document_left_out", obx, 5, "no document that could be decoded")
        return None
    digest = sha256(content).hexdigest()
    found = DocumentOf(
        id=document_id(whose["patient_id"] or "", digest),
        content_type=_content_type(obx),
        title=line(types.coded_text(obx.value(3))),
        size=len(content),
        sha256=digest,
        **whose,
    )
    reading.documents[found.id] = found
    reading.contents[digest] = content
    return DocumentRef(
        document_id=found.id,
        content_type=found.content_type,
        title=found.title,
        size=found.size,
        sha256=digest,
        url=f"{reading.documents_at}/{found.id}",
    )


def _content(reading: Reading, obx: Segment) -> bytes | None:
    value = obx.value(5)
    text, encoding = value.text(5) or "", (value.text(4) or "").lower()
    if (cut := reading.cuts.get(text)) is not None:
        return cut.content if cut.base64 else _decoded(cut.content)
    if encoding in ("base64", ""):
        return _decoded(text.encode("utf-8", errors="replace"))
    if encoding == "hex":
        try:
            return bytes.fromhex(text)
        except ValueError:
            return None
    return text.encode("utf-8", errors="replace") if encoding == "a" else None


def _decoded(text: bytes) -> bytes | None:
    """Base64 as senders write it: with line breaks, without its padding."""
    plain = b"".join(text.split()).rstrip(b"=")
    try:
        return a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except Error:
        return None


def _content_type(obx: Segment) -> str:
    value = obx.value(5)
    kind, subtype = (value.text(2) or "").lower(), (value.text(3) or "").lower()
    for told in (kind, subtype, f"{_TYPES.get(kind, kind)}/{subtype}"):
        if _MEDIA_TYPE.fullmatch(told) and "/" in told:
            return told
    return _SUBTYPES.get(subtype) or _SUBTYPES.get(kind) or _UNKNOWN
