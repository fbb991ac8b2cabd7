"""Which input is decided by which rule? The map is at the bottom."""

from __future__ import annotations

from libs.common.decision import Handler
from libs.common.events import (
    ConsentGiven,
    ConsentWithdrawn,
    DischargeCancelled,
    EncounterDischarged,
    Event,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    NotificationCancelled,
    NotificationRequested,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
)
from services.notify.domain.delivering import (
    CLAIM,
    ENDED,
    CallEnded,
    Claim,
    decide_claim,
    decide_ended,
    needs_claim,
    needs_ended,
)
from services.notify.domain.dying import decide_cancelled, needs_cancelled
from services.notify.domain.inbox import ReadMessage, decide_read, needs_read
from services.notify.domain.knowing import (
    decide_facts,
    decide_merge,
    needs_facts,
    needs_merge,
)
from services.notify.domain.requesting import (
    decide_cancel,
    decide_request,
    needs_cancel,
    needs_request,
)
from services.notify.domain.waiting import (
    EXPIRY,
    SETTLE,
    Expiry,
    Settle,
    decide_expiry,
    decide_settle,
    needs_expiry,
    needs_settle,
)

#: A person's command.
READ = "inbox.read"

_FACTS: tuple[type[Event], ...] = (
    PatientRegistered,
    PatientUpdated,
    PatientDeceased,
    GuardianLinked,
    GuardianUnlinked,
    EncounterDischarged,
    MemberJoined,
    ConsentGiven,
    ConsentWithdrawn,
    PractitionerRegistered,
    PractitionerUpdated,
)

HANDLERS: dict[str, Handler] = {
    NotificationRequested.TYPE: Handler(NotificationRequested, needs_request, decide_request),
    NotificationCancelled.TYPE: Handler(NotificationCancelled, needs_cancel, decide_cancel),
    **{event.TYPE: Handler(event, needs_facts, decide_facts) for event in _FACTS},
    DischargeCancelled.TYPE: Handler(DischargeCancelled, needs_cancelled, decide_cancelled),
    PatientMerged.TYPE: Handler(PatientMerged, needs_merge, decide_merge),
    CLAIM: Handler(Claim, needs_claim, decide_claim),
    ENDED: Handler(CallEnded, needs_ended, decide_ended),
    READ: Handler(ReadMessage, needs_read, decide_read),
    EXPIRY: Handler(Expiry, needs_expiry, decide_expiry),
    SETTLE: Handler(Settle, needs_settle, decide_settle),
}
