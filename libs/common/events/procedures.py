"""What do hospital systems tell about operations and other procedures (``hospital.encounters``)?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Department, Event, Id, Line, Sensitive, Word


class ProcedureFact(Event):
    """Which procedure, on whom and in which stay (FHIR Procedure)."""

    TOPIC: ClassVar[str] = "hospital.encounters"
    SUBJECT: ClassVar[str] = "procedure_id"

    procedure_id: Id = Field(description="The procedure; the same from planning to the end.")
    patient_id: Id = Field(description="The patient.")
    encounter_id: Id | None = Field(default=None, description="The stay or visit it belongs to.")


class ProcedureContent(ProcedureFact):
    """What is or was done."""

    code: Sensitive[Code] = Field(description="Code of the procedure in `system`.")
    system: Code = Field(default="ICD-9-CM-3", description="The code system.")
    display: Sensitive[Line | None] = Field(default=None, description="The procedure in words.")
    department: Department | None = Field(default=None, description="The department that does it.")
    performer_id: Id | None = Field(default=None, description="The practitioner who does it.")


class ProcedureScheduled(ProcedureContent):
    """A procedure is planned. Said again with other values, it replaces what was planned."""

    TYPE: ClassVar[str] = "hospital.procedure.scheduled.v1"

    starts_at: AwareDatetime | None = Field(
        default=None, description="When it shall begin; absent: no time yet."
    )
    scheduled_at: AwareDatetime = Field(
        description="When it was planned so; an older plan is stale."
    )


class ProcedurePerformed(ProcedureContent):
    """A procedure was performed."""

    TYPE: ClassVar[str] = "hospital.procedure.performed.v1"

    performed_at: AwareDatetime = Field(description="When it was performed.")


class ProcedureCancelled(ProcedureFact):
    """A planned procedure will not be performed. It may arrive before the plan."""

    TYPE: ClassVar[str] = "hospital.procedure.cancelled.v1"

    cancelled_at: AwareDatetime = Field(description="When it was cancelled; the plan before it.")
    reason: Word | None = Field(default=None, description="Why.")
