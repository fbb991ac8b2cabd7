"""Which rule decides which input of messaging? The map is at the bottom."""

from __future__ import annotations

from libs.common.decision import Handler
from libs.common.events import (
    GroupClosed,
    GroupOpened,
    GuardianLinked,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
)
from services.messaging.domain import membership, person, talking

POST = "message.post"

HANDLERS: dict[str, Handler] = {
    # enrollment.groups
    GroupOpened.TYPE: Handler(GroupOpened, membership.needs_opened, membership.decide_opened),
    GroupClosed.TYPE: Handler(GroupClosed, membership.needs_closed, membership.decide_closed),
    # enrollment.events
    MemberJoined.TYPE: Handler(MemberJoined, membership.needs_placed, membership.decide_joined),
    MemberMoved.TYPE: Handler(MemberMoved, membership.needs_placed, membership.decide_moved),
    MemberLeft.TYPE: Handler(MemberLeft, membership.needs_placed, membership.decide_left),
    # hospital.patients, hospital.staff
    PatientRegistered.TYPE: Handler(PatientRegistered, person.needs_named, person.decide_named),
    PatientUpdated.TYPE: Handler(PatientUpdated, person.needs_named, person.decide_named),
    PatientMerged.TYPE: Handler(PatientMerged, person.needs_merged, person.decide_merged),
    GuardianLinked.TYPE: Handler(GuardianLinked, person.needs_named, person.decide_named),
    PractitionerRegistered.TYPE: Handler(
        PractitionerRegistered, person.needs_named, person.decide_named
    ),
    PractitionerUpdated.TYPE: Handler(PractitionerUpdated, person.needs_named, person.decide_named),
    # commands
    POST: Handler(talking.PostMessage, talking.needs_post, talking.decide_post),
}
