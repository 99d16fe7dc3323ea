"""Alarms and the audit chain."""

from typing import Annotated

from fastapi import Query

from swallowtail.cloud.model.audit import AuditRecord, ChainHead, EventAction
from swallowtail.cloud.model.errors import NotFoundError
from swallowtail.cloud.model.tenancy import Role, Tenant
from swallowtail.cloud.web.access import Anywhere, Caller, InOrganisation, forbidden
from swallowtail.cloud.web.paging import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.schemas import (
    MAX_NUMBER,
    AlarmOut,
    AuditOut,
    ChainOut,
    ExportedHeadOut,
    HeadOut,
    PageOut,
    RowId,
    page_out,
)


async def list_alarms(caller: InOrganisation, page: Paging, cleared: bool = False) -> PageOut[AlarmOut]:
    """List alarms, the newest first; the cleared too if asked for."""
    caller.check_unlimited()
    found = await caller.services.alarms.alarms(caller.tenant, page, cleared=cleared)
    return page_out(found, AlarmOut.model_validate)


async def acknowledge_alarm(caller: InOrganisation, alarm_id: RowId) -> AlarmOut:
    """Note that a person has seen it; acknowledging twice keeps the first."""
    caller.check_unlimited()
    event = caller.event(EventAction.UPDATE, "alarm.acknowledge", ("alarm", str(alarm_id)))
    return AlarmOut.model_validate(await caller.services.alarms.acknowledge(caller.tenant, alarm_id, now=caller.now, event=event))


async def list_audit(caller: Anywhere, page: Paging, organisation: str | None = None) -> PageOut[AuditOut]:
    """List audit records, the newest first; an operator sees its own chain, for an organisation's holds patient data."""
    return page_out(await caller.services.audit.records(_chain(caller, organisation), page), _audit)


async def audit_head(caller: Anywhere, organisation: str | None = None) -> HeadOut:
    """Return the head of the audit chain: keep it elsewhere, and give it to verify later."""
    head = await caller.services.chains.head(_chain(caller, organisation))
    return HeadOut(sequence=head.sequence, digest=head.digest.hex())


async def verify_audit(
    caller: Anywhere,
    organisation: str | None = None,
    sequence: Annotated[
        int | None, Query(ge=1, le=MAX_NUMBER, description="With `digest`: a head of this chain that was kept.")
    ] = None,
    digest: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="With `sequence`.")] = None,
) -> ChainOut:
    """Check the whole audit chain, against the head that was exported last and a head that the caller has kept."""
    tenant, chains = _chain(caller, organisation), caller.services.chains
    if (sequence is None) != (digest is None):
        raise invalid("$.digest", "sequence and digest belong together; give both of a kept head, or neither")
    kept = None if sequence is None or digest is None else ChainHead(tenant=tenant, sequence=sequence, digest=bytes.fromhex(digest))
    exported, verdict = chains.exported(tenant), await chains.verify(tenant, kept)
    return ChainOut(
        records=verdict.records,
        broken_at=verdict.broken_at,
        fault=verdict.fault,
        exported=None
        if exported is None
        else ExportedHeadOut(sequence=exported.head.sequence, digest=exported.head.digest.hex(), at=exported.at),
    )


def _chain(caller: Caller, organisation: str | None) -> Tenant:
    caller.check_unlimited()
    if organisation is not None and organisation != caller.principal.tenant:
        if caller.principal.role is Role.OPERATOR:
            raise forbidden("an organisation's audit holds patient data, which an operator does not see")
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
