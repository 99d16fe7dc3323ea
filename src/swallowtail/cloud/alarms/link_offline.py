"""The periodic check of LINK_OFFLINE: Links that have no session.

The end of a session is recorded here where a Cloud that crashed could not record it; an alarm is
raised when the Link stays offline.
"""

from collections.abc import AsyncIterator, Collection
from typing import ClassVar, Final

import msgspec
import structlog

from swallowtail.cloud.alarms.check import AlarmCheck, CheckSources
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm, Running
from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest
from swallowtail.cloud.model.tenancy import CodeState, Link, Tenant

log = structlog.get_logger()

OFFLINE_AFTER: Final = 90.0
"""Seconds without a session until the alarm; a Link that restarts needs far less."""


class LinkOffline(AlarmCheck):
    """Links without a session; the state of the last check decides what is logged."""

    condition: ClassVar[Condition] = Condition.LINK_OFFLINE

    def __init__(self, sources: CheckSources) -> None:
        super().__init__(sources)
        self._started = sources.clock()
        self._offline: set[tuple[Tenant, str]] = set()
        self._found: set[tuple[Tenant, str]] = set()

    async def begin(self) -> None:
        self._found = set()

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        offline = [
            link
            async for link, running in self._links_of(tenant)
            if await self._is_offline(tenant, link, running, now)
        ]
        for link in offline:
            self._found.add((tenant, link.id))
            if (tenant, link.id) not in self._offline:
                log.warning("Link disconnected", link=link.id, tenant=tenant)
        return [_alarm(link) for link in offline]

    async def end(self) -> None:
        self._offline = self._found

    async def _is_offline(
        self, tenant: Tenant, link: Link, running: Running | None, now: float
    ) -> bool:
        session = self.sources.sessions.session(tenant, link.id)
        since = running.since if running is not None else link.created
        if running is not None and running.connected and session is None:
            since = max(running.seen, self._started)
            offline = msgspec.structs.replace(running, connected=False, since=now)
            await self.sources.configuration.note_running(tenant, offline)
        return (
            link.code_state is CodeState.BOUND and session is None and now - since >= OFFLINE_AFTER
        )

    async def _links_of(self, tenant: Tenant) -> AsyncIterator[tuple[Link, Running | None]]:
        cursor: str | None = None
        while True:
            page = await self.sources.links.links(tenant, PageRequest(MAX_PAGE, cursor))
            running = await self.sources.configuration.running(
                tenant, [link.id for link in page.items]
            )
            for link in page.items:
                yield link, running.get(link.id)
            if (cursor := page.next) is None:
                return


def _alarm(link: Link) -> NewAlarm:
    detail = f"the Link {link.name} has no session; check its host, its network and its log"
    return NewAlarm(
        condition=Condition.LINK_OFFLINE, subject=link.id, severity=Severity.MAJOR, detail=detail
    )
