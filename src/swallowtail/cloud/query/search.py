"""Searching and fetching for a principal.

Permission, tenant, facilities and audit in one place, the store behind its ports.

Everything that reads patient data leaves an audit record: a search as Query (PS3.15 A.5.3.10), an
access as Instances Accessed (A.5.3.6). What lies outside the principal's facilities is not found,
just as another tenant's is not.
"""

import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
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
        """Return what is the same exactly as long as the bytes are."""
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
        principal: Principal,
        search: StudySearch,
        page: PageRequest = FIRST_PAGE,
        *,
        address: str = "",
    ) -> Page[Study]:
        """Find studies, the latest updated first."""
        tenant = readable(principal)
        await self._record(tenant, principal, address, _asked("study", search))
        return await self._instances.studies(tenant, _limited(search, principal), page)

    async def series(
        self,
        principal: Principal,
        search: SeriesSearch,
        page: PageRequest = FIRST_PAGE,
        *,
        address: str = "",
    ) -> Page[Series]:
        """Find series, by study and UID."""
        tenant = readable(principal)
        await self._record(tenant, principal, address, _asked("series", search))
        return await self._instances.series(tenant, _limited(search, principal), page)

    async def instances(
        self,
        principal: Principal,
        search: InstanceSearch,
        page: PageRequest = FIRST_PAGE,
        *,
        address: str = "",
    ) -> Page[Instance]:
        """Find instances, in the order of arrival, or within a study or series by these first."""
        tenant = readable(principal)
        await self._record(tenant, principal, address, _asked("instance", search))
        return await self._instances.instances(tenant, _limited(search, principal), page)

    async def remaining(self, principal: Principal, search: "Search", seen: int) -> int:
        """Say how many matches there are beyond the first `seen`, counting at most COUNTED.

        The search itself was recorded.
        """
        found = await self._instances.count(
            readable(principal), _limited(search, principal), seen + COUNTED
        )
        return max(0, found - seen)

    async def parents(
        self, principal: Principal, studies: frozenset[str], series: frozenset[str] = frozenset()
    ) -> tuple[dict[Place, Study], dict[tuple[str, str, str], Series]]:
        """Return these studies by facility and UID, and of their series those of `series` by
        facility, study and UID.

        This is where things belong that were just found.
        """
        tenant, page = readable(principal), PageRequest(MAX_PAGE)
        wanted = StudySearch(uids=tuple(sorted(studies)))
        found = await self._instances.studies(tenant, _limited(wanted, principal), page)
        by_place = {(one.facility, one.uid): one for one in found.items}
        if not series:
            return by_place, {}
        narrowed = _limited(SeriesSearch(studies=wanted, uids=tuple(sorted(series))), principal)
        rows = await self._instances.series(tenant, narrowed, page)
        return by_place, {(one.facility, one.study, one.uid): one for one in rows.items}

    async def instance(
        self, principal: Principal, sop_instance: str, *, study: str = "", series: str = ""
    ) -> Instance:
        """Give the visible instance of a UID, within `study` and `series` if given.

        NotFoundError otherwise.
        """
        copies = await self.copies(principal, sop_instance)
        for one in copies:
            if one.visible and study in ("", one.study) and series in ("", one.series):
                return one
        raise NotFoundError("there is no such instance")

    async def copies(self, principal: Principal, sop_instance: str) -> tuple[Instance, ...]:
        """Give everything kept under a UID that this principal may see, the visible one first."""
        copies = await self._instances.copies(readable(principal), sop_instance)
        return await self._visible(principal, copies)

    async def by_id(self, principal: Principal, instance: int) -> Instance:
        """Return one instance, visible or not, that this principal may see.

        Raises NotFoundError.
        """
        found = await self._instances.instance(readable(principal), instance)
        if not await self._visible(principal, (found,)):
            raise NotFoundError("there is no such instance")
        return found

    async def documents(
        self, principal: Principal, instances: tuple[Instance, ...]
    ) -> dict[int, IndexedDocument]:
        """Give the DICOM JSON (compressed) and frame index of instances that this principal has
        found.
        """
        ids = [one.id for one in await self._visible(principal, instances)]
        return await self._instances.documents(readable(principal), ids)

    async def file(self, principal: Principal, instance: Instance, *, address: str = "") -> Fetched:
        """Fetch a DICOM file: the header that we write and the data set as received."""
        identity, origin = instance.identity, instance.origin
        head = header(
            instance.sop_class,
            identity.sop_instance,
            identity.transfer_syntax,
            receiving_ae=origin.called_ae,
            sending_ae=origin.calling_ae,
        )
        return await self._fetch(principal, instance, head, address)

    async def data_set(
        self, principal: Principal, instance: Instance, *, address: str = ""
    ) -> Fetched:
        """Fetch the data set alone, byte by byte as received.

        Its SHA-256 is `instance.identity.sha256`.
        """
        return await self._fetch(principal, instance, b"", address)

    async def span(
        self,
        principal: Principal,
        instance: Instance,
        start: int,
        length: int,
        *,
        address: str = "",
    ) -> AsyncIterator[bytes]:
        """Fetch a range of the data set: a frame, by its span in the frame index."""
        tenant = await self.accessed(principal, instance, address)
        return self._blobs.read(tenant, instance.identity.sha256, start, length)

    async def _fetch(
        self, principal: Principal, instance: Instance, head: bytes, address: str
    ) -> Fetched:
        tenant = await self.accessed(principal, instance, address)
        sha256 = instance.identity.sha256
        if await self._blobs.length(tenant, sha256) is None:
            raise NotFoundError("the instance's blob is missing; restore it from a backup")
        read = partial(self._blobs.read, tenant, sha256)
        return Fetched(instance, head, len(head) + instance.length, read)

    async def looked(
        self, principal: Principal, instances: tuple[Instance, ...], *, address: str = ""
    ) -> None:
        """Record that a principal reads what these instances, which it has just found, say of their
        patients.
        """
        studies = sorted({one.study for one in instances})
        objects = tuple(("study", uid) for uid in studies)
        event = AuditEvent(
            event=EventId.INSTANCES_ACCESSED,
            action=EventAction.READ,
            type="instance.metadata",
            actor=principal.id,
            role=principal.role,
            address=address,
            objects=objects,
            detail=f"{len(instances)} instances",
        )
        await self._audit.append(readable(principal), [event], now=self._clock())

    async def accessed(self, principal: Principal, instance: Instance, address: str) -> Tenant:
        """Record that a principal fetches an instance; NotFoundError where it may not see it."""
        tenant = readable(principal)
        await self.by_id(principal, instance.id)
        objects = (("instance", instance.identity.sop_instance), ("study", instance.study))
        event = AuditEvent(
            event=EventId.INSTANCES_ACCESSED,
            action=EventAction.READ,
            type="instance.fetch",
            actor=principal.id,
            role=principal.role,
            address=address,
            objects=objects,
        )
        await self._audit.append(tenant, [event], now=self._clock())
        return tenant

    async def _visible(
        self, principal: Principal, instances: tuple[Instance, ...]
    ) -> tuple[Instance, ...]:
        """Return those of the instances that lie in the principal's facilities and archives."""
        facilities = principal.facilities
        mine = tuple(
            one for one in instances if facilities is None or one.origin.facility in facilities
        )
        if principal.archives is None or not mine:
            return mine
        search = _limited(
            InstanceSearch(ids=frozenset(one.id for one in mine), hidden=True), principal
        )
        tenant = readable(principal)
        if await self._instances.count(tenant, search, len(mine)) == len(mine):
            return mine
        found = await self._instances.instances(tenant, search, PageRequest(MAX_PAGE))
        filed = {one.id for one in found.items}
        return tuple(one for one in mine if one.id in filed)

    async def _record(
        self, tenant: Tenant, principal: Principal, address: str, asked: tuple[str, str]
    ) -> None:
        kind, keys = asked
        event = AuditEvent(
            event=EventId.QUERY,
            action=EventAction.EXECUTE,
            type=f"{kind}.search",
            actor=principal.id,
            role=principal.role,
            address=address,
            detail=keys,
        )
        await self._audit.append(tenant, [event], now=self._clock())


def readable(principal: Principal) -> Tenant:
    """Give the tenant whose patient data this principal may read.

    NotFoundError where there is none, so that nothing is told.
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
