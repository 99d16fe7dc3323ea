"""Where an organisation's audit is exported to: a receiver of syslog over TLS."""

from typing import Annotated, Final

from fastapi import Response
from pydantic import Field

from swallowtail.cloud.audit_export.settings import InvalidReceiverError
from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.web.access import Anywhere, Caller
from swallowtail.cloud.web.api.oversight import chain_of
from swallowtail.cloud.web.api.schemas import Body, Out
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, AUDIT_READERS
from swallowtail.cloud.web.route import REFUSED, Route

MAX_PEM = 64 * 1024
Pem = Annotated[str, Field(max_length=MAX_PEM)]
SYSLOG_TLS = 6514
"""The port that RFC 5425 4.1 names."""


class AuditExportPut(Body):
    """The receiver. Its certificate is always verified."""

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[A-Za-z0-9._:-]+$",
            description="Name or address.",
        ),
    ]
    port: Annotated[int, Field(ge=1, le=65535)] = SYSLOG_TLS
    authorities: Annotated[
        Pem, Field(description="Certificates to trust, PEM; empty: those of the Cloud's system.")
    ] = ""
    certificate: Annotated[
        Pem, Field(description="Chain that the Cloud shows to the receiver, PEM; empty: none.")
    ] = ""
    key: Annotated[
        Pem | None,
        Field(
            description=(
                "Private key of `certificate`, PEM without a passphrase. Kept sealed and not"
                " returned. Without it, the key of the same certificate is kept."
            )
        ),
    ] = None
    whole: Annotated[
        bool,
        Field(
            description=(
                "Export the whole chain, from its first record on. Otherwise a new export begins"
                " with the next record, and a changed one goes on where it is."
            )
        ),
    ] = False


class AuditExportOut(Out):
    """An export and how far it is; the private key is not returned."""

    host: str
    port: int
    authorities: str
    certificate: str
    sequence: int = Field(description="The last record that the receiver has taken.")
    waiting: int = Field(description="Records that it has not taken yet.")
    exported: float | None = Field(description="When it took records last.")
    failing_since: float | None
    detail: str = Field(description="Why the last try failed, and what to do.")


async def get_audit_export(caller: Anywhere, organisation: str | None = None) -> AuditExportOut:
    """Return the receiver of the audit and how far the export is."""
    export = await caller.services.audit_exports.export(chain_of(caller, organisation))
    if export is None:
        raise NotFoundError("this audit is not exported; set a receiver")
    return await _out(caller, export)


async def put_audit_export(
    caller: Anywhere, body: AuditExportPut, organisation: str | None = None
) -> AuditExportOut:
    """Set the receiver of the audit: syslog over TLS (RFC 5425) with messages of PS3.15 A.5."""
    tenant = chain_of(caller, organisation)
    receiver = AuditReceiver(
        host=body.host, port=body.port, authorities=body.authorities, certificate=body.certificate
    )
    event = caller.event(
        EventAction.UPDATE, "audit.export", ("receiver", f"{body.host}:{body.port}")
    )
    try:
        export = await caller.services.audit_exports.put(
            tenant, receiver, body.key, whole=body.whole, event=event
        )
    except InvalidReceiverError as error:
        raise invalid(error.field, str(error)) from error
    return await _out(caller, export)


async def remove_audit_export(caller: Anywhere, organisation: str | None = None) -> Response:
    """End the export of the audit."""
    tenant = chain_of(caller, organisation)
    event = caller.event(EventAction.DELETE, "audit.export.remove")
    if not await caller.services.audit_exports.remove(tenant, event=event):
        raise NotFoundError("this audit is not exported")
    return Response(status_code=204)


async def _out(caller: Caller, export: AuditExport) -> AuditExportOut:
    head = await caller.services.chains.head(export.tenant)
    return AuditExportOut(
        host=export.receiver.host,
        port=export.receiver.port,
        authorities=export.receiver.authorities,
        certificate=export.receiver.certificate,
        sequence=export.sequence,
        waiting=max(0, head.sequence - export.sequence),
        exported=export.exported,
        failing_since=export.failing_since,
        detail=export.detail,
    )


ROUTES: Final = (
    Route("GET", "/audit/export", get_audit_export, AUDIT_READERS, REFUSED, "oversight"),
    Route("PUT", "/audit/export", put_audit_export, ACCESS_MANAGERS, REFUSED, "oversight"),
    Route(
        "DELETE",
        "/audit/export",
        remove_audit_export,
        ACCESS_MANAGERS,
        REFUSED,
        "oversight",
        204,
    ),
)
