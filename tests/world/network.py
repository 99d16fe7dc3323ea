"""A simulated network.

Hosts, connections with latency, bandwidth and windows, and everything that goes wrong with them.

Asyncio transports are handed to asyncio protocols, as `swallowtail.runtime.network.Network`
promises: the shells under test are the shells that ship. A direction of a connection is a queue of
what travels (bytes, FIN, RST), each with its time of arrival; a direction that is *cut off* keeps
what travels and delivers it after the repair, as TCP's retransmission does, or never.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.world.loop import Process, WorldLoop, current_process

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

TAIL: Final = 10
READ_SIZE: Final = 256 * 1024
"""What one read takes at most, as in asyncio's own transport."""
CONNECT_TIMEOUT: Final = 127.0
"""Linux gives up a connection attempt that nobody answers after six SYN retries."""

FIN: Final = "FIN"
RST: Final = "RST"


@dataclass(slots=True)
class Road:
    """How the network treats a direction between two hosts."""

    latency: float = 0.001
    bandwidth: float = 100e6
    """Bytes a second."""
    window: int = 256 * 1024
    """Bytes that the kernels at both ends and the way between them hold."""
    largest_chunk: int = 64 * 1024
    """A segment is cut at a random length up to this."""


@dataclass(slots=True)
class _Direction:
    """One direction of one connection.

    What its sender's kernel has taken over and its receiver's has not given away.
    """

    road: Road
    travelling: deque[tuple[float, bytes | str]] = field(default_factory=deque)
    free_at: float = 0.0
    flying: int = 0
    sent: int = 0
    taken: int = 0
    """Bytes that the program at the other end has read."""
    taken_at: float = 0.0
    marks: deque[tuple[int, Callable[[float], None]]] = field(default_factory=deque)
    cut_off: bool = False
    arrival_due: bool = False
    fuse: tuple[int, str] | None = None
    """After so many bytes the connection breaks: `rst` at both ends, or `silent`."""


