"""The call `store`.

An instance's bytes go from the wire to the ingest, and its one answer comes back.

Bytes are handed over as views into the received frames and are `consumed` only when the ingest owns
them, which is what lets the Link forget its copy. An early refusal is answered at once; what still
comes is read and dropped for a while, so that it is heard.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from swallowtail.calls.codec import encode
from swallowtail.calls.store import NotStored, TransferEnd, read_store_request, read_transfer_end
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.links.live import LiveLink
from swallowtail.wire.channel import Data, Message
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

IDLE_SECONDS: Final = 120.0
"""Without a byte for so long a store is given up; a Link gives up much earlier."""
DROP_SECONDS: Final = 10.0


class Stores:
    """Serves the call `store` of every Link."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    async def serve(self, live: LiveLink, channel: Channel) -> None:
        """Serve one store to its end."""
        request = read_store_request(channel.opening.body)
        async with aclosing(_body(channel)) as body:
            answer = await self._ingest.store(live.tenant, live.link, live.epoch, request, body)
        await channel.message(encode(answer), fin=True)
        if isinstance(answer, NotStored):
            await _drop(channel)


async def _body(channel: Channel) -> AsyncGenerator[memoryview | TransferEnd, None]:
    """Give the bytes as they come; the ingest owns a piece when it asks for the next one."""
    while True:
        async with asyncio.timeout(IDLE_SECONDS):
            event = await channel.receive()
        match event:
            case Data(view):
                size = len(view)
                yield view
                channel.consumed(size)
            case Message(body):
                yield read_transfer_end(body)
                return
            case _:
                return


async def _drop(channel: Channel) -> None:
    """Read and drop what was on its way, so that the Link hears the answer before anything else."""
    try:
        async with asyncio.timeout(DROP_SECONDS):
            while isinstance(event := await channel.receive(), Data):
                channel.consumed(len(event.view))
    except TimeoutError:
        channel.reset(ResetReason.CANCELLED, "the store was answered; nothing more is read")
