"""The repeated indexing of stored instances.

Used after a restore, after a fault in the index, or with a better parser.
"""

from collections.abc import Collection

from swallowtail.cloud.index.indexer import TOPIC
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.inventory import IndexCounts
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.instances import IndexJobs
from swallowtail.cloud.model.ports.inventory import Inventory
from swallowtail.cloud.model.tenancy import Principal, Tenant


class Reindexing:
    """The use cases of `/index-jobs`, `/unindexed-instances` and `swallowtail cloud reindex`."""

    def __init__(self, jobs: IndexJobs, inventory: Inventory, bus: Bus, *, clock: Clock) -> None:
        self._jobs, self._inventory, self._bus, self._clock = jobs, inventory, bus, clock

    async def queue(self, tenant: Tenant, study: str | None, event: AuditEvent) -> int:
        """Queue every instance of the tenant, or of one study, and return their number.

        An indexed instance stays visible until its job is done. A queued instance is queued once.
        """
        queued = await self._jobs.rebuild(tenant, study=study, now=self._clock(), event=event)
        self._bus.publish(TOPIC)
        return queued

    async def requeue(
        self,
        principal: Principal,
        tenant: Tenant,
        instances: Collection[int] | None,
        event: AuditEvent,
    ) -> int:
        """Queue instances that could not be indexed, all or some, and return their number.

        Instances outside the principal's facilities, and those that are indexed, are left out.
        """
        facilities, now = principal.facilities, self._clock()
        queued = await self._jobs.requeue(
            tenant, instances, facilities=facilities, now=now, event=event
        )
        self._bus.publish(TOPIC)
        return queued

    async def counts(self, tenant: Tenant) -> IndexCounts:
        """Return the numbers of waiting jobs and of quarantined instances."""
        return await self._inventory.index(tenant)
