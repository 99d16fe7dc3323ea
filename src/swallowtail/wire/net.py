"""The shell of a session.

It drives one machine over one transport, with a reader, a writer and a timer.

The reader never waits for a channel's owner (wire §1); the writer takes one frame at a time
(wire §6).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire.channel import ChannelMachine, ChannelState, Data, End, Message, WasReset
from swallowtail.wire.control import Goodbye, GoodbyeReason, RefuseReason, Welcome
from swallowtail.wire.events import (
    ChannelsAvailable,
    GoodbyeReceived,
    Opened,
    Readable,
    RoundTrip,
    SessionClose,
    SessionEvent,
    Writable,
)
from swallowtail.wire.failures import ChannelResetError, RefusedError, SessionClosedError
from swallowtail.wire.frames import ChannelPriority, Frame, Opening
from swallowtail.wire.handshake import HelloAccepted, HelloReceived, Refused
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import JOIN_LIMIT, FrameTransport, TransportClosedError

LAST_FRAMES_SECONDS: Final = 2.0


class Channel:
    """One channel.

    One task may send and one may receive at a time; both can be cancelled at any await.

    Every method raises ChannelResetError once the channel has failed, LocalProtocolError for what
    its state does not allow.
    """

    def __init__(self, machine: ChannelMachine, session: "Session") -> None:
        self.machine = machine
        self._session = session
        self._read: asyncio.Future[None] | None = None
        self._write: asyncio.Future[None] | None = None

    @property
    def opening(self) -> Opening:
        """The call, its first message (`body`) and priority."""
        return self.machine.opening

    def send_nowait(self, view: memoryview) -> int:
        """Copy what credit allows into frames, without a task switch.

        Returns the number of bytes.
        """
        self._check()
        size = self.machine.write(view)
        self._session.kick()
        return size

    async def send(self, view: memoryview) -> None:
        """Copy all of `view` into frames, waiting for credit.

        The view may be reused afterwards; full frames are queued.
        """
        done = self.send_nowait(view)
        while done < len(view):
            await self._writable()
            done += self.send_nowait(view[done:])

    def flush(self) -> None:
        """Send the frame that is not full yet: the source has no more bytes now."""
        self.machine.flush()
        self._session.kick()

    async def message(self, body: bytes, *, fin: bool = False) -> None:
        """Send a message of the call, waiting for credit; `fin` closes the sending direction."""
        self._check()
        while not self.machine.message(body, fin=fin):
            self._session.kick()
            await self._writable()
            self._check()
        self._session.kick()
        self._session.discard_if_over(self)

    def finish(self) -> None:
        """Close the sending direction."""
        self._check()
        self.machine.finish()
        self._session.kick()
        self._session.discard_if_over(self)

    async def receive(self) -> Data | Message | End:
        """Wait for the next event.

        Call `consumed` after Data. Once the peer has finished, every call returns End.
        """
        while True:
            event = self.machine.next_event(self._session.time())
            if event is NEED_DATA:
                self._session.kick()  # pulling a message may have made CREDIT due
                await self._readable()
            elif event is CLOSED or isinstance(event, WasReset):
                self._check()
                return End()
            else:
                assert isinstance(event, Data | Message | End)
                self._session.kick()
                return event

    def consumed(self, size: int) -> None:
        """Record that `size` more bytes of the received data were consumed.

        This grants the peer credit.
        """
        self.machine.consumed(size, self._session.time())
        self._session.kick()

    def reset(self, reason: ResetReason, text: str = "") -> None:
        """Reset the channel; without effect when it has ended."""
        self.machine.reset(reason, text)
        self._session.kick()
        self.wake()
        self._session.discard_if_over(self)

    def wake(self, *, readable: bool = True, writable: bool = True) -> None:
        """Wake the waiting tasks."""
        for waits, future in ((readable, self._read), (writable, self._write)):
            if waits and future is not None and not future.done():
                future.set_result(None)

    def _check(self) -> None:
        if self.machine.state is ChannelState.RESET:
            assert self.machine.failure is not None
            raise ChannelResetError(self.machine.failure)

    async def _readable(self) -> None:
        self._read = asyncio.get_running_loop().create_future()
        await self._read

    async def _writable(self) -> None:
        self._write = asyncio.get_running_loop().create_future()
        await self._write


class Session:
    """A shell that runs one SessionMachine over one transport.

    Link: `await hello_accepted()`. Cloud: `await hello()`, then `welcome` or `refuse`. Then `open`,
    and `opened()` for the peer's channels. `closed` resolves, with the SessionClose, when the
    session has ended for whatever reason.
    """

    def __init__(
        self, machine: SessionMachine, transport: FrameTransport, *, name: str = "session"
    ) -> None:
        self.machine = machine
        self.peer_goodbye: Goodbye | None = None
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[SessionClose] = self._loop.create_future()
        self._hello: asyncio.Future[HelloReceived | HelloAccepted | Refused] = (
            self._loop.create_future()
        )
        self._tasks = Tasks(name, on_failure=self._failed)
        self._channels: dict[int, Channel] = {}
        self._closing = False
        # bounded by the number of channels that the peer may open
        self._opened: deque[Channel] = deque()
        # set, then replaced, whenever `opened` or `open` have to check again
        self._change = asyncio.Event()
        self._work = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._echoes: dict[int, asyncio.Future[float]] = {}

    def time(self) -> float:
        """Return the clock of this session: the loop's."""
        return self._loop.time()

    async def __aenter__(self) -> Self:
        self._tasks.spawn(self._read(), name="reader")
        self._writer = self._tasks.spawn(self._write(), name="writer")
        self._arm()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        broken = isinstance(error, Exception) and not isinstance(
            error, SessionClosedError | ChannelResetError | RefusedError
        )
        self.machine.close(CloseCode.INTERNAL if broken else CloseCode.DONE, "")
        self._pump()
        try:
            await asyncio.wait([self.closed])
        finally:
            await self._tasks.close()

    async def hello_accepted(self) -> Welcome:
        """Wait for the Cloud's answer, on Link; raises RefusedError or SessionClosedError."""
        match await self._hello_event():
            case HelloAccepted() as event:
                return event.welcome
            case Refused() as event:
                raise RefusedError(event.refuse)
            case event:
                raise AssertionError(event)

    async def hello(self) -> HelloReceived:
        """Wait for the Link's hello, on the Cloud.

        Raises RefusedError if its version was refused, or SessionClosedError.
        """
        match await self._hello_event():
            case HelloReceived() as event:
                return event
            case Refused() as event:
                raise RefusedError(event.refuse)
            case event:
                raise AssertionError(event)

    async def _hello_event(self) -> HelloReceived | HelloAccepted | Refused:
        await self._first(self._hello)
        if self._hello.done():
            return self._hello.result()
        raise SessionClosedError(self.closed.result())

    async def _first(self, future: asyncio.Future[Any]) -> None:
        await asyncio.wait([future, self.closed], return_when=asyncio.FIRST_COMPLETED)

    def welcome(
        self,
        *,
        session: bytes,
        epoch: int,
        time: float,
        echo_after: float = 20.0,
        dead_after: float = 45.0,
    ) -> None:
        """Accept the Link, on the Cloud; arguments as SessionMachine.welcome.

        Raises SessionClosedError when the Link has ended.
        """
        self._check()
        self.machine.welcome(
            session=session, epoch=epoch, time=time, echo_after=echo_after, dead_after=dead_after
        )
        self._arm()
        self._pump()

    def refuse(self, reason: RefuseReason, detail: str = "", *, retry_after: float = 0.0) -> None:
        """Refuse the Link, on the Cloud, then wait for `closed`.

        Raises SessionClosedError when the Link has ended.
        """
        self._check()
        self.machine.refuse(reason, detail, retry_after=retry_after)
        self._pump()

    def _check(self) -> None:
        if self.machine.closing is not None:
            raise SessionClosedError(self.machine.closing)

    def goodbye(self, reason: GoodbyeReason, *, detail: str = "", retry_after: float = 0.0) -> None:
        """Send goodbye and end the session; then wait for `closed`."""
        self.machine.goodbye(reason, self.time(), detail=detail, retry_after=retry_after)
        self._arm()
        self._pump()

    async def open(
        self,
        call: str,
        body: bytes,
        priority: ChannelPriority,
        *,
        fin: bool = False,
    ) -> Channel:
        """Open a channel, waiting while the peer allows no more of them.

        Raises SessionClosedError.
        """
        while True:
            self._check()
            if self.machine.can_open:
                break
            await self._change.wait()
        machine = self.machine.open(call, body, priority, now=self.time(), fin=fin)
        channel = self._channels[machine.number] = Channel(machine, self)
        self.kick()
        return channel

    async def opened(self) -> AsyncIterator[Channel]:
        """Yield the channels that the peer opens, until the session ends. One reader at a time."""
        while True:
            while self._opened:
                yield self._opened.popleft()
            if self.machine.closing is not None:
                return
            await self._change.wait()

    async def echo(self) -> float:
        """Measure the round trip, in seconds; raises SessionClosedError."""
        number = self.machine.echo(self.time())
        answer: asyncio.Future[float] = self._loop.create_future()
        self._echoes[number] = answer
        self.kick()
        try:
            await self._first(answer)
        finally:
            del self._echoes[number]
        if not answer.done():
            raise SessionClosedError(self.closed.result())
        return answer.result()

    # Called by channels

    def kick(self) -> None:
        """Wake the writer if there is something to send."""
        if not self._work.is_set() and (self.machine.sending or self.machine.closing is not None):
            self._work.set()

    def discard_if_over(self, channel: Channel) -> None:
        """Remove a channel that has no more events."""
        if channel.machine.over:
            self._channels.pop(channel.machine.number, None)

    # Reader, writer and timer

    async def _read(self) -> None:
        try:
            while (
                True
            ):  # also while closing: the peer's last frames must not fill the buffers below
                for message in await self._transport.receive():
                    self.machine.receive_data(message, self.time())
                self._pump()
        except TransportClosedError as error:
            self.machine.receive_eof(self.time(), error.code, error.text)
            self._pump()

    async def _write(self) -> None:
        while True:
            frames = self._frames()
            if self.machine.has_events:
                self._pump()
            if frames:
                try:
                    await self._transport.send(frames)
                except TransportClosedError:
                    return  # the reader gets it too, with the peer's reason
            elif self.machine.closing is not None:
                return
            else:
                self._work.clear()
                await self._work.wait()

    def _frames(self) -> list[Frame]:
        """Return the most urgent frame, and those after it while all are short.

        Each write costs a TLS record and a system call.
        """
        frames: list[Frame] = []
        size = 0
        while size < JOIN_LIMIT and (frame := self.machine.data_to_send()):
            frames.append(frame)
            size += len(frame)
        return frames

    async def _close(self, close: SessionClose) -> None:
        """Send the last frames, if the transport accepts them, then close it.

        `closed` resolves in any case.
        """
        try:
            if close.code != CloseCode.DEADLINE:
                await asyncio.wait([self._writer], timeout=LAST_FRAMES_SECONDS)
        finally:
            self._writer.cancel()
            try:
                await self._transport.close(close.code, close.text)
            finally:
                if not self.closed.done():
                    self.closed.set_result(close)

    def _arm(self) -> None:
        due = self.machine.next_timeout()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.machine.handle_timeout(self.time())
        self._arm()
        self._pump()

    def _failed(self, _: str, error: BaseException) -> None:
        self.machine.close(CloseCode.INTERNAL, type(error).__name__)
        self._pump()

    # Events

    def _pump(self) -> None:
        while True:
            try:
                event = self.machine.next_event()
            except WireError:
                continue  # `closing` carries its code and text
            if event is NEED_DATA or event is CLOSED:
                break
            self._dispatch(event)  # type: ignore[arg-type]
        self.kick()
        if self.machine.closing is not None and not self._closing:
            self._closing = True
            self._arm()
            self._changed()
            self._tasks.spawn(self._close(self.machine.closing), name="close")

    def _dispatch(self, event: SessionEvent) -> None:
        match event:
            case Readable(machine):
                self._wake(machine, readable=True)
            case Writable(machine):
                self._wake(machine, readable=False)
            case Opened(machine):
                channel = self._channels[machine.number] = Channel(machine, self)
                self._opened.append(channel)
                self._changed()
            case ChannelsAvailable():
                self._changed()
            case GoodbyeReceived(goodbye):
                self.peer_goodbye = goodbye
            case RoundTrip(number, seconds):
                if (answer := self._echoes.get(number)) is not None and not answer.done():
                    answer.set_result(seconds)
            case HelloReceived() | HelloAccepted() | Refused():
                if not self._hello.done():
                    self._hello.set_result(event)
                self._arm()

    def _wake(self, machine: ChannelMachine, *, readable: bool) -> None:
        channel = self._channels.get(machine.number)
        if channel is None:
            return
        channel.wake(readable=readable, writable=not readable)
        if machine.over:
            del self._channels[machine.number]
            channel.wake()
            if machine.state is ChannelState.RESET and channel in self._opened:
                self._opened.remove(channel)

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
