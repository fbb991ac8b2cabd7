"""Which routes does enrollment have, and who may call them?"""

from __future__ import annotations

from typing import Final

from libs.common.auth import Role
from libs.common.http.access import PUBLIC, Access
from services.enrollment.api import page, people, staff

ROUTERS: Final = (page.router, people.router, staff.router)

_PERSON: Final = frozenset({Role.PATIENT, Role.GUARDIAN})
_STAFF: Final = frozenset({Role.DOCTOR, Role.NURSE, Role.OPS})

ACCESS: Access = {
    # whoever holds the link
    ("GET", "/accept"): PUBLIC,
    ("GET", "/accept.js"): PUBLIC,
    ("GET", "/accept.css"): PUBLIC,
    ("POST", "/v1/invitations/preview"): PUBLIC,
    ("POST", "/v1/invitations/qr"): PUBLIC,
    ("POST", "/v1/invitations/accept"): PUBLIC,
    ("POST", "/v1/invitations/decline"): PUBLIC,
    # oneself
    ("GET", "/v1/memberships"): _PERSON,
    ("POST", "/v1/memberships/{id}/leave"): _PERSON,
    ("GET", "/v1/consents"): _PERSON,
    ("POST", "/v1/consents/{id}/withdraw"): _PERSON,
    ("POST", "/v1/consents/{id}/give"): _PERSON,
    # staff
    ("GET", "/v1/invitations"): _STAFF,
    ("POST", "/v1/invitations/{id}/reissue"): _STAFF,
    ("GET", "/v1/groups"): _STAFF,
    ("POST", "/v1/groups/{id}/close"): _STAFF,
    ("GET", "/v1/staff-tasks"): _STAFF,
    ("POST", "/v1/staff-tasks/{id}/close"): _STAFF,
}
