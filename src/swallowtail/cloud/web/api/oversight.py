"""Alarms and the audit chain."""

import enum
from typing import Annotated, Final

from fastapi import Depends, Query

from swallowtail.cloud.model.audit import AuditRecord, AuditSearch, ChainHead, EventAction
from swallowtail.cloud.model.operations import AlarmSearch, Condition, Severity
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import Role, Tenant
from swallowtail.cloud.model.use_case_errors import ForbiddenError
from swallowtail.cloud.web.access import Anywhere, Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    AlarmOut,
    AuditOut,
    ChainOut,
    ExportedHeadOut,
    HeadOut,
    Moment,
    PageOut,
    RowId,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import ALARM_READERS, AUDIT_READERS
from swallowtail.cloud.web.route import REFUSED, Route

Since = Annotated[
    Moment | None, Query(description="Raised or recorded at this time or later, UTC seconds.")
]
Before = Annotated[
    Moment | None, Query(description="Raised or recorded before this time, UTC seconds.")
]


class AlarmState(enum.StrEnum):
    """Whether a condition is over."""

    RAISED = "raised"
    CLEARED = "cleared"


def _alarm_search(
    state: Annotated[
        AlarmState | None, Query(description="By state; by default alarms that are not cleared.")
    ] = None,
    *,
    cleared: Annotated[
        bool, Query(description="Without `state`: also alarms that are cleared.")
    ] = False,
    condition: Annotated[
        tuple[Condition, ...], Query(description="By condition; of several, any.")
    ] = (),
    severity: Annotated[
        tuple[Severity, ...], Query(description="By severity; of several, any.")
    ] = (),
    subject: Annotated[
        str,
        Query(max_length=256, description="By subject, like a Link's id or a SOP Instance UID."),
    ] = "",
    acknowledged: Annotated[
        bool | None, Query(description="Whether a person has acknowledged it.")
    ] = None,
    since: Since = None,
    before: Before = None,
) -> AlarmSearch:
    either = None if cleared else False
    return AlarmSearch(
        conditions=condition,
        severities=severity,
        subject=subject,
        cleared=either if state is None else state is AlarmState.CLEARED,
        acknowledged=acknowledged,
        since=since,
        before=before,
    )


class Outcome(enum.StrEnum):
    """How what a record tells of ended."""

    SUCCESS = "success"
    FAILURE = "failure"


def _audit_search(
    *,
    type_: Annotated[
        str, Query(alias="type", max_length=64, description="By type, like `token.rotate`.")
    ] = "",
    actor: Annotated[
        str, Query(max_length=64, description="By actor: a token's id, or an AE title.")
    ] = "",
    object_: Annotated[
        str,
        Query(
            alias="object",
            max_length=256,
            description=(
                "By what it is about: a Study or SOP Instance UID, or the id of a Link, a token and"
                " so on."
            ),
        ),
    ] = "",
    outcome: Annotated[Outcome | None, Query(description="By outcome.")] = None,
    since: Since = None,
    before: Before = None,
) -> AuditSearch:
    return AuditSearch(
        type=type_,
        actor=actor,
        object=object_,
        failed=None if outcome is None else outcome is Outcome.FAILURE,
        since=since,
        before=before,
    )


AlarmSearching = Annotated[AlarmSearch, Depends(_alarm_search)]
AuditSearching = Annotated[AuditSearch, Depends(_audit_search)]


async def list_alarms(
    caller: InOrganisation, page: Paging, search: AlarmSearching
) -> PageOut[AlarmOut]:
    """List alarms.

    Returns the alarms of the organisation that match every given parameter, newest first.
    """
    found = await caller.services.alarms.alarms(caller.tenant, page, search=search)
    return page_out(found, AlarmOut.model_validate)


async def acknowledge_alarm(caller: InOrganisation, alarm_id: RowId) -> AlarmOut:
    """Acknowledge an alarm.

    Records that a person has seen it. Acknowledging it again keeps the first time and person.
    """
    event = caller.event(EventAction.UPDATE, "alarm.acknowledge", ("alarm", str(alarm_id)))
    alarms = caller.services.alarms
    found = await alarms.acknowledge(caller.tenant, alarm_id, now=caller.now, event=event)
    return AlarmOut.model_validate(found)


async def list_audit(
    caller: Anywhere, page: Paging, search: AuditSearching, organisation: str | None = None
) -> PageOut[AuditOut]:
    """List audit records.

    Returns the records of the organisation's audit chain that match every given parameter, newest
    first; for an operator those of the operators' own chain, since an organisation's holds patient
    data.
    """
    chain = chain_of(caller, organisation)
    return page_out(await caller.services.audit.records(chain, page, search=search), _audit)


async def audit_head(caller: Anywhere, organisation: str | None = None) -> HeadOut:
    """Return the head of the audit chain: keep it elsewhere, and give it to verify later."""
    head = await caller.services.chains.head(chain_of(caller, organisation))
    return HeadOut(sequence=head.sequence, digest=head.digest.hex())


async def verify_audit(
    caller: Anywhere,
    organisation: str | None = None,
    sequence: Annotated[
        int | None,
        Query(
            ge=1, le=MAX_NUMBER, description="With `digest`: a head of this chain that was kept."
        ),
    ] = None,
    digest: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="With `sequence`.")
    ] = None,
) -> ChainOut:
    """Check the whole audit chain, against the head that was exported last and a head that the
    caller has kept.
    """
    tenant, chains = chain_of(caller, organisation), caller.services.chains
    if (sequence is None) != (digest is None):
        raise invalid(
            "$.digest", "sequence and digest belong together; give both of a kept head, or neither"
        )
    kept = (
        None
        if sequence is None or digest is None
        else ChainHead(tenant=tenant, sequence=sequence, digest=bytes.fromhex(digest))
    )
    exported, verdict = chains.exported(tenant), await chains.verify(tenant, kept)
    return ChainOut(
        records=verdict.records,
        broken_at=verdict.broken_at,
        fault=verdict.fault,
        exported=(
            None
            if exported is None
            else ExportedHeadOut(
                sequence=exported.head.sequence, digest=exported.head.digest.hex(), at=exported.at
            )
        ),
    )


def chain_of(caller: Caller, organisation: str | None) -> Tenant:
    """Return whose audit a caller means: its own. Raises a 403 or NotFoundError for another's."""
    if organisation is not None and organisation != caller.principal.tenant:
        if caller.principal.role is Role.OPERATOR:
            raise ForbiddenError(
                "an organisation's audit holds patient data, which an operator does not see"
            )
        raise NotFoundError
    return caller.tenant


def _audit(record: AuditRecord) -> AuditOut:
    event = record.event
    return AuditOut(
        sequence=record.sequence,
        at=record.at,
        event=event.event,
        action=event.action,
        outcome=event.outcome,
        type=event.type,
        actor=event.actor,
        role=event.role,
        address=event.address,
        objects=list(event.objects),
        detail=event.detail,
        digest=record.digest.hex(),
    )


ROUTES: Final = (
    Route("GET", "/alarms", list_alarms, ALARM_READERS, REFUSED, "oversight"),
    Route(
        "POST",
        "/alarms/{alarm_id}/acknowledge",
        acknowledge_alarm,
        ALARM_READERS - {Role.AUDITOR},
        REFUSED,
        "oversight",
    ),
    Route("GET", "/audit", list_audit, AUDIT_READERS, REFUSED, "oversight"),
    Route("GET", "/audit/head", audit_head, AUDIT_READERS, REFUSED, "oversight"),
    Route("GET", "/audit/verify", verify_audit, AUDIT_READERS, REFUSED, "oversight"),
)
