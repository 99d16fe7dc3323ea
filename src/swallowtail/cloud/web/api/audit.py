"""The REST resource of the audit chain (PS3.15 A.5, ADR 0013)."""

import enum
from typing import Annotated, Final

from fastapi import Depends, Query

from swallowtail.cloud.auditing.audit_reading import AuditReading
from swallowtail.cloud.model.audit import AuditRecord, AuditSearch
from swallowtail.cloud.web.access import Anywhere, OrganisationId
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    AuditOut,
    Before,
    ChainOut,
    ExportedHeadOut,
    HeadOut,
    PageOut,
    Since,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import AUDIT_READERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Reading = Annotated[AuditReading, provided(AuditReading)]


class AuditOutcome(enum.StrEnum):
    """The outcome of a recorded action."""

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
                "By object: a Study or SOP Instance UID, or the id of a Link, a token and so on."
            ),
        ),
    ] = "",
    outcome: Annotated[AuditOutcome | None, Query(description="By outcome.")] = None,
    since: Since = None,
    before: Before = None,
) -> AuditSearch:
    return AuditSearch(
        type=type_,
        actor=actor,
        object=object_,
        failed=None if outcome is None else outcome is AuditOutcome.FAILURE,
        since=since,
        before=before,
    )


Searching = Annotated[AuditSearch, Depends(_audit_search)]


async def list_audit(
    caller: Anywhere,
    audit: Reading,
    page: Paging,
    search: Searching,
    organisation: OrganisationId = None,
) -> PageOut[AuditOut]:
    """List audit records.

    Returns the records of the organisation's audit chain that match every given parameter, newest
    first. An operator gets those of the operators' own chain, since an organisation's holds patient
    data.
    """
    return page_out(await audit.records(caller, organisation, search, page), _audit)


async def audit_head(
    caller: Anywhere, audit: Reading, organisation: OrganisationId = None
) -> HeadOut:
    """Get the head of the audit chain.

    Returns sequence and digest of the last record. Keep them elsewhere, and pass them to verify
    the chain later.
    """
    head = await audit.head(caller, organisation)
    return HeadOut(sequence=head.sequence, digest=head.digest.hex())


async def verify_audit(
    caller: Anywhere,
    audit: Reading,
    organisation: OrganisationId = None,
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
    """Verify the audit chain.

    Checks every record, and compares the chain with the head that was exported last and with a
    head that the caller has kept.
    """
    if (sequence is None) != (digest is None):
        raise invalid(
            "$.digest", "sequence and digest belong together; give both of a kept head, or neither"
        )
    kept = None if sequence is None or digest is None else (sequence, bytes.fromhex(digest))
    verdict, exported = await audit.verify(caller, organisation, kept)
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
    Route(
        "GET",
        "/audit",
        list_audit,
        AUDIT_READERS,
        REFUSED,
        "oversight",
        use_case=AuditReading.records,
    ),
    Route(
        "GET",
        "/audit/head",
        audit_head,
        AUDIT_READERS,
        REFUSED,
        "oversight",
        use_case=AuditReading.head,
    ),
    Route(
        "GET",
        "/audit/verify",
        verify_audit,
        AUDIT_READERS,
        REFUSED,
        "oversight",
        use_case=AuditReading.verify,
    ),
)
