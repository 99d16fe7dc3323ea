"""A modality: it associates, sends, waits, and tells the oracle honestly what it heard.

It is our own SCU on the simulated network.

Where real modalities differ, it draws from the seed: how many instances go over one association,
how fast it writes, whether it releases or just goes away. Its own patience is longer than what Link
promises, so that a late answer is seen as late.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from swallowtail.dicom import uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import Command, CommandField, echo_request, store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import Aborted, AssociateRejected, DeadlinePassed
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection, associate
from swallowtail.dicom.pace import Limits
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import RemoteProtocolError
from tests.world.loop import WorldLoop
from tests.world.network import Host, ProtocolT, Socket
from tests.world.oracle import Instance, Oracle, Outcome, Rule, Sending

PATIENCE: Final = 60.0
"""Seconds without any sign of the peer after which a modality gives up."""


@dataclass
class Habits:
    """How a modality behaves, as drawn from a seed."""

    per_association: int = 5
    chunk: int = 32 * 1024
    pause: float = 0.0
    """Seconds between two chunks: what a slow peer does."""
    releases: bool = True


class _Wiretap:
    """The modality's network, which remembers the socket that it gave out."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.socket: Socket | None = None

    async def connect(
        self, factory: Callable[[], ProtocolT], host: str, port: int, *, tls: Any = None
    ) -> tuple[Any, ProtocolT]:
        transport, protocol = await self._host.connect(factory, host, port)
        assert isinstance(transport, Socket)
        self.socket = transport
        return transport, protocol

    async def listen(self, *_: object) -> Any:
        raise NotImplementedError("a modality that sends does not listen")


