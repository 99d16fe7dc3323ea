"""The body of one delivery, from its channel into the association.

It is checked before the destination can store it.

Nothing is gathered: a frame of the wire becomes a P-DATA-TF. The latest frame is held back until
the next has come: the last one leaves only when length and CRC-32 of all agree with what the Cloud
states it sent (wire §8), so a damaged body never becomes whole.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from swallowtail.calls.deliver import About, DeliverRequest, DeliveryPhase
from swallowtail.calls.transfer import IncomingTransfer, TransferDamagedError, TransferEnd
from swallowtail.dicom.commands import Command
from swallowtail.link.scu.outcomes import NotDeliveredError, failure
from swallowtail.link.scu.requestor import Ended, OutboundAssociation

Body = AsyncGenerator[memoryview | TransferEnd, None]
"""The pieces of a body and its end (`calls.net.receive_body`)."""
WIRE_SILENCE: Final = 60.0
"""Seconds that the Cloud may leave a delivery without a byte, while it occupies the destination."""


async def next_of(body: Body) -> memoryview | TransferEnd | None:
    """Return what comes next of the body, None when it has stopped.

    Raises NotDeliveredError for silence and an invalid end, ChannelResetError.
    """
    try:
        return await anext(body, None)
    except TimeoutError as error:
        text = f"the Cloud sent nothing of an instance for {WIRE_SILENCE:g} s; it is tried again"
        raise failure(About.LINK, DeliveryPhase.TRANSFER, text) from error
    except TransferDamagedError as error:
        raise _damaged(error) from error


async def pass_on(
    body: Body,
    piece: memoryview | TransferEnd | None,
    association: OutboundAssociation,
    request: DeliverRequest,
    result: asyncio.Future[Command | Ended],
) -> TransferEnd | None:
    """Send the body that begins with `piece`.

    Returns its end, or None when `result` came before all was sent. Raises NotDeliveredError for a
    body that is damaged or stops; the caller then aborts the association.
    """
    transfer, held = IncomingTransfer(request.length), memoryview(b"")
    while True:
        try:
            if not isinstance(piece, memoryview):
                end = transfer.finish(piece)
                return end if await association.send_data(held, last=True) else None
            transfer.update(piece)
        except TransferDamagedError as error:
            raise _damaged(error) from error
        if held and not await association.send_data(held, last=False):
            return None
        held = piece
        if result.done():
            return None
        piece = await next_of(body)


def _damaged(error: TransferDamagedError) -> NotDeliveredError:
    return failure(
        About.LINK,
        DeliveryPhase.TRANSFER,
        f"an instance was damaged between Cloud and Link: {error}; it is tried again",
    )
