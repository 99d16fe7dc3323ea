"""The dependencies of a Link's session: its credentials and the desired configuration."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from swallowtail.calls.config import ConfigurationRefused
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import ConfigurationVersion, NewAlarm
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.bus import Bus, Subscription
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.tenancy import Link, Tenant
from swallowtail.cloud.model.topics import link_topic


class LinkChanges:
    """Notifications of changes of one Link; one may be lost."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def wait(self, seconds: float) -> None:
        """Wait until the Link has changed, or for so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._subscription.wait()
        except TimeoutError:
            return


class SessionWatch:
    """The credentials and desired configuration of a session, and the Link's response to it."""

    def __init__(
        self,
        links: Links,
        configuration: Configurations,
        alarms: Alarms,
        bus: Bus,
        *,
        clock: Clock,
    ) -> None:
        self._links, self._configuration, self._alarms = links, configuration, alarms
        self._bus, self._clock = bus, clock

    @contextmanager
    def changes(self, link: str) -> Iterator[LinkChanges]:
        """Subscribe to the changes of a Link."""
        subscription = self._bus.subscribe(link_topic(link))
        try:
            yield LinkChanges(subscription)
        finally:
            subscription.close()

    async def link(self, tenant: Tenant, link: str) -> Link | None:
        """Return a Link; None: it was deleted."""
        try:
            return await self._links.link(tenant, link)
        except NotFoundError:
            return None

    async def desired(self, tenant: Tenant, link: str) -> ConfigurationVersion | None:
        """Return the desired configuration; None before the first."""
        return await self._configuration.desired(tenant, link)

    async def record_applied(self, tenant: Tenant, link: str) -> None:
        """Record that the Link has applied its configuration."""
        condition = Condition.CONFIGURATION_REFUSED
        await self._alarms.clear(tenant, condition, link, now=self._clock())

    async def record_refused(
        self, tenant: Tenant, link: str, refused: ConfigurationRefused
    ) -> None:
        """Record that the Link has refused its configuration."""
        cause = "no reason was given"
        if refused.problems:
            cause = f"{refused.problems[0].field}: {refused.problems[0].message}"
        alarm = NewAlarm(
            condition=Condition.CONFIGURATION_REFUSED,
            subject=link,
            severity=Severity.MAJOR,
            detail=(
                f"version {refused.version} is refused, the Link runs what it ran before; {cause}"
            ),
        )
        await self._alarms.raise_alarm(tenant, alarm, now=self._clock())
