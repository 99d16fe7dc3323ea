"""The export of an organisation's audit: its receiver and its progress."""

from typing import Final

from swallowtail.cloud.model.tenancy import Tenant, Value

KEY_PURPOSE: Final = "audit export key"
"""What the private key of a client certificate is sealed for; the tenant is part of it."""


def key_purpose(tenant: str) -> str:
    """Return what a tenant's key is sealed for, so that one tenant's opens nothing as another's."""
    return f"{KEY_PURPOSE} {tenant}"


class AuditReceiver(Value, frozen=True, kw_only=True):
    """An audit record repository: syslog over TLS."""

    host: str
    port: int
    authorities: str = ""
    """PEM certificates to trust instead of the system's."""
    certificate: str = ""
    """PEM chain that the Cloud shows; empty: none."""
    key: bytes = b""
    """Its private key, sealed (`cloud.secrets.sealing`)."""


class AuditExport(Value, frozen=True, kw_only=True):
    """A tenant's export.

    What has been exported of its chain, and whether the receiver takes more.
    """

    tenant: Tenant
    receiver: AuditReceiver
    sequence: int
    """The last record that the receiver has taken."""
    exported: float | None = None
    """When it took it."""
    failing_since: float | None = None
    detail: str = ""
    """Why the last attempt failed."""
