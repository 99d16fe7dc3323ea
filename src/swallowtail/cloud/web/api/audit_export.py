"""The REST resource of the audit export, to a receiver of syslog over TLS."""

from typing import Annotated, Final

from fastapi import Response
from pydantic import Field

from swallowtail.cloud.audit_export.settings import ExportProgress, ExportSettings
from swallowtail.cloud.model.exporting import AuditReceiver
from swallowtail.cloud.web.access import Anywhere, OrganisationId
from swallowtail.cloud.web.api.schemas import Body, Out, Timestamp
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, AUDIT_READERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Settings = Annotated[ExportSettings, provided(ExportSettings)]
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
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = SYSLOG_TLS
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
    failing_since: Timestamp | None
    detail: str = Field(description="Why the last attempt failed, and what to do.")


async def get_audit_export(
    caller: Anywhere, exports: Settings, organisation: OrganisationId = None
) -> AuditExportOut:
    """Get the audit export.

    Returns the receiver of the audit records, and how many of them it has taken.
    """
    return _out(await exports.export(caller, organisation))


async def put_audit_export(
    caller: Anywhere, exports: Settings, body: AuditExportPut, organisation: OrganisationId = None
) -> AuditExportOut:
    """Set the audit export.

    Sets the receiver of the audit records: syslog over TLS (RFC 5425) with messages of PS3.15 A.5.
    """
    receiver = AuditReceiver(
        host=body.host, port=body.port, authorities=body.authorities, certificate=body.certificate
    )
    return _out(await exports.put(caller, organisation, receiver, body.key, whole=body.whole))


async def remove_audit_export(
    caller: Anywhere, exports: Settings, organisation: OrganisationId = None
) -> Response:
    """Delete the audit export.

    Ends the export. The receiver keeps the records that it has taken.
    """
    await exports.remove(caller, organisation)
    return Response(status_code=204)


def _out(progress: ExportProgress) -> AuditExportOut:
    export, waiting = progress
    return AuditExportOut(
        host=export.receiver.host,
        port=export.receiver.port,
        authorities=export.receiver.authorities,
        certificate=export.receiver.certificate,
        sequence=export.sequence,
        waiting=waiting,
        exported=export.exported,
        failing_since=export.failing_since,
        detail=export.detail,
    )


ROUTES: Final = (
    Route(
        "GET",
        "/audit/export",
        get_audit_export,
        AUDIT_READERS,
        REFUSED,
        "oversight",
        use_case=ExportSettings.export,
    ),
    Route(
        "PUT",
        "/audit/export",
        put_audit_export,
        ACCESS_MANAGERS,
        REFUSED,
        "oversight",
        use_case=ExportSettings.put,
        audit="audit.export",
    ),
    Route(
        "DELETE",
        "/audit/export",
        remove_audit_export,
        ACCESS_MANAGERS,
        REFUSED,
        "oversight",
        204,
        use_case=ExportSettings.remove,
        audit="audit.export.remove",
    ),
)
