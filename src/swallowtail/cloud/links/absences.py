"""Links that have no session: noted where a Cloud that died could not, and alarmed when they stay away (Condition.LINK_AWAY)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import structlog

from swallowtail.cloud.model.errors import StorageUnavailableError
from swallowtail.cloud.model.operations import Condition, NewAlarm, Running, Severity
from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest
from swallowtail.cloud.model.ports import Alarms, Clock, Configuration, Links, People
from swallowtail.cloud.model.presence import Sessions
from swallowtail.cloud.model.tenancy import CodeState, Link, Tenant

log = structlog.get_logger()

LOOK_EVERY: Final = 15.0
AWAY_AFTER: Final = 90.0
"""Seconds without a session until a person should see it: a Link that restarts is back long before."""


class Absences:
    """Looks at every Link of a Cloud that is one process; `run` until cancelled."""

    def __init__(
        self, *, people: People, links: Links, configuration: Configuration, alarms: Alarms, sessions: Sessions, clock: Clock
    ) -> None:
        self._people, self._links, self._configuration = people, links, configuration
        self._alarms, self._sessions, self._clock = alarms, sessions, clock
        self._started = clock()
        self._away: dict[tuple[Tenant, str], bool] = {}
        """What was last told the alarms, so that they hear of changes alone."""

    async def run(self) -> None:
        """Look now and again."""
        while True:
            try:
                await self.look()
            except StorageUnavailableError:
                log.warning("absent Links could not be looked for")
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Look at every Link once."""
        seen: set[tuple[Tenant, str]] = set()
        async for tenant in self._tenants():
            async for link, running in self._links_of(tenant):
                seen.add((tenant, link.id))
                await self._judge(tenant, link, running)
        self._away = {key: away for key, away in self._away.items() if key in seen}

    async def _judge(self, tenant: Tenant, link: Link, running: Running | None) -> None:
        now, here = self._clock(), self._sessions.presence(tenant, link.id) is not None
        since = running.since if running is not None else link.created
        if running is not None and running.connected and not here:
            since = max(running.seen, self._started)
            away = msgspec.structs.replace(running, connected=False, since=now)
            await self._configuration.note_running(tenant, away)
        expected = link.code_state is CodeState.BOUND
        absent = expected and not here and now - since >= AWAY_AFTER
        if absent != self._away.get((tenant, link.id), None) and (absent or here or not expected):
            await self._tell(tenant, link, absent=absent, now=now)
            self._away[tenant, link.id] = absent

    async def _tell(self, tenant: Tenant, link: Link, *, absent: bool, now: float) -> None:
        if absent:
            log.warning("a Link stays away", link=link.id, tenant=tenant)
            detail = f"the Link {link.name} has no session; look at its host, its network and its log"
            alarm = NewAlarm(condition=Condition.LINK_AWAY, subject=link.id, severity=Severity.MAJOR, detail=detail)
            await self._alarms.raise_alarm(tenant, alarm, now=now)
        else:
            await self._alarms.clear(tenant, Condition.LINK_AWAY, link.id, now=now)

    async def _tenants(self) -> AsyncIterator[Tenant]:
        cursor: str | None = None
        while True:
            page = await self._people.organisations(PageRequest(MAX_PAGE, cursor))
            for organisation in page.items:
                yield organisation.id
            if (cursor := page.next) is None:
                return

    async def _links_of(self, tenant: Tenant) -> AsyncIterator[tuple[Link, Running | None]]:
        cursor: str | None = None
        while True:
            page = await self._links.links(tenant, PageRequest(MAX_PAGE, cursor))
            running = await self._configuration.running(tenant, [link.id for link in page.items])
            for link in page.items:
                yield link, running.get(link.id)
            if (cursor := page.next) is None:
                return
