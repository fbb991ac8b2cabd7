"""Which rule answers which event, command and timer?"""

from __future__ import annotations

from libs.common.decision import Handler
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    EncounterAdmitted,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
    PrescriptionIssued,
    PrescriptionStopped,
    VisitCompleted,
)
from services.prescriptions.domain import (
    case,
    clinical,
    doctor,
    ending,
    pharmacist,
    prescribing,
    records,
    request,
)
from services.prescriptions.domain.steps import DEADLINE

REQUEST = "refill.request"
DOCTOR_DECISION = "refill.doctor_decision"
PHARMACIST_REVIEW = "refill.pharmacist_review"
CANCEL = "refill.cancel"

HANDLERS: dict[str, Handler] = {
    # hospital.prescriptions
    PrescriptionIssued.TYPE: Handler(
        PrescriptionIssued, prescribing.needs_issued, prescribing.decide_issued
    ),
    PrescriptionStopped.TYPE: Handler(
        PrescriptionStopped, prescribing.needs_stopped, prescribing.decide_stopped
    ),
    VisitCompleted.TYPE: Handler(VisitCompleted, prescribing.needs_visit, prescribing.decide_visit),
    # hospital.patients
    PatientRegistered.TYPE: Handler(PatientRegistered, records.needs_care, records.decide_record),
    PatientUpdated.TYPE: Handler(PatientUpdated, records.needs_care, records.decide_record),
    PatientMerged.TYPE: Handler(PatientMerged, records.needs_merged, records.decide_merged),
    PatientDeceased.TYPE: Handler(PatientDeceased, records.needs_deceased, records.decide_deceased),
    GuardianLinked.TYPE: Handler(GuardianLinked, records.needs_care, records.decide_linked),
    GuardianUnlinked.TYPE: Handler(GuardianUnlinked, records.needs_care, records.decide_unlinked),
    # hospital.clinical
    ConditionRecorded.TYPE: Handler(
        ConditionRecorded, clinical.needs_condition, clinical.decide_condition
    ),
    AllergyRecorded.TYPE: Handler(AllergyRecorded, clinical.needs_allergy, clinical.decide_allergy),
    # hospital.encounters
    EncounterAdmitted.TYPE: Handler(
        EncounterAdmitted, clinical.needs_stay, clinical.decide_admitted
    ),
    AdmissionCancelled.TYPE: Handler(
        AdmissionCancelled, clinical.needs_stay, clinical.decide_admission_cancelled
    ),
    # hospital.staff
    PractitionerRegistered.TYPE: Handler(
        PractitionerRegistered, clinical.needs_practitioner, clinical.decide_practitioner
    ),
    PractitionerUpdated.TYPE: Handler(
        PractitionerUpdated, clinical.needs_practitioner, clinical.decide_practitioner
    ),
    # enrollment.events
    MemberJoined.TYPE: Handler(MemberJoined, records.needs_care, records.decide_joined),
    # commands
    REQUEST: Handler(request.RefillRequest, request.needs_request, request.decide_request),
    DOCTOR_DECISION: Handler(doctor.DoctorDecision, case.needs_decided, doctor.decide),
    PHARMACIST_REVIEW: Handler(pharmacist.PharmacistReview, case.needs_decided, pharmacist.decide),
    CANCEL: Handler(ending.CancelRefill, ending.needs_cancel, ending.decide_cancel),
    # timers
    DEADLINE: Handler(ending.RefillDeadline, ending.needs_deadline, ending.decide_deadline),
}
