"""Ports of stored instances and index jobs."""

from collections.abc import Collection, Sequence
from typing import Protocol

from swallowtail.cloud.model.audit import (
    AuditEvent,
)
from swallowtail.cloud.model.imaging import (
    Arrival,
    Instance,
    InstanceSearch,
    Receipt,
    Series,
    SeriesSearch,
    Study,
    StudySearch,
)
from swallowtail.cloud.model.indexing import IndexedDocument, IndexJob, IndexOutcome
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    Tenant,
)


class Instances(Protocol):
    """Stored instances.

    The commit before each acknowledgement, and the indexed content.
    """

    async def commit(self, tenant: Tenant, arrival: Arrival, *, now: float) -> Receipt:
        """Commit an arrival: transaction 1 of the design.

        Check the Link's epoch, keep the instance with its index job and audit record.

        The blob must be durable before. The same identity again changes nothing but the audit.
        Another transfer syntax is kept and noted; other bytes are kept with the alarm
        INSTANCE_CONFLICT; the first stays visible. FencedError: the epoch is old. All of this is
        decided within the facility (ADR 0014): what another holds under the same UIDs changes
        nothing but that other bytes there raise the alarm too.
        """

    async def studies(
        self, tenant: Tenant, search: StudySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Study]:
        """Find studies of each facility, the latest updated first."""

    async def series(
        self, tenant: Tenant, search: SeriesSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Series]:
        """Find series of each facility, by study and UID."""

    async def instances(
        self, tenant: Tenant, search: InstanceSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Instance]:
        """Find instances, in the order of arrival.

        Of some studies or series by these first, of some UIDs by UID.
        """

    async def count(
        self, tenant: Tenant, search: StudySearch | SeriesSearch | InstanceSearch, most: int
    ) -> int:
        """Return how many match, at most `most`."""

    async def instance(self, tenant: Tenant, instance: int) -> Instance:
        """Return one by its id, visible or not."""

    async def copies(self, tenant: Tenant, sop_instance: str) -> tuple[Instance, ...]:
        """Return every copy of a SOP Instance UID, the visible one first.

        Empty when there is none.
        """

    async def documents(
        self, tenant: Tenant, instances: Collection[int]
    ) -> dict[int, IndexedDocument]:
        """Return the stored DICOM JSON and frame index of at most MAX_PAGE instances.

        Those not indexed are absent.
        """

    async def choose(
        self, tenant: Tenant, instance: int, *, now: float, event: AuditEvent
    ) -> Instance:
        """Make this its facility's visible one of its SOP Instance UID.

        A person has decided a conflict.
        """

    async def referenced(self, tenant: Tenant, digests: Collection[bytes]) -> frozenset[bytes]:
        """Return those of the blob digests to which a row refers, be it deleted.

        The rest are orphans or on their way.
        """


class IndexJobs(Protocol):
    """The index workers' side of the instances; for the machinery, so it spans tenants."""

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[IndexJob, ...]:
        """Claim at most `limit` waiting jobs, the oldest first.

        They are nobody else's before `until`.
        """

    async def release(self) -> int:
        """Free every claim, for a node that starts and is alone: whoever claimed them has stopped.

        Gives their number.
        """

    async def settle(self, outcomes: Sequence[IndexOutcome], *, now: float) -> None:
        """Store study, series, document and counts of each outcome: transaction 2 of the design.

        Quarantine raises the alarm INSTANCE_QUARANTINED.

        Repeating an outcome changes nothing. The visible instances alone are counted. What is
        indexed after all clears the alarm, unless another copy of its UID is not.
        """

    async def rebuild(
        self, tenant: Tenant, *, study: str | None = None, now: float, event: AuditEvent
    ) -> int:
        """Create a job for every instance of the tenant, or of one study; returns their number."""

    async def requeue(
        self,
        tenant: Tenant,
        instances: Collection[int] | None,
        *,
        facilities: frozenset[str] | None = None,
        now: float,
        event: AuditEvent,
    ) -> int:
        """Create a job for these instances, or all quarantined ones, and return their number.

        They wait then. Those that are indexed, unknown or in none of `facilities` are left out.
        """
