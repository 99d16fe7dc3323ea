"""A PACS on the stage's network that follows a test's script, and the Cloud's side of `deliver`."""

import asyncio
import random
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from swallowtail.calls.codec import encode
from swallowtail.calls.config import Configuration, Destination
from swallowtail.calls.deliver import (
    DELIVER,
    About,
    DeliverAnswer,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
    read_deliver_answer,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.dicom import uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import Command, response_to
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import AssociateRequested, ReleaseRequested
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.net import AssociationListener, Connection, serve
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import (
    AssociateRQ,
    AsyncOperationsWindow,
    ContextResult,
    RejectResult,
    RejectSource,
)
from swallowtail.sansio.machine import CLOSED
from swallowtail.wire.channel import Message
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason
from tests.unit.link.stage import CONFIGURATION, Stage

PACS = "10.0.0.20"
CT = "1.2.840.10008.5.1.4.1.1.2"
US = "1.2.840.10008.5.1.4.1.1.6.1"
EXPLICIT, IMPLICIT, JPEG = (
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.4.70",
)
BIG = random.Random(3).randbytes(3_000_001)
DESTINATION = Destination(name="pacs1", host=PACS, port=104, ae_title="PACS")


def to(*destinations: Destination) -> Configuration:
    """Give the stage's configuration with these destinations."""
    return msgspec.structs.replace(CONFIGURATION, destinations=destinations or (DESTINATION,))


POLICY = AcceptorPolicy(sop_classes=frozenset({uids.VERIFICATION}), any_storage=True)
Respond = Callable[[Connection, CommandReceived], Awaitable[None]]


@dataclass
class Archive:
    """Accepts what its policy takes and keeps what is whole.

    Every part may be replaced by something worse.
    """

    stage: Stage
    policy: AcceptorPolicy = POLICY
    status: Callable[[Command], int] = lambda command: 0
    pause: float = 0.0
    release_pause: float = 0.0
    window: int = 1
    refuses: ContextResult | None = None
    """The result for every presentation context."""
    reject: tuple[RejectResult, RejectSource, int] | None = None
    behave: Callable[["Archive", Connection], Awaitable[None]] | None = None
    respond: Respond | None = None
    requests: list[AssociateRQ] = field(default_factory=list)
    stored: list[tuple[str, bytes]] = field(default_factory=list)
    partial: int = 0
    """Data sets of which the last fragment has not come."""
    commands: list[Command] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    listener: AssociationListener | None = None

    async def open(self, address: str = PACS, port: int = 104) -> "Archive":
        """Start to listen."""
        host = self.stage.network.hosts.get(address) or self.stage.network.host(address, address)
        self.listener = await serve(
            host, address, port, self._serve, limits=Limits(idle=10_000), buffers=BufferPool()
        )
        return self

    async def _serve(self, connection: Connection) -> None:
        if self.behave is not None:
            await self.behave(self, connection)
            return
        await self.converse(connection)

    async def converse(self, connection: Connection) -> None:
        """Be a PACS until the association ends."""
        received: CommandReceived | None = None
        data = bytearray()
        while (event := await connection.next_event()) is not CLOSED:
            match event:
                case AssociateRequested(request):
                    if not self.meet(connection, request):
                        return
                case CommandReceived():
                    received = event
                    self.commands.append(event.command)
                    self.arrived.set()
                    self.partial += event.command.has_data_set
                    if not event.command.has_data_set:
                        connection.send(
                            event.context.id, response_to(event.command, self.status(event.command))
                        )
                case DataSetFragment(view, last):
                    data += view
                    if last and received is not None:
                        self.partial -= 1
                        self.stored.append((received.command.sop_instance, bytes(data)))
                        data.clear()
                        await self._respond(connection, received)
                case ReleaseRequested():
                    if self.release_pause:
                        await asyncio.sleep(self.release_pause)
                    self.ends.append("cut off" if connection.closed else "released")
                    connection.release()
                    return
                case _:
                    self.ends.append(type(event).__name__)
                    return

    def meet(self, connection: Connection, request: AssociateRQ) -> bool:
        """Accept or reject."""
        self.requests.append(request)
        if self.reject is not None:
            connection.reject(*self.reject)
            return False
        accepted = answer(request, self.policy)
        if self.refuses is not None:
            refused = tuple(replace(context, result=self.refuses) for context in accepted.contexts)
            accepted = replace(accepted, contexts=refused)
        if self.window != 1:
            accepted = replace(
                accepted, user=replace(accepted.user, window=AsyncOperationsWindow(self.window, 1))
            )
        connection.accept(accepted)
        return True

    async def _respond(self, connection: Connection, received: CommandReceived) -> None:
        if self.respond is not None:
            await self.respond(connection, received)
            return
        if self.pause:
            await asyncio.sleep(self.pause)
        if not connection.closed:
            connection.send(
                received.context.id,
                response_to(received.command, self.status(received.command), comment="words"),
            )


def request_for(number: int, body: bytes, **fields: Any) -> DeliverRequest:
    """Give the request for instance `number` with this body."""
    given: dict[str, Any] = {
        "destination": "pacs1",
        "configuration": 1,
        "delivery": number,
        "attempt": 1,
        "sop_class": CT,
        "sop_instance": f"1.2.3.{number}",
        "transfer_syntax": EXPLICIT,
        "length": len(body),
    }
    return DeliverRequest(**(given | fields))


async def open_delivery(stage: Stage, request: DeliverRequest) -> Channel:
    """Open a `deliver` channel."""
    return await stage.cloud.sessions[-1].open(DELIVER, encode(request), ChannelPriority.BULK)


async def send_body(
    channel: Channel, body: bytes, *, crc: int | None = None, cuts: Iterable[int] = ()
) -> None:
    """Send a body and its last word; `cuts` are offsets at which a frame leaves early."""
    at = 0
    for cut in (*cuts, len(body)):
        await channel.send(memoryview(body)[at:cut])
        channel.flush()
        at = cut
    await channel.message(
        encode(TransferEnd(length=len(body), crc32=zlib.crc32(body) if crc is None else crc)),
        fin=True,
    )


async def answer_of(channel: Channel) -> DeliverAnswer:
    """Wait for Link's answer."""
    event = await channel.receive()
    assert isinstance(event, Message), event
    return read_deliver_answer(event.body)


async def deliver(
    stage: Stage, number: int, body: bytes = b"\x08\x00\x05\x00" * 8, **fields: Any
) -> DeliverAnswer:
    """Deliver one instance as an honest Cloud does: it hears the answer whenever it comes."""
    channel = await open_delivery(stage, request_for(number, body, **fields))
    sending = stage.tasks.spawn(_send(channel, body), name="body")
    try:
        answer = await answer_of(channel)
        if isinstance(answer, NotDelivered):
            channel.reset(ResetReason.CANCELLED)
        return answer
    finally:
        sending.cancel()


async def _send(channel: Channel, body: bytes) -> None:
    try:
        await send_body(channel, body)
    except Exception as error:  # noqa: BLE001 - the answer says why
        del error


def failed(
    answer: DeliverAnswer, about: About, phase: DeliveryPhase, words: str = ""
) -> NotDelivered:
    """Assert that a delivery failed so."""
    assert isinstance(answer, NotDelivered), answer
    assert (answer.about, answer.phase) == (about, phase), answer
    assert words in answer.detail, answer.detail
    return answer
