"""Use cases of the facilities of an organisation."""

from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import Facility
from swallowtail.cloud.model.visibility import visible_facility


class FacilityAdministration:
    """Lists and changes the facilities that the caller may see."""

    def __init__(self, organisations: Organisations, *, clock: Clock, random: Randomness) -> None:
        self._organisations, self._clock, self._random = organisations, clock, random

    async def facilities(
        self, caller: Caller, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Facility]:
        """Return facilities by name."""
        allowed = caller.principal.facilities
        return await self._organisations.facilities(caller.tenant, page, name=name, ids=allowed)

    async def facility(self, caller: Caller, facility: str) -> Facility:
        """Return one facility."""
        return await visible_facility(self._organisations, caller, facility)

    async def create(self, caller: Caller, *, name: str, title: str, time_zone: str) -> Facility:
        """Create a facility; raises ConflictError when the name is taken."""
        facility = Facility(id=new_id(self._random), name=name, title=title, time_zone=time_zone)
        event = caller.event(EventAction.CREATE, "facility.create", ("facility", facility.id))
        await self._organisations.put_facility(
            caller.tenant, facility, now=self._clock(), event=event
        )
        return facility

    async def change(
        self,
        caller: Caller,
        facility: str,
        *,
        title: str | None = None,
        time_zone: str | None = None,
    ) -> Facility:
        """Change title or time zone; None: unchanged."""
        old = await visible_facility(self._organisations, caller, facility)
        new = Facility(
            id=old.id,
            name=old.name,
            title=old.title if title is None else title,
            time_zone=old.time_zone if time_zone is None else time_zone,
        )
        event = caller.event(EventAction.UPDATE, "facility.change", ("facility", old.id))
        await self._organisations.put_facility(caller.tenant, new, now=self._clock(), event=event)
        return new
