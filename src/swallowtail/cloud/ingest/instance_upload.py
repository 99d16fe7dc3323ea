"""Use case of whoever stores instances through the API."""

from typing import NamedTuple

from swallowtail.calls.store import StoreAnswer
from swallowtail.cloud.ingest.store_instance import Body, Ingest, InstanceKey, Upload
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.model.use_case_errors import AmbiguousFacilityError


class BegunUpload(NamedTuple):
    """An upload of one or more instances whose facility is known."""

    tenant: Tenant
    upload: Upload


class InstanceUpload:
    """The use case that stores instances in a facility of the caller."""

    def __init__(self, ingest: Ingest, organisations: Organisations) -> None:
        self._ingest, self._organisations = ingest, organisations

    async def begin(self, caller: Caller, facility: str | None) -> BegunUpload:
        """Return an upload into a facility, None: the only one that the caller may see.

        Raises AmbiguousFacilityError where there is not exactly one, and NotFoundError.
        """
        chosen = await self._facility(caller, facility)
        return BegunUpload(caller.tenant, Upload(caller.principal.id, caller.address, chosen))

    async def store(self, upload: BegunUpload, key: InstanceKey, body: Body) -> StoreAnswer:
        """Store one instance; its audit record is part of the commit."""
        return await self._ingest.upload(upload.tenant, upload.upload, key, body)

    async def _facility(self, caller: Caller, wanted: str | None) -> str:
        organisations, allowed = self._organisations, caller.principal.facilities
        known = [
            one.id async for one in walk(lambda page: organisations.facilities(caller.tenant, page))
        ]
        visible = [one for one in known if allowed is None or one in allowed]
        if wanted is not None:
            if wanted not in visible:
                raise NotFoundError("there is no such facility")
            return wanted
        if len(visible) != 1:
            raise AmbiguousFacilityError(
                f"there are {len(visible)} facilities that the instances could belong to"
            )
        return visible[0]
