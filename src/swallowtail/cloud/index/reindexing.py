"""The repeated indexing of stored instances.

Used after a restore, after a fault in the index, or with a better parser.
"""

from collections.abc import Collection

from swallowtail.cloud.index.indexer import TOPIC
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.inventory import IndexCounts
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.instances import IndexJobs
from swallowtail.cloud.model.ports.inventory import Inventory


class Reindexing:
    """The use cases of `/index-jobs`, `/unindexed-instances` and `swallowtail cloud reindex`."""

    def __init__(self, jobs: IndexJobs, inventory: Inventory, bus: Bus, *, clock: Clock) -> None:
        self._jobs, self._inventory, self._bus, self._clock = jobs, inventory, bus, clock

    async def queue(self, caller: Caller, study: str | None) -> int:
        """Queue every instance of the tenant, or of one study, and return their number.

        An indexed instance stays visible until its job is done. A queued instance is queued once.
        """
        objects = () if study is None else (("study", study),)
        event = _event(caller, "index.rebuild", *objects)
        now = self._clock()
        queued = await self._jobs.rebuild(caller.tenant, study=study, now=now, event=event)
        self._bus.publish(TOPIC)
        return queued

    async def requeue(self, caller: Caller, instances: Collection[int] | None) -> int:
        """Queue instances that could not be indexed, all or some, and return their number.

        Instances outside the principal's facilities, and those that are indexed, are left out.
        """
        event = _event(caller, "index.requeue", *(("row", str(one)) for one in instances or ()))
        tenant, facilities, now = caller.tenant, caller.principal.facilities, self._clock()
        queued = await self._jobs.requeue(
            tenant, instances, facilities=facilities, now=now, event=event
        )
        self._bus.publish(TOPIC)
        return queued

    async def counts(self, caller: Caller) -> IndexCounts:
        """Return how many jobs wait and how many instances are quarantined."""
        return await self._inventory.index(caller.tenant)


def _event(caller: Caller, kind: str, *objects: tuple[str, str]) -> AuditEvent:
    activity = EventId.APPLICATION_ACTIVITY
    return caller.event(EventAction.EXECUTE, kind, *objects, event=activity)
