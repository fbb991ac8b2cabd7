"""How does a route say that it shows a patient's data?

``await reads.of(patient_id, "DiagnosticReport", report.id)`` before it answers. The record
is durable when that returns; a read that can't be recorded is answered with 503.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from libs.common.audit import Audit, Outcome
from libs.common.auth import Principal
from libs.common.http.access import ROUTE, Caller
from libs.common.http.problems import unavailable


class PatientReads:
    """Records the reads of one request."""

    def __init__(self, request: Request, principal: Principal) -> None:
        self._request = request
        self._principal = principal

    async def of(
        self,
        patient_id: str,
        resource: str,
        *resource_ids: str,
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        """``resource`` is a FHIR type. Record what was refused, too: ``MINOR_FAILURE``."""
        audit: Audit | None = getattr(self._request.app.state, "audit", None)
        if audit is None:
            raise unavailable("not_ready")
        await audit.read(
            self._principal,
            patient_id=patient_id,
            resource=resource,
            resource_ids=resource_ids,
            route=" ".join(self._request.scope[ROUTE].key),
            correlation_id=self._request.scope["state"]["correlation_id"],
            outcome=outcome,
        )


async def _reads(request: Request, caller: Caller) -> PatientReads:
    return PatientReads(request, caller)


#: ``reads: Reads`` in the signature of a route that shows patients' data.
Reads = Annotated[PatientReads, Depends(_reads)]
