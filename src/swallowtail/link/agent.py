"""Link as a whole: the composition root.

Network, clock and random source are arguments, so that a simulation runs the same Link.

`run` returns after `stop`, which drains: no new connections, running messages end, goodbye. It
raises what a part of Link failed with, which is a bug.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from swallowtail.calls.config import listener_capability
from swallowtail.calls.deliver import DELIVER
from swallowtail.calls.diagnostics import CHECK
from swallowtail.calls.net import ServedCall, call_capability
from swallowtail.link.cloud_address import Connect
from swallowtail.link.control.calls import CALL_LIMIT, ControlCalls, LinkFacts
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.endpoints import Endpoints, ListenerProtocol
from swallowtail.link.policy import Policy, Target, numeric
from swallowtail.link.protocols import PROTOCOLS
from swallowtail.link.scu.connecting import Reach
from swallowtail.link.scu.destinations import Destinations
from swallowtail.link.state import LinkState
from swallowtail.link.uplink import Identity, Uplink
from swallowtail.runtime.network import Network, Resolve, resolve
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.reconnect import ReconnectSchedule

log = structlog.get_logger()

STOP_LIMIT: Final = 10.0
"""Seconds that running messages get when Link stops."""


@dataclass(frozen=True, slots=True)
class World:
    """The environment of a Link."""

    network: Network
    connect: Connect
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    random: Callable[[], float] = random.random
    wall: Callable[[], float] = time.time
    resolve: Resolve = resolve


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a Link has without its Cloud."""

    code: str
    key: DeviceKey
    policy: Policy
    release: str
    platform: str = ""
    host: str = ""


class Agent:
    """One running Link."""

    def __init__(
        self,
        world: World,
        facts: Facts,
        protocols: Mapping[str, ListenerProtocol] = PROTOCOLS,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks = Tasks("link", on_failure=self._failed)
        self._bug: BaseException | None = None
        self.state = LinkState(
            session=lambda: self.uplink.session, random=world.random_bytes, wall=world.wall
        )
        self.endpoints = Endpoints(
            world.network,
            facts.policy,
            self._tasks,
            protocols,
            self.state,
            changed=self._changed,
        )
        about = LinkFacts(facts.release, facts.platform, facts.host, started=loop.time())
        reach = Reach(world.network, world.resolve, facts.policy, self._own_ports, self._tasks)
        self.destinations = Destinations(reach, self.state, self._tasks, self._changed)
        self.calls = ControlCalls(
            self.endpoints,
            self.state,
            groups=(self.destinations,),
            calls={
                DELIVER: ServedCall(self.destinations.deliver),
                CHECK: ServedCall(self.destinations.check, CALL_LIMIT),
            },
            policy=facts.policy,
            about=about,
            now=loop.time,
        )
        identity = Identity(
            facts.release,
            (
                *(listener_capability(name) for name in sorted(protocols)),
                *(call_capability(name) for name in sorted(self.calls.calls)),
            ),
            facts.code,
            facts.key,
        )
        self.uplink = Uplink(
            world.connect,
            identity,
            self.calls,
            self.state.reports,
            ReconnectSchedule(world.random, loop.time()),
        )

    def stop(self) -> None:
        """Stop: accept nothing new, let running messages end, then send a goodbye."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`; raises what a part of Link failed with, which is a bug."""
        async with self._tasks:
            self._tasks.spawn(self.uplink.run(), name="uplink")
            await self._stop.wait()
            log.info("stop requested", state="draining")
            async with asyncio.TaskGroup() as draining:
                draining.create_task(self.endpoints.drain(STOP_LIMIT))
                draining.create_task(self.destinations.drain(STOP_LIMIT))
            await self.uplink.drain()
        if self._bug is not None:
            raise self._bug

    def _changed(self) -> None:
        self.calls.report_endpoints()

    def _own_ports(self) -> Iterator[Target]:
        for address, port in self.endpoints.running:
            yield numeric(address), port

    def _failed(self, _: str, error: BaseException) -> None:
        """Handle a bug in a listener or the uplink.

        Link drains and exits; its supervisor starts it again.
        """
        self._bug = error
        self.stop()
