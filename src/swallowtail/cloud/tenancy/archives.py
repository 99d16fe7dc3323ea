"""Use cases of archives: folders of an organisation's studies (ADR 0021)."""

from swallowtail.cloud.model.archives import Archive
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.archives import Archives


class ArchiveAdministration:
    """Lists and changes archives, within the archives and facilities that the caller may see."""

    def __init__(self, archives: Archives, *, clock: Clock, random: Randomness) -> None:
        self._archives, self._clock, self._random = archives, clock, random

    async def archives(
        self, caller: Caller, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Archive]:
        """Return archives by name."""
        allowed = caller.principal.archives
        return await self._archives.archives(caller.tenant, page, name=name, ids=allowed)

    async def archive(self, caller: Caller, archive: str) -> Archive:
        """Return one archive."""
        caller.check_archive(archive)
        return await self._archives.archive(caller.tenant, archive)

    async def create(self, caller: Caller, name: str) -> Archive:
        """Create an archive; raises ConflictError when the name is taken."""
        now = self._clock()
        archive = Archive(id=new_id(self._random), name=name, created=now)
        event = _event(caller, EventAction.CREATE, "archive.create", archive.id)
        await self._archives.add(caller.tenant, archive, now=now, event=event)
        return archive

    async def rename(self, caller: Caller, archive: str, name: str) -> Archive:
        """Rename an archive; raises ConflictError when the name is taken."""
        event = _event(caller, EventAction.UPDATE, "archive.rename", archive)
        now = self._clock()
        return await self._archives.rename(caller.tenant, archive, name, now=now, event=event)

    async def delete(self, caller: Caller, archive: str) -> None:
        """Delete an archive; raises ConflictError while a rule or a token names it."""
        event = _event(caller, EventAction.DELETE, "archive.delete", archive)
        await self._archives.remove(caller.tenant, archive, now=self._clock(), event=event)

    async def add_study(self, caller: Caller, archive: str, study: str) -> None:
        """Add to an archive what the caller may see of a study."""
        caller.check_archive(archive)
        event = _event(caller, EventAction.UPDATE, "archive.put", archive, ("study", study))
        await self._archives.put(
            caller.tenant, study, archive, limits=caller.limits, now=self._clock(), event=event
        )

    async def remove_study(self, caller: Caller, archive: str, study: str) -> None:
        """Remove from an archive what the caller may see of a study."""
        caller.check_archive(archive)
        event = _event(caller, EventAction.UPDATE, "archive.take-out", archive, ("study", study))
        await self._archives.take_out(
            caller.tenant, study, archive, limits=caller.limits, now=self._clock(), event=event
        )


def _event(
    caller: Caller, action: EventAction, kind: str, archive: str, *more: tuple[str, str]
) -> AuditEvent:
    objects = (("archive", archive), *more)
    return caller.event(action, kind, *objects, event=EventId.APPLICATION_ACTIVITY)
