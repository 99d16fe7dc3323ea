"""Links that have no session.

Noted where a Cloud that ended could not, and alarmed when they stay offline (Condition.LINK_AWAY).
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import structlog

from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import Condition, NewAlarm, Running, Severity
from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest, walk
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import CodeState, Link, Tenant

log = structlog.get_logger()

OFFLINE_AFTER: Final = 90.0
"""Seconds without a session until a person should see it.

A Link that restarts is back long before.
"""


class Absences:
    """The periodic check for offline Links of a Cloud that is one process."""

    def __init__(
        self,
        *,
        organisations: Organisations,
        links: Links,
        configuration: Configurations,
        alarms: Alarms,
        sessions: Sessions,
        clock: Clock,
    ) -> None:
        self._organisations, self._links, self._configuration = organisations, links, configuration
        self._alarms, self._sessions, self._clock = alarms, sessions, clock
        self._started = clock()
        self._offline: set[tuple[Tenant, str]] = set()
        """What was last reported the log."""

    async def look(self) -> None:
        """Look at every Link once."""
        offline: set[tuple[Tenant, str]] = set()
        async for organisation in walk(self._organisations.organisations):
            tenant, now = organisation.id, self._clock()
            absent = [
                link
                async for link in self._links_of(tenant)
                if await self._is_offline(tenant, *link, now)
            ]
            for link, _ in absent:
                offline.add((tenant, link.id))
                if (tenant, link.id) not in self._offline:
                    log.warning("Link disconnected", link=link.id, tenant=tenant)
            await self._alarms.keep(
                tenant, Condition.LINK_OFFLINE, [_alarm(link) for link, _ in absent], now=now
            )
        self._offline = offline

    async def _is_offline(
        self, tenant: Tenant, link: Link, running: Running | None, now: float
    ) -> bool:
        here = self._sessions.session(tenant, link.id) is not None
        since = running.since if running is not None else link.created
        if running is not None and running.connected and not here:
            since = max(running.seen, self._started)
            offline = msgspec.structs.replace(running, connected=False, since=now)
            await self._configuration.note_running(tenant, offline)
        return link.code_state is CodeState.BOUND and not here and now - since >= OFFLINE_AFTER

    async def _links_of(self, tenant: Tenant) -> AsyncIterator[tuple[Link, Running | None]]:
        cursor: str | None = None
        while True:
            page = await self._links.links(tenant, PageRequest(MAX_PAGE, cursor))
            running = await self._configuration.running(tenant, [link.id for link in page.items])
            for link in page.items:
                yield link, running.get(link.id)
            if (cursor := page.next) is None:
                return


def _alarm(link: Link) -> NewAlarm:
    detail = f"the Link {link.name} has no session; look at its host, its network and its log"
    return NewAlarm(
        condition=Condition.LINK_OFFLINE, subject=link.id, severity=Severity.MAJOR, detail=detail
    )
