"""Which rule decides which input of reports? The map is at the bottom."""

from __future__ import annotations

from libs.common.decision import Handler
from libs.common.events import (
    ConsentGiven,
    ConsentWithdrawn,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    ReportCorrected,
    ReportReady,
    ReportWithdrawn,
)
from services.reports.domain import arrival, links, reading, telling

RELEASE = "report.release"
VIEW = "report.view"

HANDLERS: dict[str, Handler] = {
    # hospital.reports
    ReportReady.TYPE: Handler(ReportReady, arrival.needs_content, arrival.decide_content),
    ReportCorrected.TYPE: Handler(ReportCorrected, arrival.needs_content, arrival.decide_content),
    ReportWithdrawn.TYPE: Handler(
        ReportWithdrawn, arrival.needs_withdrawn, arrival.decide_withdrawn
    ),
    # hospital.patients
    PatientRegistered.TYPE: Handler(PatientRegistered, links.needs_patient, links.decide_patient),
    PatientUpdated.TYPE: Handler(PatientUpdated, links.needs_patient, links.decide_patient),
    PatientDeceased.TYPE: Handler(PatientDeceased, links.needs_patient, links.decide_deceased),
    PatientMerged.TYPE: Handler(PatientMerged, links.needs_merged, links.decide_merged),
    GuardianLinked.TYPE: Handler(GuardianLinked, links.needs_link, links.decide_linked),
    GuardianUnlinked.TYPE: Handler(GuardianUnlinked, links.needs_link, links.decide_unlinked),
    # enrollment.events
    MemberJoined.TYPE: Handler(MemberJoined, links.needs_link, links.decide_joined),
    ConsentGiven.TYPE: Handler(ConsentGiven, links.needs_link, links.decide_consent_given),
    ConsentWithdrawn.TYPE: Handler(
        ConsentWithdrawn, links.needs_link, links.decide_consent_withdrawn
    ),
    # commands
    RELEASE: Handler(arrival.ReleaseReport, arrival.needs_release, arrival.decide_release),
    VIEW: Handler(reading.ViewReport, reading.needs_view, reading.decide_view),
    # timers
    telling.TELLING_ENDED: Handler(
        telling.TellingEnded, telling.needs_telling_ended, telling.decide_telling_ended
    ),
}
