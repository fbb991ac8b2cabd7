"""Which rule decides which input? The whole of it at the bottom."""

from __future__ import annotations

from functools import partial

from libs.common.decision import Handler
from libs.common.events import (
    DischargeCancelled,
    EncounterDischarged,
    GuardianLinked,
    GuardianUnlinked,
    PatientDeceased,
    PatientMerged,
)
from services.enrollment.domain import consent, desk, discharge, joining, relations
from services.enrollment.domain.issuing import EXPIRE_TIMER

HANDLERS: dict[str, Handler] = {
    # events of the hospital
    EncounterDischarged.TYPE: Handler(
        EncounterDischarged, discharge.needs_discharged, discharge.decide_discharged
    ),
    DischargeCancelled.TYPE: Handler(
        DischargeCancelled, discharge.needs_cancelled, discharge.decide_cancelled
    ),
    PatientDeceased.TYPE: Handler(
        PatientDeceased, relations.needs_deceased, relations.decide_deceased
    ),
    PatientMerged.TYPE: Handler(PatientMerged, relations.needs_merged, relations.decide_merged),
    GuardianLinked.TYPE: Handler(GuardianLinked, relations.needs_linked, relations.decide_linked),
    GuardianUnlinked.TYPE: Handler(
        GuardianUnlinked, relations.needs_unlinked, relations.decide_unlinked
    ),
    # the invited person
    joining.INVITATION_ACCEPT: Handler(joining.Accept, joining.needs_token, joining.decide_accept),
    joining.INVITATION_DECLINE: Handler(
        joining.Bearer, joining.needs_token, joining.decide_decline
    ),
    joining.MEMBERSHIP_LEAVE: Handler(
        joining.MembershipCommand, joining.needs_leave, joining.decide_leave
    ),
    consent.CONSENT_WITHDRAW: Handler(
        consent.ConsentCommand,
        consent.needs_consent,
        partial(consent.decide_consent, consent.ConsentAction.WITHDRAW),
    ),
    consent.CONSENT_GIVE: Handler(
        consent.ConsentCommand,
        consent.needs_consent,
        partial(consent.decide_consent, consent.ConsentAction.GIVE),
    ),
    # staff
    desk.INVITATION_REISSUE: Handler(
        desk.InvitationCommand, desk.needs_reissue, desk.decide_reissue
    ),
    desk.TASK_CLOSE: Handler(desk.TaskCommand, desk.needs_task, desk.decide_task_closed),
    desk.GROUP_CLOSE: Handler(desk.GroupCommand, desk.needs_group_closed, desk.decide_group_closed),
    # time
    EXPIRE_TIMER: Handler(desk.InvitationCommand, desk.needs_expiry, desk.decide_expiry),
}
