"""Use cases of whoever reads and verifies an audit chain."""

from typing import NamedTuple

from swallowtail.cloud.auditing.heads import ChainGuard, ExportedHead
from swallowtail.cloud.model.audit import AuditRecord, AuditSearch, ChainHead, ChainVerdict
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.visibility import audited_tenant


class Verification(NamedTuple):
    """The result of a check of a chain, with the exported head that it was compared with."""

    verdict: ChainVerdict
    exported: ExportedHead | None


class AuditReading:
    """The use cases that read the chain of the caller's organisation, or the operators' own.

    `organisation` is what a request names; another one than the caller's is refused.
    """

    def __init__(self, audit: Audit, chains: ChainGuard) -> None:
        self._audit, self._chains = audit, chains

    async def records(
        self,
        caller: Caller,
        organisation: str | None,
        search: AuditSearch,
        page: PageRequest = FIRST_PAGE,
    ) -> Page[AuditRecord]:
        """Return the records that match, newest first."""
        chain = audited_tenant(caller, organisation)
        return await self._audit.records(chain, page, search=search)

    async def head(self, caller: Caller, organisation: str | None) -> ChainHead:
        """Return the head of the chain."""
        return await self._audit.head(audited_tenant(caller, organisation))

    async def verify(
        self, caller: Caller, organisation: str | None, kept: tuple[int, bytes] | None
    ) -> Verification:
        """Verify the whole chain.

        It is compared with the head that was exported last, and with sequence and digest of one
        that the caller has kept.
        """
        tenant = audited_tenant(caller, organisation)
        head = None
        if kept is not None:
            sequence, digest = kept
            head = ChainHead(tenant=tenant, sequence=sequence, digest=digest)
        exported = self._chains.exported(tenant)
        return Verification(await self._chains.verify(tenant, head), exported)
