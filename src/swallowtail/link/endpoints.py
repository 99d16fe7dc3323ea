"""The ports that Link serves.

The planner's decisions carried out, each port kept open by a task of its own that tries again.

What is meant to run changes at once and as a whole, before anything is awaited; so two
configurations in quick succession cannot mix, and no lock is needed. Opening, retrying, closing and
draining follow in each endpoint's task.
"""

import asyncio
import errno
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from swallowtail.calls.config import Configuration, DicomListener, EndpointState, Problem
from swallowtail.link.endpoint_plan import (
    DRAIN_LIMIT,
    Close,
    Keep,
    Open,
    Refusal,
    Socket,
    Update,
    overlap,
    plan,
    retry_delay,
    socket_of,
)
from swallowtail.link.policy import Policy, judge_listener
from swallowtail.runtime.network import Network
from swallowtail.runtime.tasks import Tasks

REMEDIES: Final = {
    errno.EADDRINUSE: "another program holds the port; stop it, or choose another port",
    errno.EACCES: (
        "ports below 1024 need a right that this user lacks; grant it, or choose another port"
    ),
    errno.EADDRNOTAVAIL: "this machine does not have that address; correct the listener's address",
}


class Entity(Protocol):
    """What answers on a port."""

    @property
    def associations(self) -> int:
        """How many run now."""

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen; raises OSError with the reason when that is not possible."""

    async def close(self) -> None:
        """Stop to listen; associations live on."""

    def update(self, listener: DicomListener) -> None:
        """Take these settings for the associations to come."""

    async def drain(self, limit: float, *, stopping: bool) -> None:
        """Return when all associations have ended.

        After `limit` seconds they are aborted, when `stopping` after their message.
        """


class Endpoint:
    """One port: opened by its task, kept, and closed when told to."""

    def __init__(
        self,
        listener: DicomListener,
        entity: Entity,
        wall: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.listener = listener
        self.entity = entity
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()
        self._stop = asyncio.Event()
        self._wall = wall
        self._changed = changed
        self._state, self._detail, self._since = "opening", "", wall()

    @property
    def state(self) -> EndpointState:
        """How it is, for the Cloud."""
        return EndpointState(
            name=self.listener.name,
            state=self._state,
            detail=self._detail,
            since=self._since,
            associations=self.entity.associations,
        )

    def update(self, listener: DicomListener) -> None:
        """Go on with other settings."""
        self.listener = listener
        self.entity.update(listener)

    def stop(self) -> None:
        """Close the port, then let the associations end."""
        self._stop.set()

    async def run(self, network: Network, after: Iterable["Endpoint"]) -> None:
        """Live from opening to the end of the last association.

        `after` hold the same port and close first.
        """
        try:
            await self._live(network, after)
        except asyncio.CancelledError:
            await self.entity.drain(0.0, stopping=True)
            raise

    async def _live(self, network: Network, after: Iterable["Endpoint"]) -> None:
        try:
            for other in after:
                await other.closed.wait()
            if await self._open(network):
                self._become("listening")
                await self._stop.wait()
                await self.entity.close()
        finally:
            self.settled.set()
            self.closed.set()
        self._become("closing")
        await self.entity.drain(DRAIN_LIMIT, stopping=False)

    async def _open(self, network: Network) -> bool:
        failures = 0
        while not self._stop.is_set():
            try:
                await self.entity.open(network, *socket_of(self.listener))
            except OSError as error:
                failures += 1
                self._become("failed", _explain(self.listener, error))
            else:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_delay(failures)):
                    await self._stop.wait()
        return False

    def _become(self, state: str, detail: str = "") -> None:
        if (state, detail) != (self._state, self._detail):
            self._state, self._detail, self._since = state, detail, self._wall()
            self._changed()
        self.settled.set()


def _explain(listener: DicomListener, error: OSError) -> str:
    remedy = REMEDIES.get(error.errno or 0, "see the system's log")
    return (
        f"cannot listen on {listener.address} port {listener.port}: {error.strerror or error};"
        f" {remedy}"
    )


class Endpoints:
    """Every port that Link serves, as the running configuration says."""

    def __init__(
        self,
        network: Network,
        policy: Policy,
        tasks: Tasks,
        entity: Callable[[DicomListener], Entity],
        *,
        wall: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.running: dict[Socket, Endpoint] = {}
        self._closing: set[Endpoint] = set()
        self._lives: set[asyncio.Task[None]] = set()
        self._network = network
        self._judge = partial(judge_listener, policy)
        self._tasks = tasks
        self._entity = entity
        self._wall = wall
        self._changed = changed

    @property
    def states(self) -> tuple[EndpointState, ...]:
        """How each port is, those that are closing included."""
        return tuple(endpoint.state for endpoint in (*self.running.values(), *self._closing))

    async def apply(self, desired: Configuration, adopt: Callable[[], None]) -> tuple[Problem, ...]:
        """Run `desired`, or change nothing and say why.

        Returns when each new port is open or has failed for the first time.

        `adopt` is called between the decision and the first change: what is judged with the
        configuration changes with the ports.
        """
        decided = plan(
            {socket: endpoint.listener for socket, endpoint in self.running.items()},
            desired,
            self._judge,
        )
        if isinstance(decided, Refusal):
            return decided.problems
        adopt()
        opening: list[Endpoint] = []
        closing: list[Endpoint] = []
        for action in decided.actions:
            match action:
                case Close(socket):
                    closing.append(self._retire(socket))
                case Update(listener):
                    self.running[socket_of(listener)].update(listener)
                case Open(listener):
                    opening.append(self._start(listener))
                case Keep():
                    pass
        self._changed()
        for endpoint in opening:
            await endpoint.settled.wait()
        for endpoint in closing:
            endpoint.stop()
        return ()

    async def drain(self, limit: float) -> None:
        """Close every port, let running messages end, and return when the last association has
        ended, `limit` seconds at most.
        """
        for socket in list(self.running):
            self._retire(socket)
        for endpoint in list(self._closing):
            endpoint.stop()
            self._tasks.spawn(
                endpoint.entity.drain(limit, stopping=True),
                name=f"stopping {endpoint.listener.name}",
            )
        if self._lives:
            await asyncio.wait(self._lives)

    def _start(self, listener: DicomListener) -> Endpoint:
        socket = socket_of(listener)
        before = [
            endpoint for endpoint in self._closing if overlap(socket, socket_of(endpoint.listener))
        ]
        for endpoint in before:
            endpoint.stop()  # it occupies the place: close first, open afterwards
        endpoint = Endpoint(listener, self._entity(listener), self._wall, self._changed)
        self.running[socket] = endpoint
        life = self._tasks.spawn(self._live(endpoint, before), name=f"listener {listener.name}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        return endpoint

    def _retire(self, socket: Socket) -> Endpoint:
        endpoint = self.running.pop(socket)
        self._closing.add(endpoint)
        return endpoint

    async def _live(self, endpoint: Endpoint, before: Iterable[Endpoint]) -> None:
        try:
            await endpoint.run(self._network, before)
        finally:
            self._closing.discard(endpoint)
            self._changed()
