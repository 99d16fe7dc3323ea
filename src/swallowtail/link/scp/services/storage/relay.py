"""The body of one C-STORE from a modality's association into a channel of the wire.

`store` decides, this moves.

Each fragment is copied once, into the frame that leaves. While the Cloud grants no credit nobody
asks the association for its next event, so its socket is not read and the modality waits. One
deadline is armed at a time: the one that `store` names.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.net import FAILURES, exchange, open_call
from swallowtail.calls.store import STORE, StoreRequest, read_store_answer
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.services.storage.store_machine import Phase, StoreRelay
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.reasons import ResetReason

FLUSH_AFTER: Final = 0.002
"""Seconds without a fragment after which a frame leaves although it is not full.

The modality's socket has run dry.
"""


async def relay(
    operation: Operation,
    session: Session,
    store: StoreRelay,
    request: StoreRequest,
) -> None:
    """Pass a data set on until `store` has its verdict."""
    channel = await _open(session, store, request)
    if channel is None:
        await discard(operation, store)
        return
    way = _Way(operation, channel, store)
    try:
        await way.run()
    finally:
        way.end()


async def _open(session: Session, store: StoreRelay, request: StoreRequest) -> Channel | None:
    """Open the channel; to wait for a free one counts as to wait for credit."""
    loop = asyncio.get_running_loop()
    store.no_credit(loop.time())
    try:
        async with asyncio.timeout_at(store.next_timeout()):
            channel = await open_call(session, STORE, request, ChannelPriority.BULK)
    except (TimeoutError, *FAILURES):  # the session is full, ending, or closed
        store.lost(loop.time())
        return None
    store.credit()
    return channel


async def discard(operation: Operation, store: StoreRelay) -> None:
    """Read a message to its end, or to the deadline of a store that has failed already.

    Afterwards it has its verdict.
    """
    loop = asyncio.get_running_loop()
    limit = asyncio.timeout_at(store.next_timeout())
    try:
        async with limit:
            while store.phase is Phase.DISCARDING:
                fragment = await operation.next_fragment()
                if fragment is None:
                    store.abandoned()
                elif fragment.last:
                    store.whole(loop.time())
    except TimeoutError:
        store.handle_timeout(
            max(loop.time(), limit.when() or 0.0)
        )  # a timer may fire a clock tick early


class _Way:
    """From one association into one channel."""

    def __init__(self, operation: Operation, channel: Channel, store: StoreRelay) -> None:
        self._operation = operation
        self._channel = channel
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.Timeout | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._fresh = False  # something was written since the timer was set

    async def run(self) -> None:
        """Run until the verdict."""
        await self._exchange()
        if self._store.phase is Phase.DISCARDING:
            self.end()
            await discard(self._operation, self._store)

    async def _exchange(self) -> None:
        store = self._store
        limit = self._limit = asyncio.timeout_at(store.next_timeout())
        try:
            async with limit:
                answer = await exchange(self._channel, self._pass_on, read_store_answer)
            store.answered(answer, self._loop.time())
        except TimeoutError:
            store.handle_timeout(max(self._loop.time(), limit.when() or 0.0))
            store.lost(self._loop.time())  # credit came in the same turn as its deadline
        except (ChannelResetError, MalformedCallError):
            store.lost(self._loop.time())
        finally:
            self._limit = None

    def end(self) -> None:
        """Leave the channel: what it does not have to be committed is cancelled."""
        if self._flush is not None:
            self._flush.cancel()
        self._channel.reset(ResetReason.CANCELLED)  # nothing, when it has ended

    # From the modality to the Cloud

    async def _pass_on(self) -> None:
        store = self._store
        while store.phase is Phase.RELAYING:
            fragment = await self._operation.next_fragment()
            if fragment is None:
                store.abandoned()
                break
            if fragment.last:
                store.whole(self._operation.read_at)
            if store.fragment(fragment.data):
                await self._send(fragment.data)
                if fragment.last:
                    end = encode(store.transfer.end())
                    await self._waiting(self._channel.message(end, fin=True))
                    store.sent()
                    self._rearm()
        if store.phase is Phase.OVER:  # no response is of interest
            self._channel.reset(ResetReason.CANCELLED)

    async def _send(self, view: memoryview) -> None:
        view = view[self._channel.send_nowait(view) :]
        while view and self._store.phase is Phase.RELAYING:
            await self._waiting(
                self._channel.send(view[:1])
            )  # comes back with the first byte that has credit
            view = view[1 + self._channel.send_nowait(view[1:]) :]
        self._fresh = True
        if self._flush is None:
            self._flush = self._loop.call_later(FLUSH_AFTER, self._run_out)

    async def _waiting(self, sending: Awaitable[None]) -> None:
        """Wait for the Cloud to take something; the timeout around this is the design's 15 s."""
        self._store.no_credit(self._loop.time(), self._operation.read_at)
        self._rearm()
        await sending
        self._store.credit()
        self._rearm()

    def _run_out(self) -> None:
        self._flush = None
        if self._store.phase is not Phase.RELAYING:
            return
        if self._fresh:
            self._fresh = False
            self._flush = self._loop.call_later(FLUSH_AFTER, self._run_out)
        else:
            self._channel.flush()

    def _rearm(self) -> None:
        """Set the timer to the deadline that holds now."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._store.next_timeout())