class Modality:
    """One sending device."""

    def __init__(
        self,
        name: str,
        host: Host,
        link: tuple[str, int],
        oracle: Oracle,
        loop: WorldLoop,
        *,
        called: str,
    ) -> None:
        self.name = name
        self.host = host
        self.habits = Habits()
        self.on_echo: Callable[[Sending], None] = lambda _: None
        """Told of each C-ECHO that was answered with success."""
        self._network = _Wiretap(host)
        self._link = link
        self._called = called
        self._oracle = oracle
        self._loop = loop
        self._tasks = Tasks(name)

    @property
    def socket(self) -> Socket | None:
        """The present connection, or the last one."""
        return self._network.socket

    async def store(self, instances: Iterable[Instance]) -> list[Instance]:
        """Try to store these over one association; gives those that were not acknowledged."""
        left = list(instances)
        connection = await self._associate(
            [(instance.sop_class, (instance.transfer_syntax,)) for instance in left]
        )
        if connection is None:
            return left
        failed: list[Instance] = []
        try:
            while left:
                if not await self._store_one(connection, left[0]):
                    failed.append(left[0])
                del left[0]
                if connection.closed:
                    break
            await self._part(connection)
        finally:
            await connection.close()
        return failed + left

    async def echo(self) -> bool:
        """Say whether a C-ECHO is answered with success."""
        connection = await self._associate([(uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,))])
        if connection is None:
            return False
        try:
            context = (
                connection.agreement.context_for(uids.VERIFICATION)
                if connection.agreement is not None
                else None
            )
            if context is None:
                return False
            sending = self._begin("echo")
            message_id = connection.new_message_id()
            connection.send(context.id, echo_request(message_id, uids.VERIFICATION))
            await self._hear(connection, sending, message_id, CommandField.C_ECHO_RSP)
            if sending.succeeded:
                self.on_echo(sending)
            await self._part(connection)
            return sending.succeeded
        finally:
            await connection.close()

    # an association

    def _begin(self, what: str, instance: Instance | None = None) -> Sending:
        sending = Sending(self.name, what, self._loop.time(), instance)
        self._oracle.sends(sending)
        return sending

    def _end(self, sending: Sending, outcome: Outcome, status: int | None = None) -> None:
        socket = self.socket
        if socket is not None:
            sending.progress_at = max(sending.progress_at, socket.outgoing.taken_at)
            if socket.is_hopeless:
                self._oracle.excuse([sending], "the way to Link is cut off")
        self._loop.trace(f"{sending}: {outcome} {status}")
        self._oracle.responses(sending, outcome, self._loop.time(), status=status)

    async def _associate(self, wanted: list[tuple[str, tuple[str, ...]]]) -> Connection | None:
        sending = self._begin("associate")
        request = propose(self._called, self.name, dict.fromkeys(wanted))
        self._network.socket = None
        limits = Limits(answer=PATIENCE, idle=10 * PATIENCE, window=10 * PATIENCE)
        try:
            answer = await associate(
                self._network, *self._link, request, limits=limits, buffers=BufferPool()
            )
        except OSError:
            self._end(sending, Outcome.UNREACHABLE)
            return None
        if isinstance(answer, Connection):
            self._end(sending, Outcome.ANSWERED)
            return answer
        self._end(sending, _outcome_of(answer))
        return None

    async def _part(self, connection: Connection) -> None:
        """End the association as this modality does."""
        if connection.closed or not self.habits.releases:
            return
        connection.release()
        try:
            async with asyncio.timeout(PATIENCE):
                while not connection.closed:
                    await connection.next_event()
        except TimeoutError:
            return

    # one message

    async def _store_one(self, connection: Connection, instance: Instance) -> bool:
        context = (
            connection.agreement.context_for(instance.sop_class, instance.transfer_syntax)
            if connection.agreement
            else None
        )
        if context is None:
            return False
        sending = self._begin("store", instance)
        message_id = connection.new_message_id()
        connection.send(
            context.id, store_request(message_id, instance.sop_class, instance.sop_instance)
        )
        writing = self._tasks.spawn(self._write(connection, instance.data, sending), name="write")
        try:
            await self._hear(connection, sending, message_id, CommandField.C_STORE_RSP)
        finally:
            writing.cancel()
        return sending.succeeded

    async def _write(self, connection: Connection, data: bytes, sending: Sending) -> None:
        size = self.habits.chunk
        try:
            for at in range(0, len(data), size):
                connection.send_data(data[at : at + size], last=at + size >= len(data))
                await connection.drain()
                if self.habits.pause:
                    await asyncio.sleep(self.habits.pause)
        except ConnectionResetError:
            return  # `_hear` hears of it too
        assert self.socket is not None
        self.socket.when_read(lambda now: setattr(sending, "read_at", now))

    async def _hear(
        self, connection: Connection, sending: Sending, message_id: int, expected: CommandField
    ) -> None:
        """Wait for the answer, for the end of the connection, or until nothing has moved for
        PATIENCE.
        """
        listening = self._tasks.spawn(connection.next_event(), name="listen")
        while not listening.done():
            await asyncio.wait({listening}, timeout=1.0)
            moved = max(
                sending.began, self.socket.outgoing.taken_at if self.socket is not None else 0.0
            )
            if self._loop.time() - moved > PATIENCE and not listening.done():
                listening.cancel()
                self._end(sending, Outcome.GAVE_UP)
                connection.abort()
                return
        try:
            event = listening.result()
        except RemoteProtocolError as error:
            self._oracle.find(Rule.ERROR, f"{sending}: Link broke the protocol: {error}")
            self._end(sending, Outcome.LOST)
            return
        if isinstance(event, CommandReceived):
            self._judge(connection, sending, event.command, message_id, expected)
        else:
            self._end(sending, _outcome_of(event))

    def _judge(
        self,
        connection: Connection,
        sending: Sending,
        command: Command,
        message_id: int,
        expected: CommandField,
    ) -> None:
        if command.field != expected or command.message_id != message_id:
            self._oracle.find(
                Rule.WRONG_MESSAGE,
                f"{sending}: message {message_id} was answered by {command.field:04X} to"
                f" {command.message_id}",
            )
            connection.abort()
            self._end(sending, Outcome.LOST)
        else:
            self._end(sending, Outcome.ANSWERED, command.status)


def _outcome_of(event: object) -> Outcome:
    match event:
        case AssociateRejected():
            return Outcome.REJECTED
        case Aborted():
            return Outcome.ABORTED
        case DeadlinePassed():
            return Outcome.GAVE_UP
    return Outcome.LOST


def draw_habits(random_source: random.Random) -> Habits:
    """Draw how a modality behaves."""
    return Habits(
        per_association=random_source.choice((1, 2, 5, 10)),
        chunk=random_source.choice((500, 4_000, 32_000, 65_000)),
        pause=random_source.choice((0.0, 0.0, 0.0, 0.005, 0.05)),
        releases=random_source.random() < 0.8,
    )
