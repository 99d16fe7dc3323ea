"""Use cases of Links: create, change, delete, and the security code."""

from collections.abc import Sequence
from typing import NamedTuple

from swallowtail.calls.diagnostics import LinkStatus
from swallowtail.cloud.link_administration.session_state import SessionState, session_state
from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.credentials import KeyedHash, mint_code
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import FIRST_CODE_WINDOW, REBIND_WINDOW, Link, SecurityCode
from swallowtail.cloud.model.topics import link_topic
from swallowtail.cloud.model.visibility import visible_facility, visible_link


class ListedLink(NamedTuple):
    """A Link and the state of its session."""

    link: Link
    session: SessionState


class LinkWithCode(NamedTuple):
    """A Link, the state of its session, and its new security code, which is kept as a hash only."""

    link: Link
    session: SessionState
    code: str


class LinkAdministration:
    """Lists and changes the Links of the facilities that the caller may see."""

    def __init__(
        self,
        links: Links,
        organisations: Organisations,
        configuration: Configurations,
        sessions: Sessions,
        *,
        bus: Bus,
        hashes: KeyedHash,
        clock: Clock,
        random: Randomness,
    ) -> None:
        self._links, self._organisations, self._configuration = links, organisations, configuration
        self._sessions, self._bus, self._hashes = sessions, bus, hashes
        self._clock, self._random = clock, random

    async def links(
        self, caller: Caller, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[ListedLink]:
        """Return Links by name."""
        found = await self._links.links(
            caller.tenant, page, name=name, facilities=caller.principal.facilities
        )
        return Page(items=await self._listed(caller, found.items), next=found.next)

    async def link(self, caller: Caller, link: str) -> ListedLink:
        """Return one Link."""
        (listed,) = await self._listed(caller, [await visible_link(self._links, caller, link)])
        return listed

    async def create(self, caller: Caller, *, name: str, facility: str) -> LinkWithCode:
        """Create a Link; raises ConflictError when the name is taken."""
        found = await visible_facility(self._organisations, caller, facility)
        now = self._clock()
        text, code = self._new_code(FIRST_CODE_WINDOW)
        link = Link(
            id=new_id(self._random),
            facility=found.id,
            name=name,
            code_until=code.until,
            created=now,
        )
        event = caller.event(EventAction.CREATE, "link.create", ("link", link.id))
        await self._links.add(caller.tenant, link, code, now=now, event=event)
        return LinkWithCode(link, session_state(self._sessions, caller.tenant, link.id, None), text)

    async def change(
        self, caller: Caller, link: str, *, name: str | None, facility: str | None
    ) -> ListedLink:
        """Change name or facility; None: unchanged.

        Names are unique in the organisation, so that a name that is taken would disclose a Link
        of another facility: a caller who is limited changes none.
        """
        found = await visible_link(self._links, caller, link)
        if name not in {None, found.name}:
            caller.check_unlimited()
        target = found.facility
        if facility is not None:
            target = (await visible_facility(self._organisations, caller, facility)).id
        await self._links.change(
            caller.tenant,
            link,
            name=found.name if name is None else name,
            facility=target,
            now=self._clock(),
            event=caller.event(EventAction.UPDATE, "link.change", ("link", link)),
        )
        self._bus.publish(link_topic(link))
        return await self.link(caller, link)

    async def delete(self, caller: Caller, link: str) -> None:
        """Delete a Link with its code and configuration; stored instances are kept."""
        await visible_link(self._links, caller, link)
        event = caller.event(EventAction.DELETE, "link.remove", ("link", link))
        await self._links.remove(caller.tenant, link, now=self._clock(), event=event)
        self._bus.publish(link_topic(link))

    async def rotate_code(self, caller: Caller, link: str) -> LinkWithCode:
        """Replace the security code; the bound device key stays bound."""
        await visible_link(self._links, caller, link)
        text, code = self._new_code(FIRST_CODE_WINDOW)
        event = caller.event(EventAction.UPDATE, "link.rotate", ("link", link))
        now = self._clock()
        changed = await self._links.rotate(caller.tenant, link, code, now=now, event=event)
        return self._with_code(caller, changed, text)

    async def rebind(self, caller: Caller, link: str) -> LinkWithCode:
        """Replace security code and device key: another machine becomes this Link."""
        await visible_link(self._links, caller, link)
        text, code = self._new_code(REBIND_WINDOW)
        event = caller.event(EventAction.UPDATE, "link.rebind", ("link", link))
        now = self._clock()
        changed = await self._links.rebind(caller.tenant, link, code, now=now, event=event)
        return self._with_code(caller, changed, text)

    async def revoke_code(self, caller: Caller, link: str) -> ListedLink:
        """Revoke the security code; the session closes."""
        await visible_link(self._links, caller, link)
        event = caller.event(EventAction.UPDATE, "link.revoke", ("link", link))
        await self._links.revoke(caller.tenant, link, now=self._clock(), event=event)
        self._bus.publish(link_topic(link))
        return await self.link(caller, link)

    async def ping(self, caller: Caller, link: str, size: int) -> float:
        """Send bytes to the Link and back; returns the seconds.

        Raises LinkOfflineError where the Link is offline.
        """
        await visible_link(self._links, caller, link)
        return await self._sessions.ping(caller.tenant, link, size)

    async def status(self, caller: Caller, link: str) -> LinkStatus:
        """Request the status of the Link; raises LinkOfflineError where it is offline."""
        await visible_link(self._links, caller, link)
        return await self._sessions.status(caller.tenant, link)

    async def _listed(self, caller: Caller, links: Sequence[Link]) -> tuple[ListedLink, ...]:
        tenant = caller.tenant
        reported = await self._configuration.running(tenant, [one.id for one in links])
        return tuple(
            ListedLink(one, session_state(self._sessions, tenant, one.id, reported.get(one.id)))
            for one in links
        )

    def _new_code(self, window: float) -> tuple[str, SecurityCode]:
        code = mint_code(self._random)
        return code, SecurityCode(digest=self._hashes.of_code(code), until=self._clock() + window)

    def _with_code(self, caller: Caller, link: Link, code: str) -> LinkWithCode:
        self._bus.publish(link_topic(link.id))
        return LinkWithCode(link, session_state(self._sessions, caller.tenant, link.id, None), code)
