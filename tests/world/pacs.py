"""A destination.

It answers associations with the real acceptor, keeps what it got before it says so, and tells the
arrivals.

What it kept survives its death. Its mood is how it behaves just now; the chaos changes that.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from swallowtail.dicom import uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import Command, response_to
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import AssociateRequested, ReleaseRequested
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.net import Connection, serve
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import RejectResult, RejectSource
from swallowtail.sansio.machine import CLOSED
from tests.world.loop import WorldLoop
from tests.world.machines import Machine
from tests.world.network import Host, Socket

if TYPE_CHECKING:
    from tests.world.arrivals import Arrivals

PACS_PORT: Final = 11112
SUCCESS: Final = 0x0000
REFUSALS: Final = (0xC000, 0xA900, 0x0110)
"""What it answers about an instance; the others that it may answer are about itself."""
ABORT: Final = bytes.fromhex("070000000004")  # PS3.8 9.3.8
ANYTHING: Final = AcceptorPolicy(sop_classes=frozenset({uids.VERIFICATION}), any_storage=True)
_LIMITS: Final = Limits(idle=3600.0, window=3600.0)


@dataclass(slots=True)
class Mood:
    """How a destination behaves just now."""

    before: float = 0.0
    """Seconds between the last byte of an instance and its being kept."""
    after: float = 0.0
    """Seconds between its being kept and the answer."""
    status: int = SUCCESS
    """What it answers; it keeps what it answers with success or a warning."""
    rejects: bool = False
    aborts: bool = False
    """At the command of an instance."""
    mute: bool = False
    """It keeps and does not answer."""
    deaf: bool = False
    """It reads nothing."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One C-STORE as the destination saw it."""

    destination: str
    socket: Socket
    free_at: float
    """Since when its association had nothing else to do: the request was sent after that."""
    began: float
    """When the request was read."""
    sop_instance: str
    transfer_syntax: str
    data: bytearray = field(default_factory=bytearray)
    kept_at: float | None = None
    status: int | None = None
    """What was answered."""
    heard_at: float | None = None
    """When Link read the answer."""

    def __str__(self) -> str:
        return f"{self.destination} {self.sop_instance} begun at {self.began:.3f}"

    @property
    def source(self) -> str:
        """The machine that sends it: Link's, or its twin's."""
        return self.socket.peer.host.name

    def responses(self, now: float) -> None:
        """Link has read the answer, which is none any more when Link had aborted before."""
        if not self.aborted:
            self.heard_at = now

    @property
    def aborted(self) -> bool:
        """Whether Link has aborted the association, which it may not have left yet."""
        return self.socket.peer.last_words.startswith(ABORT)

    @property
    def failed(self) -> bool:
        """Whether it was answered with a failure."""
        return self.status is not None and not keeps(self.status)

    def is_unanswered(self, patience: float) -> bool:
        """Return whether the association ended before Link heard the answer, and not by Link's own
        choice.

        Link may abort one that is over at the other end or cut off, and one on which the
        destination has neither taken nor answered anything for `patience` seconds.
        """
        link = self.socket.peer
        if self.aborted and not link.last_wrote_in_vain:
            return self.heard_at is None and link.last_wrote_at >= self.free_at + patience
        ends = (self.socket, link)
        over = (
            self.aborted
            or link.is_hopeless
            or any(end.session_ended or end.is_closing() for end in ends)
        )
        return self.heard_at is None and over


def keeps(status: int) -> bool:
    """Say whether a destination that answers so has the instance.

    Success or a warning (PS3.4 B.2.3).
    """
    return status == SUCCESS or status >> 12 == 0xB


class Pacs(Machine):
    """A PACS in the hospital."""

    def __init__(
        self, name: str, host: Host, loop: WorldLoop, seed: object, arrivals: "Arrivals"
    ) -> None:
        super().__init__(name, host, loop, seed)
        self.policy = ANYTHING
        """Which presentation contexts it accepts."""
        self._arrivals = arrivals
        self._mood = Mood()
        self._changed = asyncio.Event()

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._loop.trace(f"{self.name}: {mood}")
        self._mood = mood
        self._changed.set()
        self._changed = asyncio.Event()

    def program(self) -> Coroutine[Any, Any, None]:
        return self._serve()

    async def _serve(self) -> None:
        await serve(
            self.host,
            self.host.address,
            PACS_PORT,
            self._meet,
            limits=_LIMITS,
            buffers=BufferPool(),
        )

    async def _meet(self, connection: Connection) -> None:
        socket, free_at = self.host.socket_of(connection.peer), self._loop.time()
        if socket is None:
            return
        attempt: Attempt | None = None
        asked: CommandReceived | None = None
        while (event := await self._next(connection)) is not CLOSED:
            match event:
                case AssociateRequested() if self.mood.rejects:
                    connection.reject(RejectResult.TRANSIENT, RejectSource.PROVIDER_PRESENTATION, 1)
                case AssociateRequested(request):
                    connection.accept(answer(request, self.policy))
                case CommandReceived(context, command) if not command.has_data_set:
                    connection.send(context.id, response_to(command, SUCCESS))
                case CommandReceived(context, command):
                    asked, now = event, self._loop.time()
                    attempt = Attempt(
                        self.name,
                        socket,
                        free_at,
                        now,
                        command.sop_instance,
                        context.transfer_syntax,
                    )
                    self._arrivals.begun(attempt)
                    if self.mood.aborts:
                        connection.abort()
                case DataSetFragment(data, last) if attempt is not None and asked is not None:
                    attempt.data += data
                    if last:
                        await self._keep(connection, attempt, asked.context.id, asked.command)
                        free_at = self._loop.time()
                case ReleaseRequested():
                    connection.release()

    async def _next(self, connection: Connection) -> Any:
        while self.mood.deaf:
            await self._changed.wait()
        return await connection.next_event()

    async def _keep(
        self, connection: Connection, attempt: Attempt, context: int, asked: Command
    ) -> None:
        mood = self.mood
        await asyncio.sleep(mood.before)
        if keeps(mood.status):
            self._arrivals.kept(attempt)
        await asyncio.sleep(mood.after)
        if mood.mute or connection.closed:
            return
        attempt.status = mood.status
        connection.send(context, response_to(asked, mood.status))
        attempt.socket.when_read(attempt.responses)
        self._arrivals.answered(attempt)
