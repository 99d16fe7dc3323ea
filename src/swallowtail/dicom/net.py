"""The asyncio shell of DICOM: associations on a network, for both roles.

The only module here that touches the runtime.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import Command
from swallowtail.dicom.dimse import Dimse, DimseEvent
from swallowtail.dicom.indications import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    ConnectionLost,
    DeadlinePassed,
)
from swallowtail.dicom.negotiation import Agreement
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateAC, AssociateRQ, RejectResult, RejectSource
from swallowtail.dicom.violations import AbortReason, AbortSource
from swallowtail.runtime.network import Listener, Network
from swallowtail.runtime.pump import Pump
from swallowtail.runtime.quickack import quick_ack
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import RemoteProtocolError
from swallowtail.sansio.machine import Bytes, Signal

log = structlog.get_logger()

DEFAULT_LIMITS: Final = Limits()
SHARED_BUFFERS: Final = BufferPool()

Ending = Aborted | ConnectionLost | DeadlinePassed
NotAssociated = AssociateRejected | Aborted | ConnectionLost | DeadlinePassed


class Connection:
    """A TCP connection with one association on it. One task awaits `next_event`; any may send."""

    def __init__(self, dimse: Dimse, pump: Pump[DimseEvent]) -> None:
        self._dimse = dimse
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        address = pump.transport_info("peername")
        self.ending: Ending | None = None
        """What ended the association other than a release, once `next_event` has given it.

        None: nothing did, or our `abort`.
        """
        self.peer: tuple[str, int] = (
            (str(address[0]), int(address[1])) if isinstance(address, tuple) else ("", 0)
        )

    @property
    def read_at(self) -> float:
        """Return when bytes were last read from the peer.

        What was read then may still wait for `next_event`.
        """
        return self._pump.read_at

    @property
    def stalled(self) -> bool:
        """Return whether the connection was cut because the peer read nothing."""
        return self._pump.stalled

    @property
    def agreement(self) -> Agreement | None:
        """The agreed presentation contexts, None before there is an association."""
        return self._dimse.agreement

    @property
    def closed(self) -> bool:
        """Return whether the association is over; events may still wait."""
        return self._dimse.closed

    async def next_event(self) -> DimseEvent | Literal[Signal.CLOSED]:
        """Return the next event or CLOSED.

        ViolationError when the peer broke the protocol (it was sent an A-ABORT).

        A fragment's view is valid until the next call. While nobody calls, the socket is not read.
        """
        event = await self._pump.next_event()
        if isinstance(event, Ending):
            self.ending = event
        return Signal.CLOSED if isinstance(event, Signal) else event

    def accept(self, answer: AssociateAC) -> Agreement:
        """Respond to AssociateRequested with an acceptance (see `negotiation.answer`)."""
        agreement = self._dimse.accept(answer, self._loop.time())
        self._pump.flush()
        return agreement

    def reject(self, result: RejectResult, source: RejectSource, reason: int) -> None:
        """Respond to AssociateRequested with a rejection.

        The reasons are in `pdu.REJECT_REASONS`.
        """
        self._dimse.reject(result, source, reason, self._loop.time())
        self._pump.flush()

    def new_message_id(self) -> int:
        """Return the next id for a request of ours."""
        return self._dimse.new_message_id()

    def send(self, context_id: int, command: Command) -> None:
        """Send a request or a response.

        When it announces a data set, `send_data` must follow until `last`.
        """
        self._dimse.send(context_id, command, self._loop.time())
        self._pump.flush()

    def send_data(self, data: Bytes, *, last: bool) -> None:
        """Send the next bytes of the data set, 64 KiB or so at a time, and `drain` after each."""
        self._dimse.send_data(data, self._loop.time(), last=last)
        self._pump.flush()

    async def drain(self) -> None:
        """Wait until the peer takes more; ConnectionResetError when it no longer exists.

        The deadline is the caller's.
        """
        await self._pump.drain()

    def release(self) -> None:
        """Ask for the release (Released follows), or agree to ReleaseRequested (CLOSED follows)."""
        self._dimse.release(self._loop.time())
        self._pump.flush()

    def abort(
        self,
        source: AbortSource = AbortSource.SERVICE_USER,
        reason: AbortReason = AbortReason.NOT_SPECIFIED,
    ) -> None:
        """End the association with an A-ABORT, or the connection if there is no association.

        Does nothing when it has ended.
        """
        if self._dimse.associated:
            self._dimse.abort(self._loop.time(), source, reason)
            self._pump.flush()
        elif not self._dimse.closed:
            self._pump.abort()
            self._dimse.withdraw()

    async def close(self) -> None:
        """Abort what is still open and wait until the transport no longer exists, 2 s at most."""
        self.abort()
        await self._pump.wait_closed()


class AssociationListener:
    """A listening port whose associations run in tasks of their own."""

    def __init__(
        self,
        on_connection: Callable[[Connection], Awaitable[None]],
        limits: Limits,
        buffers: BufferPool,
    ) -> None:
        self.limits = limits
        """For the connections to come; may change while the port is open."""
        self._on_connection = on_connection
        self._buffers = buffers
        self._tasks = Tasks("dicom")
        self._connections: dict[Pump[DimseEvent], Connection] = {}
        self._listener: Listener | None = None

    def __len__(self) -> int:
        """Return how many transports are open."""
        return len(self._connections)

    @property
    def address(self) -> tuple[str, int]:
        """Return the address that it listens on."""
        if self._listener is None:
            raise RuntimeError("the listener is not open")
        return self._listener.address

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen; OSError with the reason when that is not possible."""
        self._listener = await network.listen(self._accept, host, port)

    async def close(self) -> None:
        """Stop accepting; associations live on."""
        if self._listener is not None:
            await self._listener.close()

    async def shutdown(self) -> None:
        """Stop accepting, abort every association.

        Wait until all transports no longer exist, 2 s at most.
        """
        await self.close()
        await self._tasks.close()
        for connection in list(self._connections.values()):
            await connection.close()

    def _accept(self) -> Pump[DimseEvent]:
        now = asyncio.get_running_loop().time()
        dimse = Dimse(self.limits, self._buffers, now)
        dimse.accepted_transport(now)

        def begin(pump: Pump[DimseEvent]) -> None:
            connection = self._connections[pump] = Connection(dimse, pump)
            self._tasks.spawn(self._serve(connection), name="association")

        def end(pump: Pump[DimseEvent]) -> None:
            self._connections.pop(pump, None)

        return Pump(
            dimse, after_read=quick_ack, on_connected=begin, on_lost=end, stall=self.limits.stall
        )

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._on_connection(connection)
        except RemoteProtocolError as error:
            log.info(
                "association aborted",
                peer=connection.peer[0],
                reason=str(error),
            )
        finally:
            connection.abort()


