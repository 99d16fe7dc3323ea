"""The check of a whole Cloud: every row's blob, the index, the audit chains, orphans.

Findings are values: the check goes on after each, so that one run lists everything that is wrong.
Rows and blobs change while a Cloud serves, so a blob that is missing counts only when a row still
refers to it afterwards.
"""

import enum
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from swallowtail.cloud.auditing.heads import ExportedHead
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.inventory import BlobReference
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.ports.inventory import Inventory
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.retention.orphans import orphans

MAX_FINDINGS: Final = 1000
"""Findings that a report lists; `faults` counts all of them."""
ORPHAN_AGE: Final = 3600.0
"""Seconds after which a blob without a row is an orphan; a younger one may still get its row."""


class Fault(enum.StrEnum):
    """The kind of a finding; its value is part of the JSON report."""

    DATABASE_DAMAGED = "database damaged"
    BLOB_MISSING = "blob missing"
    BLOB_DAMAGED = "blob damaged"
    DOCUMENT_MISSING = "index document missing"
    CHAIN_BROKEN = "audit chain broken"


REMEDIES: Final = {
    Fault.DATABASE_DAMAGED: "Stop the Cloud, keep its folder, and restore the newest backup.",
    Fault.BLOB_MISSING: (
        "Copy the file from a backup, or have the sender send the instance again; then check again."
    ),
    Fault.BLOB_DAMAGED: (
        "Check the disk. Replace the file by the copy in a backup, or move it elsewhere and have "
        "the sender send the instance again; then check again."
    ),
    Fault.DOCUMENT_MISSING: "Run `swallowtail cloud reindex`.",
    Fault.CHAIN_BROKEN: "Follow the runbook `audit.md`.",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `subject` names the row, the blob or the record; it holds no patient data."""

    fault: Fault
    organisation: str
    subject: str


class OrganisationReport(msgspec.Struct, kw_only=True):
    """The numbers of one organisation in a check; orphans are harmless and no fault."""

    organisation: str
    instances: int = 0
    blobs: int = 0
    bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    waiting: int = 0
    quarantined: int = 0
    audit_records: int = 0


class CheckReport(msgspec.Struct, kw_only=True):
    """The result. `rehashed`: every blob was read whole; else its length alone was compared."""

    rehashed: bool
    organisations: list[OrganisationReport] = []
    faults: int = 0
    findings: list[Finding] = []

    def add(self, fault: Fault, organisation: str, subject: str) -> None:
        """Count a fault and list it as long as the list is not full."""
        self.faults += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(fault=fault, organisation=organisation, subject=subject))


Progress = Callable[[OrganisationReport], None]


class Check:
    """One run over everything; `progress` is called after each blob."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        instances: Instances,
        blobs: Blobs,
        audit: Audit,
        exported: Mapping[Tenant, ExportedHead],
        clock: Clock,
        rehash: bool,
        progress: Progress = lambda _: None,
    ) -> None:
        self._inventory, self._instances = inventory, instances
        self._blobs, self._audit, self._exported = blobs, audit, exported
        self._clock, self._progress = clock, progress
        self.report = CheckReport(rehashed=rehash)

    async def run(self) -> CheckReport:
        """Check every organisation and the operator's audit chain; return the report."""
        for tenant, name in await self._inventory.tenants():
            one = OrganisationReport(organisation=name)
            self.report.organisations.append(one)
            await self._check_blobs(tenant, one)
            await self._check_index(tenant, one)
            await self._count_orphans(tenant, one)
            one.audit_records = await self._check_chain(tenant, name)
        await self._check_chain(OPERATOR, "(operator)")
        return self.report

    async def _check_blobs(self, tenant: Tenant, one: OrganisationReport) -> None:
        async for reference in references(self._inventory, tenant):
            one.instances += reference.instances
            one.blobs += 1
            one.bytes += reference.length
            fault = await self._fault_of(tenant, reference)
            if fault is not None:
                subject = f"blob {reference.sha256.hex()} of instance {reference.instance}"
                self.report.add(fault, one.organisation, subject)
            self._progress(one)

    async def _fault_of(self, tenant: Tenant, reference: BlobReference) -> Fault | None:
        length = await self._blobs.length(tenant, reference.sha256)
        if length is None:
            referenced = await self._instances.referenced(tenant, [reference.sha256])
            return Fault.BLOB_MISSING if referenced else None
        if length != reference.length:
            return Fault.BLOB_DAMAGED
        if self.report.rehashed and not await self._blobs.verify(tenant, reference.sha256):
            return Fault.BLOB_DAMAGED
        return None

    async def _check_index(self, tenant: Tenant, one: OrganisationReport) -> None:
        counts = await self._inventory.index(tenant)
        one.waiting, one.quarantined = counts.waiting, counts.quarantined
        for instance in counts.undocumented:
            self.report.add(Fault.DOCUMENT_MISSING, one.organisation, f"instance {instance}")

    async def _count_orphans(self, tenant: Tenant, one: OrganisationReport) -> None:
        before = self._clock() - ORPHAN_AGE
        async for orphan in orphans(self._blobs, self._instances, tenant, before=before):
            one.orphans += 1
            one.orphan_bytes += orphan.length

    async def _check_chain(self, tenant: Tenant, organisation: str) -> int:
        exported = self._exported.get(tenant)
        verdict = await self._audit.verify(tenant, [exported.head] if exported else ())
        if verdict.broken_at is not None:
            self.report.add(Fault.CHAIN_BROKEN, organisation, f"audit record {verdict.broken_at}")
        return verdict.records


async def references(inventory: Inventory, tenant: Tenant) -> AsyncIterator[BlobReference]:
    """Return every reference of a tenant, page by page."""
    after = b""
    while page := await inventory.blobs(tenant, after=after):
        for reference in page:
            yield reference
        after = page[-1].sha256
