"""Use cases of retention locks: studies of which nothing may be deleted (legal hold)."""

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.deletion import RetentionLock
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.deletions import Retentions


class RetentionLocking:
    """Lists, sets and removes the retention locks of the caller's organisation."""

    def __init__(self, retentions: Retentions, *, clock: Clock) -> None:
        self._retentions, self._clock = retentions, clock

    async def locks(self, caller: Caller, page: PageRequest = FIRST_PAGE) -> Page[RetentionLock]:
        """Return the locks by Study Instance UID."""
        return await self._retentions.locks(caller.tenant, page)

    async def lock(self, caller: Caller, study: str, reason: str) -> RetentionLock:
        """Lock a study; a study that is locked keeps its first lock."""
        now = self._clock()
        event = _event(caller, EventAction.CREATE, "retention.lock", study, detail=reason)
        lock = RetentionLock(study=study, reason=reason, locked_by=caller.principal.id, since=now)
        return await self._retentions.lock(caller.tenant, lock, now=now, event=event)

    async def unlock(self, caller: Caller, study: str) -> None:
        """Remove the lock of a study."""
        event = _event(caller, EventAction.DELETE, "retention.unlock", study)
        await self._retentions.unlock(caller.tenant, study, now=self._clock(), event=event)


def _event(
    caller: Caller, action: EventAction, kind: str, study: str, *, detail: str = ""
) -> AuditEvent:
    activity = EventId.APPLICATION_ACTIVITY
    return caller.event(action, kind, ("study", study), event=activity, detail=detail)
