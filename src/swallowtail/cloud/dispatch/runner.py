"""Deliveries of the Links that are connected here.

While a session lives, what is due at its destinations is sent.

A kill loses nothing: what was under way has a lease, which lapses. One destination's trouble stays
in its own connections.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from swallowtail.calls.config import Destination, InvalidConfigurationError, parse
from swallowtail.cloud.dispatch.alarms import DestinationAlarm
from swallowtail.cloud.dispatch.attempt import Path, Sender
from swallowtail.cloud.dispatch.connection import Connection, Tools
from swallowtail.cloud.model.delivery import Due, Target
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
"""The pause after a failure of the storage, and between two looks that found nothing to do where
something seemed due.
"""
_random = secrets.SystemRandom()


def topic(link: str) -> str:
    """Give the topic that wakes the deliveries of a Link (`model.ports.Bus`)."""
    return f"deliveries/{link}"


@dataclass(frozen=True, slots=True)
class _Configured:
    version: int = 0
    destinations: Mapping[str, Destination] | None = None


class Dispatch:
    """Serves the deliveries of one node's sessions."""

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
        dice: Callable[[], float] = _random.random,
    ) -> None:
        self._deliveries, self._instances, self._blobs, self._configuration = (
            deliveries,
            instances,
            blobs,
            configuration,
        )
        self._bus, self._clock, self._dice, self._transcoder = bus, clock, dice, transcoder
        self._alarm = DestinationAlarm(alarms, clock=clock)

    async def serve(self, path: Path) -> None:
        """Send what is due over this session until it ends, or until cancelled."""
        sender = Sender(path, self._instances, self._blobs, self._transcoder)
        tools = Tools(path, sender, self._deliveries, self._alarm, self._clock, self._dice)
        async with Tasks(f"deliveries {path.link}") as tasks:
            await _Served(tools, self._configuration, self._bus, tasks).run()


class _Served:
    """The deliveries of one session."""

    def __init__(self, tools: Tools, configuration: Configurations, bus: Bus, tasks: Tasks) -> None:
        self._tools, self._configuration, self._tasks = tools, configuration, tasks
        self._bus = bus
        self._topic = topic(tools.path.link)
        self._running: dict[tuple[str, int], Connection] = {}
        self._configured = _Configured()

    async def run(self) -> None:
        """Look whenever there may be something to do."""
        subscription = self._bus.subscribe(self._topic)
        try:
            while not self._tools.path.gone:
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
        path = self._tools.path
        try:
            due = await self._deliveries_due()
            await self._configure()
        except StorageUnavailableError:
            log.warning("deliveries wait for the storage", link=path.link)
            return RETRY
        now = self._tools.clock()
        for one in due:
            if one.at <= now:
                self._start(one.target)
        later = [one.at - now for one in due if one.at > now]
        busy_or_stuck = RETRY if len(later) < len(due) else IDLE
        return max(0.01, min([IDLE, busy_or_stuck, *later]))

    async def _deliveries_due(self) -> tuple[Due, ...]:
        return await self._tools.deliveries.due(self._tools.path.tenant, self._tools.path.link)

    async def _configure(self) -> None:
        """Keep the destinations of the desired configuration at hand."""
        path = self._tools.path
        desired = await self._configuration.desired(path.tenant, path.link)
        if desired is None or desired.version == self._configured.version:
            return
        try:
            named = {one.name: one for one in parse(desired.document).destinations}
        except InvalidConfigurationError:
            named = {}
        before, self._configured = (
            self._configured.destinations or {},
            _Configured(desired.version, named),
        )
        for (name, _), connection in self._running.items():
            if named.get(name) != before.get(name):
                connection.retire()

    def _start(self, target: Target) -> None:
        """Let every idle connection of a destination look for work.

        One that is no longer configured has none.
        """
        destination = (self._configured.destinations or {}).get(target.destination)
        for number in range(destination.connections if destination else 0):
            if destination is not None and (target.destination, number) not in self._running:
                connection = Connection(
                    self._tools, target, destination, self._configured.version, number
                )
                self._running[target.destination, number] = connection
                self._tasks.spawn(
                    self._work(connection, target, number), name=f"{target.destination}/{number}"
                )

    async def _work(self, connection: Connection, target: Target, number: int) -> None:
        done = 0
        try:
            done = await connection.run()
        except StorageUnavailableError:
            log.warning(
                "a destination waits for the storage",
                link=target.link,
                destination=target.destination,
            )
        finally:
            del self._running[target.destination, number]
        if done:
            self._bus.publish(self._topic)
