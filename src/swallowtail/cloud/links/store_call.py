"""The call `store`.

An instance's bytes go from the wire to the ingest, and its one answer comes back.

Bytes are passed as views into the received frames and are `consumed` only when the ingest owns
them, which is what lets the Link discard its copy. An early refusal is answered at once; what still
comes is read and dropped for a while, so that it is received.
"""

from contextlib import aclosing
from typing import Final

from swallowtail.calls.codec import encode
from swallowtail.calls.net import discard_body, receive_body
from swallowtail.calls.store import NotStored, read_store_request
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.links.live import LiveLink
from swallowtail.wire.net import Channel

IDLE_SECONDS: Final = 120.0
"""Without a byte for so long a store is given up; a Link gives up much earlier."""
DROP_SECONDS: Final = 10.0


class Stores:
    """The handler of the call `store` of every Link."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    async def serve(self, live: LiveLink, channel: Channel) -> None:
        """Serve one store to its end."""
        request = read_store_request(channel.opening.body)
        async with aclosing(receive_body(channel, silence=IDLE_SECONDS)) as body:
            answer = await self._ingest.store(live.tenant, live.link, live.epoch, request, body)
        await channel.message(encode(answer), fin=True)
        if isinstance(answer, NotStored):
            await discard_body(channel, seconds=DROP_SECONDS)
