"""Sets where an audit is exported to.

Checks the certificates, and seals the private key before it is kept.
"""

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from swallowtail.cloud.audit_export.transmission import SendError, context_of
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver, key_purpose
from swallowtail.cloud.model.operations import Condition
from swallowtail.cloud.model.ports.operations import Alarms, AuditExports
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.secrets.sealing import Seal, SealError


class InvalidReceiverError(Exception):
    """A receiver that cannot be used; `field` says which part of it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ExportSettings:
    """Reads and changes the exports of tenants."""

    def __init__(self, exports: AuditExports, alarms: Alarms, seal: Seal, clock: Clock) -> None:
        self._exports, self._alarms, self._seal, self._clock = exports, alarms, seal, clock

    async def export(self, tenant: Tenant) -> AuditExport | None:
        """Return a tenant's export, None where there is none."""
        return await self._exports.export(tenant)

    async def put(
        self,
        tenant: Tenant,
        receiver: AuditReceiver,
        key: str | None,
        *,
        whole: bool,
        event: AuditEvent,
    ) -> AuditExport:
        """Set the receiver; raises InvalidReceiverError.

        Without `key` the one of the same certificate is kept.
        """
        _check_authorities(receiver.authorities)
        made = await self._with_key(tenant, receiver, key)
        self._check(tenant, made)
        return await self._exports.put(tenant, made, whole=whole, now=self._clock(), event=event)

    async def remove(self, tenant: Tenant, *, event: AuditEvent) -> bool:
        """End an export and its alarm; False when there was none."""
        removed = await self._exports.remove(tenant, now=self._clock(), event=event)
        await self._alarms.keep(tenant, Condition.AUDIT_EXPORT, [], now=self._clock())
        return removed

    async def _with_key(
        self, tenant: Tenant, receiver: AuditReceiver, key: str | None
    ) -> AuditReceiver:
        if not receiver.certificate:
            if key:
                raise InvalidReceiverError("$.key", "belongs to a certificate, and there is none")
            return receiver
        if key:
            return msgspec.structs.replace(
                receiver, key=self._seal.close_key(_private_key(key), key_purpose(tenant))
            )
        present = await self._exports.export(tenant)
        if present is None or present.receiver.certificate != receiver.certificate:
            raise InvalidReceiverError(
                "$.key",
                "is missing; give the private key of the certificate, PEM without a passphrase",
            )
        return msgspec.structs.replace(receiver, key=present.receiver.key)

    def _check(self, tenant: Tenant, receiver: AuditReceiver) -> None:
        try:
            context_of(
                receiver,
                self._seal.passphrase(receiver.key, key_purpose(tenant)) if receiver.key else None,
            )
        except (SendError, SealError) as error:
            raise InvalidReceiverError("$.certificate", str(error)) from error


def _check_authorities(pem: str) -> None:
    if not pem:
        return
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise InvalidReceiverError("$.authorities", "holds no certificates in PEM") from error


def _private_key(pem: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidReceiverError(
            "$.key", "is no private key in PEM without a passphrase"
        ) from error