async def serve(
    network: Network,
    host: str,
    port: int,
    on_connection: Callable[[Connection], Awaitable[None]],
    *,
    limits: Limits = DEFAULT_LIMITS,
    buffers: BufferPool = SHARED_BUFFERS,
) -> AssociationListener:
    """Listen for associations.

    `on_connection` runs as a task from the open transport on, and what it leaves open is aborted.

    A connection that comes and goes without a word (a port probe) gives `on_connection` nothing but
    CLOSED. Caps on associations are the caller's: count in `on_connection`, and reject, or `abort`
    at once.
    """
    listener = AssociationListener(on_connection, limits, buffers)
    await listener.open(network, host, port)
    return listener


async def associate(
    network: Network,
    host: str,
    port: int,
    request: AssociateRQ,
    *,
    limits: Limits = DEFAULT_LIMITS,
    buffers: BufferPool = SHARED_BUFFERS,
) -> Connection | NotAssociated:
    """Open an association as the requestor, or state why there is none.

    OSError, TimeoutError included, when nothing listens; ViolationError when what listens does not
    use DICOM.

    The caller ends it with `release` and the events that follow, and in any case with `close`.
    """
    loop = asyncio.get_running_loop()
    dimse = Dimse(limits, buffers, loop.time())
    dimse.associate(request, loop.time())

    def factory() -> Pump[DimseEvent]:
        dimse.connected(loop.time())
        return Pump(dimse, after_read=quick_ack, stall=limits.stall)

    async with asyncio.timeout(limits.connect):
        _, pump = await network.connect(factory, host, port)
    connection = Connection(dimse, pump)
    try:
        event = await connection.next_event()
    except BaseException:
        connection.abort()
        raise
    if isinstance(event, AssociateAccepted):
        return connection
    await connection.close()
    return event if isinstance(event, NotAssociated) else ConnectionLost()
