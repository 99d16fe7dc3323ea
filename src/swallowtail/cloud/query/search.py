"""Searching and fetching for a principal.

Permission, tenant, facilities and audit in one place, the store behind its ports.

Everything that reads patient data leaves an audit record: a search as Query (PS3.15 A.5.3.10), an
access as Instances Accessed (A.5.3.6). What is outside the principal's facilities is not found,
just as another tenant's is not.
"""

import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import (
    Instance,
    InstanceSearch,
    Series,
    SeriesSearch,
    Study,
    StudySearch,
)
from swallowtail.cloud.model.indexing import IndexedDocument
from swallowtail.cloud.model.paging import FIRST_PAGE, MAX_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.tenancy import Principal, Role, Tenant
from swallowtail.cloud.query.part10 import header

Place = tuple[str, str]
"""A facility and a Study Instance UID.

The same UID in another facility is another study (ADR 0014).
"""
COUNTED: Final = 1_000
"""How many matches beyond a page are counted."""
READERS: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR, Role.CLINICIAN})
"""Who may see patient data: the operator and the auditor may not (design, "Cloud")."""


class Fetched(NamedTuple):
    """A stored instance on its way out: `head`, then the data set; `length` is that of both."""

    instance: Instance
    head: bytes
    length: int
    read: Callable[[int, int], AsyncIterator[bytes]]
    """Streams bytes of the data set: from where, and how many."""

    @property
    def validator(self) -> str:
        """Return the validator, which changes with the bytes and with nothing else."""
        digest = self.instance.identity.sha256.hex()
        return f"{digest}.{zlib.crc32(self.head):08x}" if self.head else digest

    async def pieces(self, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Stream the whole, or `length` bytes from `start`."""
        end = self.length if length is None else start + length
        if head := self.head[start:end]:
            yield head
        begin = max(start, len(self.head))
        if begin < end:
            async for piece in self.read(begin - len(self.head), end - begin):
                yield piece


class Query:
    """Use cases of everybody who reads.

    `principal` comes from the session; `address` is the caller's, for the audit.
    """

    def __init__(self, instances: Instances, blobs: Blobs, audit: Audit, *, clock: Clock) -> None:
        self._instances = instances
        self._blobs = blobs
        self._audit = audit
        self._clock = clock

    async def studies(
        self,
        caller: Caller,
        search: StudySearch,
        page: PageRequest = FIRST_PAGE,
    ) -> Page[Study]:
        """Find studies, the latest updated first."""
        tenant = readable(caller.principal)
        await self._record(caller, _asked("study", search))
        return await self._instances.studies(tenant, _limited(search, caller.principal), page)

    async def series(
        self,
        caller: Caller,
        search: SeriesSearch,
        page: PageRequest = FIRST_PAGE,
    ) -> Page[Series]:
        """Find series, by study and UID."""
        tenant = readable(caller.principal)
        await self._record(caller, _asked("series", search))
        return await self._instances.series(tenant, _limited(search, caller.principal), page)

    async def instances(
        self,
        caller: Caller,
        search: InstanceSearch,
        page: PageRequest = FIRST_PAGE,
    ) -> Page[Instance]:
        """Find instances, in the order of arrival, or within a study or series by these first."""
        tenant = readable(caller.principal)
        await self._record(caller, _asked("instance", search))
        return await self._instances.instances(tenant, _limited(search, caller.principal), page)

    async def remaining(self, caller: Caller, search: "Search", seen: int) -> int:
        """Return the number of matches beyond the first `seen`, at most COUNTED.

        The search itself was recorded.
        """
        found = await self._instances.count(
            readable(caller.principal), _limited(search, caller.principal), seen + COUNTED
        )
        return max(0, found - seen)

    async def parents(
        self, caller: Caller, studies: frozenset[str], series: frozenset[str] = frozenset()
    ) -> tuple[dict[Place, Study], dict[tuple[str, str, str], Series]]:
        """Return these studies, and of their series those of `series`.

        Studies are by facility and UID, series by facility, study and UID.

        This is where things belong that were just found.
        """
        tenant, page = readable(caller.principal), PageRequest(MAX_PAGE)
        wanted = StudySearch(uids=tuple(sorted(studies)))
        found = await self._instances.studies(tenant, _limited(wanted, caller.principal), page)
        by_place = {(one.facility, one.uid): one for one in found.items}
        if not series:
            return by_place, {}
        narrowed = _limited(
            SeriesSearch(studies=wanted, uids=tuple(sorted(series))), caller.principal
        )
        rows = await self._instances.series(tenant, narrowed, page)
        return by_place, {(one.facility, one.study, one.uid): one for one in rows.items}

    async def instance(
        self, caller: Caller, sop_instance: str, *, study: str = "", series: str = ""
    ) -> Instance:
        """Return the visible instance of a UID, within `study` and `series` if given.

        NotFoundError otherwise.
        """
        copies = await self.copies(caller, sop_instance)
        for one in copies:
            if one.visible and study in ("", one.study) and series in ("", one.series):
                return one
        raise NotFoundError("there is no such instance")

    async def copies(self, caller: Caller, sop_instance: str) -> tuple[Instance, ...]:
        """Return every copy of a UID that this principal may see, the visible one first."""
        copies = await self._instances.copies(readable(caller.principal), sop_instance)
        return await self._visible(caller, copies)

    async def by_id(self, caller: Caller, instance: int) -> Instance:
        """Return one instance, visible or not, that this principal may see.

        Raises NotFoundError.
        """
        found = await self._instances.instance(readable(caller.principal), instance)
        if not await self._visible(caller, (found,)):
            raise NotFoundError("there is no such instance")
        return found

    async def read(self, caller: Caller, instance: int) -> Instance:
        """Return one instance, visible or not, to whoever reads its metadata; audited."""
        found = await self.by_id(caller, instance)
        event = caller.event(
            EventAction.READ,
            "instance.look",
            ("instance", found.identity.sop_instance),
            event=EventId.INSTANCES_ACCESSED,
        )
        await self._audit.append(caller.tenant, [event], now=self._clock())
        return found

    async def choose(self, caller: Caller, instance: int) -> Instance:
        """Make a copy the visible one of its SOP Instance UID, to resolve a conflict."""
        found = await self.by_id(caller, instance)
        event = caller.event(
            EventAction.UPDATE,
            "instance.choose",
            ("instance", found.identity.sop_instance),
            event=EventId.APPLICATION_ACTIVITY,
        )
        now = self._clock()
        return await self._instances.choose(caller.tenant, instance, now=now, event=event)

    async def documents(
        self, caller: Caller, instances: tuple[Instance, ...]
    ) -> dict[int, IndexedDocument]:
        """Return DICOM JSON (compressed) and frame index of instances that were found."""
        ids = [one.id for one in await self._visible(caller, instances)]
        return await self._instances.documents(readable(caller.principal), ids)

    async def file(self, caller: Caller, instance: Instance) -> Fetched:
        """Fetch a DICOM file: the header that we write and the data set as received."""
        identity, origin = instance.identity, instance.origin
        head = header(
            instance.sop_class,
            identity.sop_instance,
            identity.transfer_syntax,
            receiving_ae=origin.called_ae,
            sending_ae=origin.calling_ae,
        )
        return await self._fetch(caller, instance, head)

    async def data_set(self, caller: Caller, instance: Instance) -> Fetched:
        """Fetch the data set alone, byte by byte as received.

        Its SHA-256 is `instance.identity.sha256`.
        """
        return await self._fetch(caller, instance, b"")

    async def file_of(self, caller: Caller, instance: int) -> Fetched:
        """Fetch the DICOM file of an instance by its id, visible or not."""
        return await self.file(caller, await self.by_id(caller, instance))

    async def data_set_of(self, caller: Caller, instance: int) -> Fetched:
        """Fetch the data set of an instance by its id, visible or not."""
        return await self.data_set(caller, await self.by_id(caller, instance))

    async def _fetch(self, caller: Caller, instance: Instance, head: bytes) -> Fetched:
        tenant = await self.accessed(caller, instance)
        sha256 = instance.identity.sha256
        if await self._blobs.length(tenant, sha256) is None:
            raise NotFoundError("the instance's blob is missing; restore it from a backup")
        read = partial(self._blobs.read, tenant, sha256)
        return Fetched(instance, head, len(head) + instance.length, read)

    async def record_reading(self, caller: Caller, instances: tuple[Instance, ...]) -> None:
        """Record that a principal reads the metadata of instances that it has just found."""
        studies = sorted({one.study for one in instances})
        objects = tuple(("study", uid) for uid in studies)
        event = AuditEvent(
            event=EventId.INSTANCES_ACCESSED,
            action=EventAction.READ,
            type="instance.metadata",
            actor=caller.principal.id,
            role=caller.principal.role,
            address=caller.address,
            objects=objects,
            detail=f"{len(instances)} instances",
        )
        await self._audit.append(readable(caller.principal), [event], now=self._clock())

    async def accessed(self, caller: Caller, instance: Instance) -> Tenant:
        """Record that a principal fetches an instance; NotFoundError where it may not see it."""
        tenant = readable(caller.principal)
        await self.by_id(caller, instance.id)
        objects = (("instance", instance.identity.sop_instance), ("study", instance.study))
        event = AuditEvent(
            event=EventId.INSTANCES_ACCESSED,
            action=EventAction.READ,
            type="instance.fetch",
            actor=caller.principal.id,
            role=caller.principal.role,
            address=caller.address,
            objects=objects,
        )
        await self._audit.append(tenant, [event], now=self._clock())
        return tenant

    async def _visible(
        self, caller: Caller, instances: tuple[Instance, ...]
    ) -> tuple[Instance, ...]:
        """Return those of the instances that lie in the principal's facilities and archives."""
        facilities = caller.principal.facilities
        mine = tuple(
            one for one in instances if facilities is None or one.origin.facility in facilities
        )
        if caller.principal.archives is None or not mine:
            return mine
        search = _limited(
            InstanceSearch(ids=frozenset(one.id for one in mine), hidden=True), caller.principal
        )
        tenant = readable(caller.principal)
        if await self._instances.count(tenant, search, len(mine)) == len(mine):
            return mine
        found = await self._instances.instances(tenant, search, PageRequest(MAX_PAGE))
        filed = {one.id for one in found.items}
        return tuple(one for one in mine if one.id in filed)

    async def _record(self, caller: Caller, asked: tuple[str, str]) -> None:
        kind, keys = asked
        event = AuditEvent(
            event=EventId.QUERY,
            action=EventAction.EXECUTE,
            type=f"{kind}.search",
            actor=caller.principal.id,
            role=caller.principal.role,
            address=caller.address,
            detail=keys,
        )
        await self._audit.append(readable(caller.principal), [event], now=self._clock())


def readable(principal: Principal) -> Tenant:
    """Return the tenant whose patient data this principal may read.

    NotFoundError where there is none, so that nothing is disclosed.
    """
    if principal.tenant is None or principal.role not in READERS:
        raise NotFoundError
    return principal.tenant


Search = TypeVar("Search", StudySearch, SeriesSearch, InstanceSearch)


def _limited(search: Search, principal: Principal) -> Search:
    """Narrow a search to the principal's facilities and archives."""
    return msgspec.structs.replace(
        search,
        facilities=_both(search.facilities, principal.facilities),
        archives=_both(search.archives, principal.archives),
    )


def _both(asked: frozenset[str] | None, allowed: frozenset[str] | None) -> frozenset[str] | None:
    """Return what is asked for and allowed; None: everything."""
    if asked is None or allowed is None:
        return allowed if asked is None else asked
    return asked & allowed


def _asked(kind: str, search: StudySearch | SeriesSearch | InstanceSearch) -> tuple[str, str]:
    return kind, msgspec.json.encode(search).decode()