class Socket(asyncio.Transport):
    """One end of a simulated connection, with the behaviour of asyncio's socket transport."""

    peer: "Socket"

    def __init__(
        self,
        network: "SimulatedNetwork",
        host: "Host",
        process: Process | None,
        address: tuple[str, int],
        road: Road,
    ):
        super().__init__()
        self.host = host
        self.process = process
        self.address = address
        self.outgoing = _Direction(road)
        self._context = process.context.copy() if process is not None else copy_context()
        self._network = network
        self._loop = network.loop
        self._protocol: asyncio.BaseProtocol | None = None
        self._unsent = bytearray()
        self.last_words = b""
        """The last few bytes that the program at this end has written."""
        self.last_wrote_at = 0.0
        self.last_wrote_in_vain = False
        """The connection had ended at the other end, or was cut off, when they were written."""
        self._inbox = bytearray()
        self._low, self._high = 16 * 1024, 64 * 1024
        self._reading = True
        self._read_due = False
        self._paused_writing = False
        self._eof_in = False
        self._eof_told = False
        self._eof_out = False
        self._fin_sent = False
        self._closing = False
        self.session_ended = False
        """The kernel has forgotten this end: what arrives now is answered by RST."""

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to its protocol."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._schedule_read()

    # what a protocol asks of its transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peer.address, "sockname": self.address}.get(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True
            self._schedule_read()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        self._low, self._high = low if low is not None else high // 4, high
        self._pause_or_resume()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof_out:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or self.session_ended or self._dead():
            return
        self._unsent += data
        self.last_words = bytes(data[-TAIL:])
        self.last_wrote_at = self._loop.time()
        self.last_wrote_in_vain = (
            self.is_hopeless or self.peer.session_ended or self.peer.is_closing()
        )
        self._push()
        self._pause_or_resume()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof_out and not self._closing:
            self._eof_out = True
            self._push()

    def close(self) -> None:
        if not self._closing and not self._dead():
            self._closing = True
            self._push()

    def abort(self) -> None:
        if not self._dead():
            self._force_close(None)

    # what the world asks of it

    @property
    def is_hopeless(self) -> bool:
        """Nothing can pass in at least one direction, now or for ever."""
        return self.outgoing.cut_off or self.peer.outgoing.cut_off

    def when_read(self, tell: Callable[[float], None]) -> None:
        """Call `tell` with the time at which the program at the other end has read all that was
        written until now.
        """
        mark = self.outgoing.sent + len(self._unsent)
        if self.outgoing.taken >= mark:
            tell(self.outgoing.taken_at)
        else:
            self.outgoing.marks.append((mark, tell))

    # towards the peer

    def _push(self) -> None:
        """Let the kernel take what its window allows, then FIN when it is due."""
        way = self.outgoing
        while self._unsent and way.flying < way.road.window:
            length = min(
                len(self._unsent),
                way.road.window - way.flying,
                self._network.random.randint(1, way.road.largest_chunk),
            )
            if way.fuse is not None and way.sent + length >= way.fuse[0]:
                length = way.fuse[0] - way.sent
            if length > 0:
                chunk = bytes(self._unsent[:length])
                del self._unsent[:length]
                way.flying += length
                way.sent += length
                self._send(chunk, length)
            if way.fuse is not None and way.sent >= way.fuse[0]:
                self._network.break_connection(self, way.fuse[1])
                return
        if not self._unsent and not self._fin_sent and (self._closing or self._eof_out):
            self._fin_sent = True
            unread = self._closing and bool(
                self._inbox
            )  # Linux: closing with unread bytes resets the connection
            self._send(RST if unread else FIN, 0)
        if self._closing and not self._unsent and not self.session_ended:
            self.session_ended = True
            self._call(self._lost, None)

    def _send(self, item: bytes | str, size: int) -> None:
        way, now = self.outgoing, self._loop.time()
        way.free_at = max(way.free_at, now) + size / way.road.bandwidth
        way.travelling.append(
            (way.free_at + way.road.latency * self._network.random.uniform(0.5, 1.5), item)
        )
        self._schedule_arrival()

    def _schedule_arrival(self, at_least: float = 0.0) -> None:
        way = self.outgoing
        if way.travelling and not way.arrival_due and not way.cut_off:
            way.arrival_due = True
            self._network.later(
                max(at_least, way.travelling[0][0] - self._loop.time()), self._arrive
            )

    def travel_on(self, road: Road) -> None:
        """Go on over another road, with what is on its way."""
        way, now = self.outgoing, self._loop.time()
        way.road = road
        way.free_at = now
        waiting, way.travelling = way.travelling, deque()
        for _, item in waiting:
            way.free_at += (len(item) if isinstance(item, bytes) else 0) / road.bandwidth
            way.travelling.append((way.free_at + road.latency, item))

    def _arrive(self) -> None:
        """The head of what travels has reached the peer's kernel, unless the way is cut off
        meanwhile.
        """
        way = self.outgoing
        way.arrival_due = False
        if way.cut_off:
            return
        item = way.travelling.popleft()[1]
        self._schedule_arrival()
        self.peer._receive(item)

    def repaired(self) -> None:
        """The way works again: what was lost is sent again a little later."""
        if self.outgoing.cut_off:
            self.outgoing.cut_off = False
            self._schedule_arrival(at_least=self._network.random.uniform(0.2, 2.0))

    # from the peer

    def _receive(self, item: bytes | str) -> None:
        if item == RST:
            if not self.session_ended:
                self._loop.trace(f"{self.host.name}:{self.address[1]} is reset")
                self._force_close(
                    ConnectionResetError(104, "Connection reset by peer"), answer=False
                )
        elif self.session_ended:
            if item != FIN:
                self._send(RST, 0)
        elif item == FIN:
            self._eof_in = True
            self._schedule_read()
        else:
            assert isinstance(item, bytes)
            self._inbox += item
            self._schedule_read()

    def _schedule_read(self) -> None:
        if (
            not self._read_due
            and self._reading
            and not self._closing
            and self._protocol is not None
        ):
            self._read_due = True
            self._call(self._read)

    def _read(self) -> None:
        self._read_due = False
        if not self._reading or self._closing or self.session_ended:
            return
        if self._inbox:
            self._deliver()
            self._schedule_read()
        elif self._eof_in and not self._eof_told:
            self._eof_told = True
            if not self._protocol.eof_received():  # type: ignore[union-attr]
                self.close()

    def _deliver(self) -> None:
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            space = memoryview(self._protocol.get_buffer(-1))
            length = min(len(space), len(self._inbox), READ_SIZE)
            space[:length] = self._inbox[:length]
            self._taken(length)
            self._protocol.buffer_updated(length)
        else:
            assert isinstance(self._protocol, asyncio.Protocol)
            data = bytes(self._inbox[:READ_SIZE])
            self._taken(len(data))
            self._protocol.data_received(data)

    def _taken(self, length: int) -> None:
        del self._inbox[:length]
        self._loop.trace(f"{self.host.name}:{self.address[1]} reads {length}")
        way, now = self.peer.outgoing, self._loop.time()
        way.flying -= length
        way.taken += length
        way.taken_at = now
        while way.marks and way.taken >= way.marks[0][0]:
            way.marks.popleft()[1](now)
        self._network.later(self.peer.outgoing.road.latency, self.peer.window_opened)

    def window_opened(self) -> None:
        """The peer has read: the kernel may take more, even after the process has died."""
        if not self.session_ended:
            self._push()
            self._call(self._pause_or_resume)

    def _pause_or_resume(self) -> None:
        if self._protocol is None or self._closing:
            return
        if not self._paused_writing and len(self._unsent) > self._high:
            self._paused_writing = True
            self._protocol.pause_writing()
        elif self._paused_writing and len(self._unsent) <= self._low:
            self._paused_writing = False
            self._protocol.resume_writing()

    # the end

    def _force_close(self, error: Exception | None, *, answer: bool = True) -> None:
        if self.session_ended:
            return
        self._closing = self.session_ended = True
        self._unsent.clear()
        self._inbox.clear()
        if answer and not self._fin_sent:
            self._fin_sent = True
            self._send(RST, 0)
        self._call(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        self._network.drop(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def process_died(self, *, silently: bool) -> None:
        """The kernel closes the sockets of a dead process, with FIN, or RST over unread bytes.

        Without power there is silence.
        """
        self._unsent.clear()
        if not self.session_ended:
            self._closing = self.session_ended = True
            if silently:
                self.outgoing.cut_off = self.peer.outgoing.cut_off = True
                self._network.dead.add(self)
            elif not self._fin_sent:
                self._send(RST if self._inbox else FIN, 0)
        self._network.drop(self)

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        """Run a callback of the protocol as a step of the process that owns this end."""
        self._loop.call_soon(callback, *args, context=self._context.copy())

    def _dead(self) -> bool:
        return self.process is not None and not self.process.alive


class Port:
    """An open listening port of a host."""

    def __init__(
        self, host: "Host", factory: Callable[[], asyncio.BaseProtocol], address: tuple[str, int]
    ) -> None:
        self.factory = factory
        self.address = address
        self.process = current_process()
        self._host = host

    async def close(self) -> None:
        self._host.ports.pop(self.address[1], None)


class Host:
    """A machine on the network; it is the `Network` that the programs on it are given."""

    def __init__(self, network: "SimulatedNetwork", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.ports: dict[int, Port] = {}
        self._network = network
        self._next_port = 40_000

    def _ephemeral(self) -> int:
        self._next_port += 1
        return self._next_port

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Port:
        """Open a port; it disappears with its process."""
        await asyncio.sleep(0)
        port = port or self._ephemeral()
        if port in self.ports:
            raise OSError(
                98,
                f"error while attempting to bind on address ({host!r}, {port}): address already"
                " in use",
            )
        opened = self.ports[port] = Port(self, factory, (host, port))
        return opened

    async def connect(
        self, factory: Callable[[], ProtocolT], host: str, port: int, *, tls: object = None
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect to a port of another host, over whatever lies between."""
        process = current_process()
        there = self._network.hosts[host]
        out, back = self._network.roads(self, there)
        if not await self._handshake(there, out.latency + back.latency):
            raise TimeoutError(110, "Connection timed out")
        out, back = self._network.roads(self, there)  # as they are now
        target = there.ports.get(port)
        if target is None:
            raise ConnectionRefusedError(111, f"Connect call failed ({host!r}, {port})")
        near = Socket(self._network, self, process, (self.address, self._ephemeral()), out)
        far = Socket(self._network, there, target.process, (host, port), back)
        near.peer, far.peer = far, near
        self._network.opened(near, far)
        protocol = factory()
        near.start(protocol)
        self._network.loop.call_soon(_accept, far, target, context=far._context.copy())
        return near, protocol

    async def _handshake(self, there: "Host", round_trip: float) -> bool:
        """Wait for SYN and SYN-ACK.

        A partition swallows them, and they are sent again after 1, 2, 4 … seconds.
        """
        wait, waited = 1.0, 0.0
        while self._network.is_cut_off(self, there) or self._network.is_cut_off(there, self):
            await asyncio.sleep(wait)
            waited, wait = waited + wait, wait * 2
            if waited >= CONNECT_TIMEOUT:
                return False
        await asyncio.sleep(round_trip)
        return True

    def socket_of(self, peer: tuple[str, int]) -> Socket | None:
        """Give this host's end of the connection from `peer`; None when it is gone already."""
        mine = (
            socket
            for socket in self._network.sockets
            if socket.host is self and socket.peer.address == peer
        )
        return next(mine, None)

    def process_died(self, process: Process, *, silently: bool = False) -> None:
        """Take the ports and sockets of a process away."""
        for number in [number for number, port in self.ports.items() if port.process is process]:
            del self.ports[number]
        for socket in [socket for socket in self._network.sockets if socket.process is process]:
            socket.process_died(silently=silently)


def _accept(socket: Socket, port: Port) -> None:
    socket.start(port.factory())


class SimulatedNetwork:
    """All hosts, the roads between them and the connections over these."""

    def __init__(self, loop: WorldLoop, seed: object = 0) -> None:
        self.loop = loop
        self.random = random.Random(f"{seed}/network")
        self.on_opened: Callable[[Socket], None] = lambda _: None
        """Told of each new connection, by the end that opened it."""
        self.hosts: dict[str, Host] = {}
        self.sockets: dict[Socket, None] = {}
        self.dead: set[Socket] = set()
        """Ends whose connection no repair brings back."""
        self._context = copy_context()
        self._cut: set[tuple[str, str]] = set()
        self._roads: dict[tuple[str, str], Road] = {}

    def host(self, name: str, address: str) -> Host:
        """Add a machine to the network."""
        host = self.hosts[address] = Host(self, name, address)
        return host

    def set_road(self, here: Host, there: Host, road: Road) -> None:
        """Say how connections between two hosts fare from now on, in both directions."""
        self._roads[here.name, there.name] = self._roads[there.name, here.name] = road
        for socket in self._ends(here, there):
            socket.travel_on(road)

    def roads(self, here: Host, there: Host) -> tuple[Road, Road]:
        """Give the roads there and back."""
        return self._roads.get((here.name, there.name), Road()), self._roads.get(
            (there.name, here.name), Road()
        )

    def opened(self, near: Socket, far: Socket) -> None:
        """Take a new connection into the books."""
        self.sockets[near] = self.sockets[far] = None
        self.loop.trace(
            f"{near.host.name}:{near.address[1]} connects to {far.host.name}:{far.address[1]}"
        )
        self.on_opened(near)

    def drop(self, socket: Socket) -> None:
        self.sockets.pop(socket, None)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something that belongs to the network and to no process."""
        self.loop.call_later(delay, action, context=self._context.copy())

    # what goes wrong

    def between(self, here: Host, there: Host) -> list[Socket]:
        """Give the ends, at `here`, of all connections to `there`."""
        return [
            socket for socket in self.sockets if socket.host is here and socket.peer.host is there
        ]

    def _ends(self, here: Host, there: Host) -> dict[Socket, None]:
        """Give both ends of every connection between two hosts, also when one of them is closed
        already.
        """
        return {
            end: None
            for socket in [*self.between(here, there), *self.between(there, here)]
            for end in (socket, socket.peer)
        }

    def is_cut_off(self, here: Host, there: Host) -> bool:
        return (here.name, there.name) in self._cut

    def partition(self, here: Host, there: Host, *, one_way: bool = False) -> None:
        """Let nothing pass between two hosts; nobody is told."""
        self.loop.trace(f"partition {here.name} {there.name} {one_way}")
        self._cut.add((here.name, there.name))
        if not one_way:
            self._cut.add((there.name, here.name))
        for socket in self._ends(here, there):
            socket.outgoing.cut_off |= self.is_cut_off(socket.host, socket.peer.host)

    def heal(self, here: Host, there: Host, *, forgotten: bool = False) -> None:
        """Repair the way.

        `forgotten`: a firewall has dropped the connections meanwhile and stays silent about them.
        """
        self.loop.trace(f"heal {here.name} {there.name} {forgotten}")
        ends = self._ends(here, there)
        if forgotten:
            self.dead.update(
                socket for socket in ends if socket.outgoing.cut_off or socket.peer.outgoing.cut_off
            )
        self._cut -= {(here.name, there.name), (there.name, here.name)}
        for socket in ends:
            if socket in self.dead or socket.peer in self.dead:
                socket.outgoing.cut_off = socket.peer.outgoing.cut_off = True
            else:
                socket.repaired()

    def silence(self, socket: Socket) -> None:
        """Let nothing arrive on a connection any more, for ever, and tell nobody."""
        self.loop.trace(f"silence on {socket.host.name}:{socket.address[1]}")
        self.dead.add(socket)
        socket.outgoing.cut_off = socket.peer.outgoing.cut_off = True

    def deliver_late(self, socket: Socket) -> None:
        """Let what a dead process had sent arrive after all: packets that took another way."""
        if socket.outgoing.cut_off:
            self.loop.trace(f"late packets from {socket.host.name}:{socket.address[1]}")
            socket.repaired()

    def break_after(self, socket: Socket, nbytes: int, how: str) -> None:
        """Break a connection when `socket` has sent `nbytes` more: `rst` or `silent`."""
        socket.outgoing.fuse = (socket.outgoing.sent + nbytes, how)

    def defuse(self) -> None:
        """Let no connection break that was to."""
        for socket in self.sockets:
            socket.outgoing.fuse = None

    def break_connection(self, socket: Socket, how: str) -> None:
        """Break a connection now."""
        socket.outgoing.fuse = None
        if how == "silent":
            self.silence(socket)
            return
        self.loop.trace(f"break {socket.host.name}:{socket.address[1]}")
        for end in (socket, socket.peer):
            self.later(end.outgoing.road.latency, lambda end=end: end._receive(RST))  # type: ignore[misc]
