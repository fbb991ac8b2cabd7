"""For which reasons does enrollment say no? Static words, for counters and for people."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    # a discharge, or what follows from it
    NO_PROGRAMME = "no_programme"
    NO_GUARDIAN = "no_guardian"
    ALREADY_MEMBER = "already_member"
    DECEASED = "deceased"
    TRANSFERRED = "transferred"
    BACKFILL = "backfill"
    DISCHARGE_CANCELLED = "discharge_cancelled"
    REPEATED_DISCHARGE = "repeated_discharge"
    IN_THE_FUTURE = "in_the_future"
    # an invitation
    INVITATION_EXPIRED = "invitation_expired"
    INVITATION_DECLINED = "invitation_declined"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    INVITATION_USED = "invitation_used"
    NOT_A_GUARDIAN = "not_a_guardian"
    PROGRAMME_ENDED = "programme_ended"
    # consent
    LEAVE_THE_GROUP = "leave_the_group"


class WithdrawnBecause(StrEnum):
    """Why the hospital took an invitation back, or a membership ended without its member."""

    DISCHARGE_CANCELLED = "discharge_cancelled"
    DECEASED = "deceased"
    GUARDIAN_UNLINKED = "guardian_unlinked"
    GROUP_CLOSED = "group_closed"
    MERGED = "merged"


class LeftBecause(StrEnum):
    """Why a membership ended."""

    LEFT = "left"
    DECEASED = "deceased"
    GROUP_CLOSED = "group_closed"
    MERGED = "merged"
