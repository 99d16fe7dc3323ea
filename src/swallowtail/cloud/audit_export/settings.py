"""Sets where an audit is exported to.

Checks the certificates, and seals the private key before it is kept.
"""

from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from swallowtail.cloud.audit_export.transmission import SendError, context_of
from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver, key_purpose
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.operations import Alarms, Audit, AuditExports
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.model.use_case_errors import InvalidValueError
from swallowtail.cloud.model.visibility import audited_tenant
from swallowtail.cloud.secrets.sealing import Seal, SealError


class ExportProgress(NamedTuple):
    """An export, and how many records the receiver has not taken yet."""

    export: AuditExport
    waiting: int


class ExportSettings:
    """The use cases of the export of the caller's audit chain.

    `organisation` is what a request names; another one than the caller's is refused.
    """

    def __init__(
        self, exports: AuditExports, audit: Audit, alarms: Alarms, seal: Seal, clock: Clock
    ) -> None:
        self._exports, self._audit, self._alarms = exports, audit, alarms
        self._seal, self._clock = seal, clock

    async def export(self, caller: Caller, organisation: str | None) -> ExportProgress:
        """Return the export; raises NotFoundError where there is none."""
        export = await self._exports.export(audited_tenant(caller, organisation))
        if export is None:
            raise NotFoundError("this audit is not exported; set a receiver")
        return await self._progress(export)

    async def put(
        self,
        caller: Caller,
        organisation: str | None,
        receiver: AuditReceiver,
        key: str | None,
        *,
        whole: bool,
    ) -> ExportProgress:
        """Set the receiver; raises InvalidValueError.

        Without `key` the one of the same certificate is kept.
        """
        tenant = audited_tenant(caller, organisation)
        _check_authorities(receiver.authorities)
        made = await self._with_key(tenant, receiver, key)
        self._check(tenant, made)
        event = caller.event(
            EventAction.UPDATE, "audit.export", ("receiver", f"{receiver.host}:{receiver.port}")
        )
        now = self._clock()
        export = await self._exports.put(tenant, made, whole=whole, now=now, event=event)
        return await self._progress(export)

    async def remove(self, caller: Caller, organisation: str | None) -> None:
        """End the export and clear its alarm; raises NotFoundError where there is none."""
        tenant, now = audited_tenant(caller, organisation), self._clock()
        event = caller.event(EventAction.DELETE, "audit.export.remove")
        removed = await self._exports.remove(tenant, now=now, event=event)
        await self._alarms.keep(tenant, Condition.AUDIT_EXPORT, [], now=now)
        if not removed:
            raise NotFoundError("this audit is not exported")

    async def _progress(self, export: AuditExport) -> ExportProgress:
        head = await self._audit.head(export.tenant)
        return ExportProgress(export, max(0, head.sequence - export.sequence))

    async def _with_key(
        self, tenant: Tenant, receiver: AuditReceiver, key: str | None
    ) -> AuditReceiver:
        if not receiver.certificate:
            if key:
                raise InvalidValueError("$.key", "belongs to a certificate, and there is none")
            return receiver
        if key:
            return msgspec.structs.replace(
                receiver, key=self._seal.close_key(_private_key(key), key_purpose(tenant))
            )
        present = await self._exports.export(tenant)
        if present is None or present.receiver.certificate != receiver.certificate:
            raise InvalidValueError(
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
            raise InvalidValueError("$.certificate", str(error)) from error


def _check_authorities(pem: str) -> None:
    if not pem:
        return
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise InvalidValueError("$.authorities", "holds no certificates in PEM") from error


def _private_key(pem: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidValueError("$.key", "is no private key in PEM without a passphrase") from error
