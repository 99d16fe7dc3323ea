"""Use cases of organisations: an operator's, and their own retention."""

from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest, walk
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.deletions import Retentions
from swallowtail.cloud.model.ports.links import Links
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import Organisation, OrganisationState, Tenant
from swallowtail.cloud.model.topics import link_topic
from swallowtail.cloud.model.use_case_errors import InvalidValueError


class OrganisationAdministration:
    """The use cases of organisations."""

    def __init__(
        self,
        organisations: Organisations,
        links: Links,
        retentions: Retentions,
        bus: Bus,
        *,
        clock: Clock,
        random: Randomness,
    ) -> None:
        self._organisations, self._links, self._retentions = organisations, links, retentions
        self._bus, self._clock, self._random = bus, clock, random

    async def organisations(
        self, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Organisation]:
        """Return organisations by name."""
        return await self._organisations.organisations(page, name=name)

    async def organisation(self, organisation: str) -> Organisation:
        """Return one organisation."""
        return await self._organisations.organisation(Tenant(organisation))

    async def own(self, caller: Caller) -> Organisation | None:
        """Return the organisation of the caller's token; None: an operator's."""
        tenant = caller.principal.tenant
        return None if tenant is None else await self._organisations.organisation(tenant)

    async def create(self, caller: Caller, *, name: str, title: str) -> Organisation:
        """Create an organisation; raises ConflictError when the name is taken."""
        tenant, now = Tenant(new_id(self._random)), self._clock()
        organisation = Organisation(id=tenant, name=name, title=title, created=now)
        event = caller.event(EventAction.CREATE, "organisation.create", ("organisation", tenant))
        await self._organisations.add_organisation(organisation, now=now, event=event)
        return organisation

    async def change(
        self,
        caller: Caller,
        organisation: str,
        *,
        title: str | None = None,
        state: OrganisationState | None = None,
    ) -> Organisation:
        """Change title or state; None: unchanged. Suspending closes the sessions of its Links."""
        if state is OrganisationState.REMOVED:
            message = "an organisation is removed by DELETE, not by a change of its state"
            raise InvalidValueError("$.state", message)
        event = "organisation.change"
        return await self._change(caller, organisation, event, title=title, state=state)

    async def remove(self, caller: Caller, organisation: str) -> None:
        """Remove an organisation; it is purged when its retention has ended."""
        removed = OrganisationState.REMOVED
        await self._change(caller, organisation, "organisation.remove", state=removed)

    async def set_retention(self, caller: Caller, days: int) -> Organisation:
        """Set for how many days later deletions can be restored."""
        event = caller.event(
            EventAction.UPDATE,
            "retention.change",
            ("organisation", caller.tenant),
            detail=f"{days} days",
        )
        return await self._retentions.set_days(caller.tenant, days, now=self._clock(), event=event)

    async def _change(
        self,
        caller: Caller,
        organisation: str,
        kind: str,
        *,
        title: str | None = None,
        state: OrganisationState | None = None,
    ) -> Organisation:
        tenant = Tenant(organisation)
        event = caller.event(EventAction.UPDATE, kind, ("organisation", organisation))
        stops = state not in {None, OrganisationState.ACTIVE}
        links = await self._link_ids(tenant) if stops else []
        changed = await self._organisations.change_organisation(
            tenant, title=title, state=state, now=self._clock(), event=event
        )
        for link in links:
            self._bus.publish(link_topic(link))
        return changed

    async def _link_ids(self, tenant: Tenant) -> list[str]:
        return [link.id async for link in walk(lambda page: self._links.links(tenant, page))]
