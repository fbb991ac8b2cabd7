"""How does a message become what the rules decide, and their answer an acknowledgement?

Reading and mapping come first and are pure, so that between the journal and its events there
is nothing left that could fail; the acknowledgement goes out after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import date, datetime, tzinfo
from typing import Any, Final

import structlog

from services.interop.domain.receipt import Fault, Received, Standing, digest_of
from services.interop.edge.cuts import cut, kept
from services.interop.edge.hl7.ack import Outcome
from services.interop.edge.hl7.mapping import map_message
from services.interop.edge.hl7.message import Message, parse
from services.interop.edge.hl7.refused import ErrorCode, Refused
from services.interop.edge.profile import Mode, Profile

log = structlog.get_logger()

#: MSH-11 of what concerns real patients (table 0103); an empty one is taken for it.
PRODUCTION: Final = "P"
_WRONG_CERTIFICATE: Final = "the sender's profile names other certificates than this connection's"
#: Beside embedded documents. A message is taken to pieces in memory, many times its size.
MOST_BESIDES: Final = 10 * 1024 * 1024


class Senders:
    """Whose messages are read how: every sender's profile, and the one for all others."""

    def __init__(
        self,
        profiles: Iterable[Profile],
        default: Profile,
        zone: tzinfo,
        adult_age: Callable[[date], int],
        documents_at: str = "http://localhost/v1/documents",
    ) -> None:
        self._by_sender: dict[tuple[str | None, str | None], Profile] = {}
        self._by_subject: dict[str, Profile] = {}
        for profile in profiles:
            for sender in profile.senders:
                key = (sender.application, sender.facility)
                if sender.subject in self._by_subject or key in self._by_sender:
                    raise ValueError(f"two profiles for the sender {sender.subject or key}")
                if sender.subject is not None:
                    self._by_subject[sender.subject] = profile
                else:
                    self._by_sender[key] = profile
        self._default, self.zone, self.adult_age = default, zone, adult_age
        #: Whether anybody is known by a certificate.
        self.certified = any(p.certificates for p in (default, *self._by_sender.values()))
        self._documents_at = documents_at

    def profile(self, application: str, facility: str) -> Profile:
        """The most particular one: of both, of the application, of the facility."""
        keys = ((application, facility), (application, None), (None, facility))
        return next((p for k in keys if (p := self._by_sender.get(k))), self._default)

    def of_subject(self, subject: str) -> Profile:
        """The profile of who sends FHIR with a token."""
        return self._by_subject.get(subject, self._default)

    def received(self, raw: bytes, now: datetime, certificate: Set[str] = frozenset()) -> Received:
        """``raw`` read and mapped, or with what is wrong with it. Raises nothing.

        ``certificate``: the names by which its sender proved itself.
        """
        parts = cut(raw)
        keep = kept(raw, parts)
        known: dict[str, Any] = {"sender": "|", "control_id": "", "type": ""}
        known |= {"raw": keep.rest, "cuts": keep.cuts, "certificate": certificate}
        known["digest"] = digest_of(raw) if keep.cuts else ""
        known["blobs"] = {digest: piece.content for digest, piece in keep.pieces.items()}
        try:
            if len(parts.rest) > MOST_BESIDES:
                text = f"more than {MOST_BESIDES} bytes besides what is embedded"
                raise Refused("MSH", 1, 0, ErrorCode.DATA_TYPE, text)
            message = parse(parts.rest)
            header = message.header
            application, facility = header.text(3) or "", header.text(4) or ""
            known["sender"] = f"{application}|{facility}"
            known["control_id"] = header.text(10) or ""
            known["type"] = "^".join(part for n in (1, 2) if (part := header.text(9, n)))
            profile = self.profile(application, facility)
            if profile.certificates and profile.certificates.isdisjoint(certificate):
                raise header.refused(3, ErrorCode.UNKNOWN_KEY, _WRONG_CERTIFICATE)
            header.need(10)  # without it a repetition can't be told from a new message
            mapped = map_message(
                message,
                profile,
                self.zone,
                now,
                self.adult_age,
                cuts=parts.pieces,
                documents_at=self._documents_at,
            )
        except Refused as refused:
            return Received(**known, faults=(_fault(refused),))
        except Exception:  # a bug of ours, and the same one however often the message is sent
            log.exception("message_not_mapped", type=known["type"][:16])
            return Received(**known, faults=internal())
        production = _is_production(message) or profile.mode is Mode.SANDBOX
        if production:
            known["blobs"] |= mapped.contents
        return Received(
            **known,
            production=production,
            patient_id=mapped.patient_id,
            left_out=mapped.left_out,
            booking=mapped.booking,
            events=mapped.events,
            documents=mapped.documents,
            notes=tuple(map(str, mapped.notes)),
        )


def _is_production(message: Message) -> bool:
    return (message.header.text(11) or PRODUCTION).upper() == PRODUCTION


def _fault(refused: Refused) -> Fault:
    return Fault(
        segment=refused.segment,
        sequence=refused.sequence,
        field=refused.field,
        code=str(int(refused.code)),
        text=refused.text,
    )


def outcome_of(standing: Standing) -> Outcome:
    return Outcome.NEVER if standing is Standing.REFUSED else Outcome.STORED


def internal() -> tuple[Fault, ...]:
    """What a message is kept with that we can't handle, though it may be right."""
    text = "an error of the platform's own; kept for its staff, who take it up when it is mended"
    return (Fault(segment="MSH", code=str(int(ErrorCode.INTERNAL)), text=text),)


def not_now() -> Sequence[Fault]:
    """What a sender is told while nothing can be stored: the same message, later."""
    text = "the platform can't store messages at the moment; send it again"
    return (Fault(segment="MSH", code=str(int(ErrorCode.INTERNAL)), text=text),)
