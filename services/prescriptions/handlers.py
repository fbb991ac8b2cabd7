"""Which rule answers which event, command and timer?"""

from __future__ import annotations

from libs.common.decision import Handler
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    EncounterAdmitted,
    FulfilmentUpdated,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerLeft,
    PractitionerRegistered,
    PractitionerUpdated,
    PrescriptionIssued,
    PrescriptionStopped,
    ResultRecalled,
    ResultReleased,
    VisitCancelled,
    VisitCompleted,
)
from services.prescriptions.domain import (
    assigning,
    attention,
    case,
    choosing,
    clinical,
    consenting,
    consequences,
    dispensing,
    doctor,
    ending,
    issuing,
    pharmacist,
    prescribing,
    records,
    request,
    results,
    staff,
)
from services.prescriptions.domain.steps import ATTENTION, DEADLINE

REQUEST = "refill.request"
DOCTOR_DECISION = "refill.doctor_decision"
PHARMACIST_REVIEW = "refill.pharmacist_review"
CANCEL = "refill.cancel"
CONSENT = "refill.consent"
CHOOSE = "refill.fulfilment"
CLAIM = "refill.claim"
RELEASE = "refill.release"
HAND_OVER = "refill.hand_over"
OUT_OF_OFFICE = "practitioner.out_of_office"

HANDLERS: dict[str, Handler] = {
    # hospital.prescriptions
    PrescriptionIssued.TYPE: Handler(
        PrescriptionIssued, issuing.needs_issued, issuing.decide_issued
    ),
    PrescriptionStopped.TYPE: Handler(
        PrescriptionStopped, prescribing.needs_stopped, prescribing.decide_stopped
    ),
    VisitCompleted.TYPE: Handler(VisitCompleted, prescribing.needs_visit, prescribing.decide_visit),
    VisitCancelled.TYPE: Handler(
        VisitCancelled, prescribing.needs_visit, prescribing.decide_visit_cancelled
    ),
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
        EncounterAdmitted, clinical.needs_admitted, clinical.decide_admitted
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
    PractitionerLeft.TYPE: Handler(PractitionerLeft, clinical.needs_left, clinical.decide_left),
    # reports.events
    ResultReleased.TYPE: Handler(ResultReleased, results.needs_result, results.decide_released),
    ResultRecalled.TYPE: Handler(ResultRecalled, results.needs_result, results.decide_recalled),
    # hospital.pharmacy
    FulfilmentUpdated.TYPE: Handler(
        FulfilmentUpdated, dispensing.needs_report, dispensing.decide_report
    ),
    # enrollment.events
    MemberJoined.TYPE: Handler(MemberJoined, records.needs_care, records.decide_joined),
    # commands
    REQUEST: Handler(request.RefillRequest, request.needs_request, request.decide_request),
    DOCTOR_DECISION: Handler(doctor.DoctorDecision, case.needs_decided, doctor.decide),
    PHARMACIST_REVIEW: Handler(pharmacist.PharmacistReview, pharmacist.needs, pharmacist.decide),
    CONSENT: Handler(consenting.GiveConsent, case.needs_own, consenting.decide_consent),
    CANCEL: Handler(ending.CancelRefill, case.needs_own, ending.decide_cancel),
    CHOOSE: Handler(choosing.FulfilmentChoice, case.needs_own, choosing.decide_choice),
    CLAIM: Handler(assigning.Claim, assigning.needs_assigned, assigning.decide_claim),
    RELEASE: Handler(assigning.Release, assigning.needs_assigned, assigning.decide_release),
    HAND_OVER: Handler(assigning.HandOver, assigning.needs_assigned, assigning.decide_hand_over),
    OUT_OF_OFFICE: Handler(staff.OutOfOffice, staff.needs_absence, staff.decide_absence),
    # timers
    DEADLINE: Handler(ending.RefillDeadline, ending.needs_deadline, ending.decide_deadline),
    choosing.REMINDER: Handler(
        ending.RefillDeadline, choosing.needs_timer, choosing.decide_reminder
    ),
    choosing.ADDRESS: Handler(ending.RefillDeadline, choosing.needs_timer, choosing.decide_address),
    ATTENTION: Handler(
        attention.RefillAttention, attention.needs_attention, attention.decide_attention
    ),
    consequences.LOOK_AGAIN: Handler(
        consequences.LookAgain, consequences.needs_look, consequences.decide_look
    ),
    clinical.LEAVING: Handler(PractitionerLeft, clinical.needs_left, clinical.decide_leaving),
}
