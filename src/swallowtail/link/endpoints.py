"""The ports on which Link listens, whatever their protocol.

The plan is carried out; each port is kept open by a task of its own, which retries.

The desired state changes at once and as a whole, before anything is awaited; so two configurations
in quick succession cannot mix, and no lock is needed. Opening, retrying, closing and draining
follow in the task of each endpoint.
"""

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from swallowtail.calls.config import Configuration, EndpointState
from swallowtail.calls.document import ListenerSettings, Problem
from swallowtail.calls.responses import ResponseTable
from swallowtail.link.endpoint_plan import (
    DRAIN_LIMIT,
    ClosePort,
    KeepPort,
    OpenPort,
    RefusedPlan,
    Socket,
    UpdatePort,
    overlap,
    plan,
    retry_delay,
    socket_of,
)
from swallowtail.link.policy import Policy, judge_listener
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import Network
from swallowtail.runtime.tasks import Tasks

REMEDIES: Final = {
    errno.EADDRINUSE: "another program holds the port; stop it, or choose another port",
    errno.EACCES: (
        "ports below 1024 need a right that this user lacks; grant it, or choose another port"
    ),
    errno.EADDRNOTAVAIL: "this machine does not have that address; correct the listener's address",
}


class ListenerServer(Protocol):
    """The server of one listener: one class for each protocol."""

    @property
    def connections(self) -> int:
        """Return how many connections (associations, with DICOM) are served now."""

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen; raises OSError with the reason when that is not possible."""

    async def close(self) -> None:
        """Stop listening; connections continue."""

    def update(self, listener: Any) -> None:
        """Apply new settings, a struct of the protocol of this server."""

    async def drain(self, limit: float, *, stopping: bool) -> None:
        """Wait until all connections have ended.

        After `limit` seconds they are aborted, when `stopping` after their message.
        """


@dataclass(frozen=True, slots=True)
class ListenerProtocol:
    """A protocol that Link listens on."""

    server: Callable[[Any, LinkState], ListenerServer]
    """Creates what serves one listener, from its settings (`calls.config.LISTENERS`)."""
    responses: ResponseTable
    """The responses to senders, for the conformance statement and the tests."""


class Endpoint:
    """One port, opened by its task and kept open until it is stopped."""

    def __init__(
        self,
        listener: ListenerSettings,
        server: ListenerServer,
        wall: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.listener = listener
        self.server = server
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()
        self._stop = asyncio.Event()
        self._wall = wall
        self._changed = changed
        self._state, self._detail, self._since = "opening", "", wall()

    @property
    def state(self) -> EndpointState:
        """Return the state that is reported to the Cloud."""
        return EndpointState(
            name=self.listener.name,
            state=self._state,
            detail=self._detail,
            since=self._since,
            connections=self.server.connections,
        )

    def update(self, listener: ListenerSettings) -> None:
        """Apply new settings."""
        self.listener = listener
        self.server.update(listener)

    def stop(self) -> None:
        """Close the port, then let its connections end."""
        self._stop.set()

    async def run(self, network: Network, after: Iterable["Endpoint"]) -> None:
        """Serve the port from its opening to the end of its last connection.

        `after` use the same port and close first.
        """
        try:
            await self._serve(network, after)
        except asyncio.CancelledError:
            await self.server.drain(0.0, stopping=True)
            raise

    async def _serve(self, network: Network, after: Iterable["Endpoint"]) -> None:
        try:
            for other in after:
                await other.closed.wait()
            if await self._open(network):
                self._set_state("listening")
                await self._stop.wait()
                await self.server.close()
        finally:
            self.settled.set()
            self.closed.set()
        self._set_state("closing")
        await self.server.drain(DRAIN_LIMIT, stopping=False)

    async def _open(self, network: Network) -> bool:
        failures = 0
        while not self._stop.is_set():
            try:
                await self.server.open(network, *socket_of(self.listener))
            except OSError as error:
                failures += 1
                self._set_state("failed", _explain(self.listener, error))
            else:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_delay(failures)):
                    await self._stop.wait()
        return False

    def _set_state(self, state: str, detail: str = "") -> None:
        if (state, detail) != (self._state, self._detail):
            self._state, self._detail, self._since = state, detail, self._wall()
            self._changed()
        self.settled.set()


def _explain(listener: ListenerSettings, error: OSError) -> str:
    remedy = REMEDIES.get(error.errno or 0, "see the system's log")
    return (
        f"cannot listen on {listener.address} port {listener.port}: {error.strerror or error};"
        f" {remedy}"
    )


class Endpoints:
    """Every port on which Link listens, according to the running configuration."""

    def __init__(
        self,
        network: Network,
        policy: Policy,
        tasks: Tasks,
        protocols: Mapping[str, ListenerProtocol],
        state: LinkState,
        *,
        changed: Callable[[], None],
    ) -> None:
        self.running: dict[Socket, Endpoint] = {}
        self._closing: set[Endpoint] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._network = network
        self._judge = partial(judge_listener, policy)
        self._tasks = tasks
        self._protocols = protocols
        self._state = state
        self._changed = changed

    @property
    def states(self) -> tuple[EndpointState, ...]:
        """Return the state of each port, those that are closing included."""
        return tuple(endpoint.state for endpoint in (*self.running.values(), *self._closing))

    async def apply(self, desired: Configuration, adopt: Callable[[], None]) -> tuple[Problem, ...]:
        """Run `desired`; or change nothing, and return the reasons.

        Returns when each new port is open or has failed for the first time. `adopt` is called
        between the plan and the first change, so that everything that depends on the configuration
        changes together with the ports.
        """
        decided = plan(
            {socket: endpoint.listener for socket, endpoint in self.running.items()},
            desired,
            self._judge,
            self._protocols,
        )
        if isinstance(decided, RefusedPlan):
            return decided.problems
        adopt()
        opening: list[Endpoint] = []
        closing: list[Endpoint] = []
        for action in decided.actions:
            match action:
                case ClosePort(socket):
                    closing.append(self._retire(socket))
                case UpdatePort(listener):
                    self.running[socket_of(listener)].update(listener)
                case OpenPort(listener):
                    opening.append(self._start(listener))
                case KeepPort():
                    pass
        self._changed()
        for endpoint in opening:
            await endpoint.settled.wait()
        for endpoint in closing:
            endpoint.stop()
        return ()

    async def drain(self, limit: float) -> None:
        """Close every port, let running messages end, and wait for the end of every connection.

        Returns after `limit` seconds at most.
        """
        for socket in list(self.running):
            self._retire(socket)
        for endpoint in list(self._closing):
            endpoint.stop()
            self._tasks.spawn(
                endpoint.server.drain(limit, stopping=True),
                name=f"stopping {endpoint.listener.name}",
            )
        if self._serving:
            await asyncio.wait(self._serving)

    def _start(self, listener: ListenerSettings) -> Endpoint:
        socket = socket_of(listener)
        before = [
            endpoint for endpoint in self._closing if overlap(socket, socket_of(endpoint.listener))
        ]
        for endpoint in before:
            endpoint.stop()  # it occupies the place: close first, open afterwards
        endpoint = Endpoint(listener, self._server(listener), self._state.wall, self._changed)
        self.running[socket] = endpoint
        task = self._tasks.spawn(self._serve(endpoint, before), name=f"listener {listener.name}")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return endpoint

    def _server(self, listener: ListenerSettings) -> ListenerServer:
        return self._protocols[listener.protocol].server(listener, self._state)

    def _retire(self, socket: Socket) -> Endpoint:
        endpoint = self.running.pop(socket)
        self._closing.add(endpoint)
        return endpoint

    async def _serve(self, endpoint: Endpoint, before: Iterable[Endpoint]) -> None:
        try:
            await endpoint.run(self._network, before)
        finally:
            self._closing.discard(endpoint)
            self._changed()
