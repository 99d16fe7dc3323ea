"""Deliveries of the Links that are connected here.

While a session is open, what is due at its destinations is sent. A crash loses nothing: what was
being sent has a lease, which expires. A failing destination affects its own connections only.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Final, Generic

import structlog

from swallowtail.cloud.dispatch.alarms import DestinationAlarm
from swallowtail.cloud.dispatch.attempt import D, RouteSession
from swallowtail.cloud.dispatch.connection import DestinationConnection, DispatchContext
from swallowtail.cloud.dispatch.link_route import LinkPath, LinkRoute, LinkSenders
from swallowtail.cloud.dispatch.payloads.instance_sender import InstanceSender
from swallowtail.cloud.model.delivery import INSTANCE, Due, Target
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.deliveries import Deliveries
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.ports.links import Configurations
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.transcoding import Transcoder
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()

IDLE: Final = 15.0
"""A wake-up may be lost, so it looks by itself this often."""
RETRY: Final = 2.0
"""Seconds between checks after a failure of the storage, or when nothing due could start."""
_random = secrets.SystemRandom()


def topic(link: str) -> str:
    """Return the topic that wakes the deliveries of a Link (`model.ports.Bus`)."""
    return f"deliveries/{link}"


class Dispatch:
    """The deliveries of one node's sessions."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        instances: Instances,
        blobs: Blobs,
        configuration: Configurations,
        alarms: Alarms,
        bus: Bus,
        clock: Clock,
        transcoder: Transcoder | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._deliveries, self._configuration = deliveries, configuration
        self._bus, self._clock, self._random = bus, clock, random
        self._link_senders: LinkSenders = {
            INSTANCE: lambda path: InstanceSender(path, instances, blobs, transcoder)
        }
        self._alarm = DestinationAlarm(alarms, clock=clock)

    async def serve_link(self, path: LinkPath) -> None:
        """Send what is due through a Link until its session ends, or until cancelled."""
        await self.serve(LinkRoute(path, self._configuration, self._link_senders))

    async def serve(self, route: RouteSession[D]) -> None:
        """Send what is due over a route until its session ends, or until cancelled."""
        context = DispatchContext(route, self._deliveries, self._alarm, self._clock, self._random)
        async with Tasks(f"deliveries {route.link}") as tasks:
            await _Served(context, self._bus, tasks).run()


class _Served(Generic[D]):
    """The deliveries of one session."""

    def __init__(self, context: DispatchContext[D], bus: Bus, tasks: Tasks) -> None:
        self._context, self._bus, self._tasks = context, bus, tasks
        self._topic = topic(context.route.link)
        self._running: dict[tuple[str, int], DestinationConnection[D]] = {}
        self._version = 0
        self._destinations: Mapping[str, D] = {}

    async def run(self) -> None:
        """Look whenever there may be something to do."""
        subscription = self._bus.subscribe(self._topic)
        try:
            while not self._context.route.session_ended:
                pause = await self._look()
                try:
                    async with asyncio.timeout(pause):
                        await subscription.wait()
                except TimeoutError:
                    continue
        finally:
            subscription.close()

    async def _look(self) -> float:
        """Start what is due; gives how long nothing will be."""
        route = self._context.route
        try:
            due = await self._deliveries_due()
            await self._configure()
        except StorageUnavailableError:
            log.warning("deliveries deferred", link=route.link)
            return RETRY
        now = self._context.clock()
        for one in due:
            if one.at <= now:
                self._start(one.target)
        later = [one.at - now for one in due if one.at > now]
        busy_or_stuck = RETRY if len(later) < len(due) else IDLE
        return max(0.01, min([IDLE, busy_or_stuck, *later]))

    async def _deliveries_due(self) -> tuple[Due, ...]:
        return await self._context.deliveries.due(
            self._context.route.tenant, self._context.route.link
        )

    async def _configure(self) -> None:
        """Update the destinations; connections of one that has changed end."""
        before = self._destinations
        self._version, self._destinations = await self._context.route.destinations()
        if self._destinations is before:
            return
        for (name, _), connection in self._running.items():
            if self._destinations.get(name) != before.get(name):
                connection.retire()

    def _start(self, target: Target) -> None:
        """Start every idle connection of a destination; there is none if it is not configured."""
        destination = self._destinations.get(target.destination)
        for number in range(destination.connections if destination else 0):
            if destination is not None and (target.destination, number) not in self._running:
                connection = DestinationConnection(
                    self._context, target, destination, self._version, number
                )
                self._running[target.destination, number] = connection
                self._tasks.spawn(
                    self._work(connection, target, number), name=f"{target.destination}/{number}"
                )

    async def _work(
        self, connection: DestinationConnection[D], target: Target, number: int
    ) -> None:
        done = 0
        try:
            done = await connection.run()
        except StorageUnavailableError:
            log.warning(
                "destination deferred",
                link=target.link,
                destination=target.destination,
            )
        finally:
            del self._running[target.destination, number]
        if done:
            self._bus.publish(self._topic)
