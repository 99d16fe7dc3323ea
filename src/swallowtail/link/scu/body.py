"""The body of one delivery.

From its channel of the wire into the association, checked before the destination can keep it.

Nothing is gathered: a frame of the wire becomes a P-DATA-TF. The latest frame is held back until
the next has come: the last one leaves only when length and CRC-32 of all agree with what the Cloud
says it sent (wire §8), so a damaged body never becomes whole.
"""

import asyncio
import zlib
from typing import Final

from swallowtail.calls.codec import MalformedCallError
from swallowtail.calls.deliver import About, DeliverRequest, DeliveryPhase
from swallowtail.calls.store import TransferEnd, read_transfer_end
from swallowtail.dicom.commands import Command
from swallowtail.link.scu.outcomes import NotDeliveredError, failure
from swallowtail.link.scu.requestor import Ended, OutboundAssociation
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.net import Channel

WIRE_SILENCE: Final = 60.0
"""Seconds that the Cloud may leave a delivery without a byte, while it occupies the destination."""


async def next_of(channel: Channel) -> Data | Message | End:
    """Give what comes next of the body.

    NotDeliveredError when nothing does, ChannelResetError when the Cloud gives it up.
    """
    try:
        async with asyncio.timeout(WIRE_SILENCE):
            return await channel.receive()
    except TimeoutError as error:
        text = f"the Cloud sent nothing of an instance for {WIRE_SILENCE:g} s; it is tried again"
        raise failure(About.LINK, DeliveryPhase.TRANSFER, text) from error


async def pass_on(
    channel: Channel,
    event: Data | Message | End,
    association: OutboundAssociation,
    request: DeliverRequest,
    result: asyncio.Future[Command | Ended],
) -> TransferEnd | None:
    """Send the body that begins with `event`.

    Gives its end, or None when `result` came before all was sent.

    Raises NotDeliveredError for a body that is damaged or stops to come; the caller then aborts the
    association.
    """
    length = crc = 0
    held = memoryview(b"")
    while True:
        match event:
            case Data(view):
                length, crc = length + len(view), zlib.crc32(view, crc)
                if length > request.length:
                    raise _damaged(f"more than the {request.length} bytes that were announced")
                if held and not await association.send_data(held, last=False):
                    return None
                held = view
                channel.consumed(
                    len(view)
                    # one frame is ours; what was before it is below the association's high-water mark
                )
            case Message(body):
                end = _verified(body, request, length, crc)
                return end if await association.send_data(held, last=True) else None
            case _:
                raise _damaged("it ended without its last word")
        if result.done():
            return None
        event = await next_of(channel)


def _verified(body: bytes, request: DeliverRequest, length: int, crc: int) -> TransferEnd:
    try:
        end = read_transfer_end(body)
    except MalformedCallError as error:
        raise _damaged("its last word cannot be read") from error
    if not length == end.length == request.length:
        raise _damaged(f"{length} bytes came, {request.length} were announced")
    if crc != end.crc32:
        raise _damaged("its checksum does not agree")
    return end


def _damaged(what: str) -> NotDeliveredError:
    return failure(
        About.LINK,
        DeliveryPhase.TRANSFER,
        f"an instance was damaged between Cloud and Link: {what}; it is tried again",
    )
