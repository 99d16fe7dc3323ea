"""The wire on asyncio: the shell of a session, and the WebSocket client below it. The only file that knows `websockets`.

A `FrameTransport` moves whole messages; a `Session` drives one machine over one transport with a reader, a writer and a timer.
The reader never waits for a channel's owner (wire §1); the writer has one frame at a time in its hand (wire §6).
"""

import asyncio
import secrets
import socket
import ssl as tls
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI, ProxyError
from websockets.frames import DATA_OPCODES, Opcode
from websockets.frames import Frame as WebSocketFrame
from websockets.protocol import Event, State
from websockets.typing import Subprotocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire.channel import ChannelMachine, ChannelState, Data, End, Message, WasReset
from swallowtail.wire.control import Goodbye, GoodbyeReason, RefuseReason, Welcome
from swallowtail.wire.errors import CloseCode, ResetReason, WireError
from swallowtail.wire.failures import ChannelResetError, RefusedError, SessionClosedError
from swallowtail.wire.frames import MAX_FRAME, Frame, Opening, Priority
from swallowtail.wire.handshake import HelloReceived, Refused, Welcomed
from swallowtail.wire.plain_frames import PlainFrames, plain_head
from swallowtail.wire.session import (
    Close,
    GoodbyeReceived,
    Opened,
    Readable,
    Roomy,
    RoundTrip,
    SessionEvent,
    SessionMachine,
    Writable,
)
from swallowtail.wire.transport import FLOOD_LIMIT, JOIN_LIMIT, SUBPROTOCOL, UNSENT_LIMIT, FrameTransport, TransportClosedError

WINDOWS_SEND_BUFFER: Final = 256 * 1024
OPEN_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 5.0
NEXT_ADDRESS_AFTER: Final = 0.25  # RFC 8305: an IPv6 way that leads nowhere must not keep us from the IPv4 one
LAST_WORDS_SECONDS: Final = 2.0
MAX_CLOSE_TEXT: Final = 123  # RFC 6455 5.5
HEAD_END: Final = b"\r\n\r\n"
KEYS: Final = 256
A_TEXT: Final = "the peer sent a text message (wire §1)"


class Channel:
    """One channel. One task may send and one may receive at a time; both can be cancelled at any await.

    Every method raises ChannelResetError once the channel has failed, LocalProtocolError for what its state does not allow.
    """

    def __init__(self, machine: ChannelMachine, session: "Session") -> None:
        self.machine = machine
        self._session = session
        self._read: asyncio.Future[None] | None = None
        self._write: asyncio.Future[None] | None = None

    @property
    def opening(self) -> Opening:
        """The call, its first message (`body`), priority and transfer."""
        return self.machine.opening

    @property
    def credit(self) -> int:
        """How many bytes can be sent without waiting."""
        return self.machine.sending.credit

    @property
    def unreceived(self) -> int:
        """How many of the bytes sent have no owner at the peer yet, as far as it has said."""
        return self.machine.sending.sent - self.machine.sending.received

    @property
    def stalled_since(self) -> float | None:
        """Since when (loop time) the peer has let us send nothing and has consumed nothing; None while there is credit."""
        return self.machine.sending.blocked_since

    def send_nowait(self, view: memoryview) -> int:
        """Copy what credit allows into frames, without a task switch; answers how many bytes that was."""
        self._check()
        size = self.machine.write(view, self._session.time())
        self._session.kick()
        return size

    async def send(self, view: memoryview) -> None:
        """Copy all of `view` into frames, waiting for credit. The view is free again afterwards; full frames are on their way."""
        done = self.send_nowait(view)
        while done < len(view):
            await self._writable()
            done += self.send_nowait(view[done:])

    def flush(self) -> None:
        """Send the frame that is not full yet: the source ran dry."""
        self.machine.flush()
        self._session.kick()

    async def message(self, body: bytes, *, fin: bool = False) -> None:
        """Send a message of the call, waiting for credit; `fin`: and nothing more."""
        self._check()
        while not self.machine.message(body, self._session.time(), fin=fin):
            self._session.kick()
            await self._writable()
            self._check()
        self._session.kick()
        self._session.forget_if_over(self)

    def finish(self) -> None:
        """Send nothing more."""
        self._check()
        self.machine.finish()
        self._session.kick()
        self._session.forget_if_over(self)

    async def receive(self) -> Data | Message | End:
        """Wait for what comes next. After Data call `consumed`; End comes for ever once the peer has finished."""
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
        """Say that `size` more bytes of the data received have a new owner; this grants the peer credit."""
        self.machine.consumed(size, self._session.time())
        self._session.kick()

    def reset(self, reason: ResetReason, text: str = "") -> None:
        """Give the channel up; harmless when it has ended."""
        self.machine.reset(reason, text)
        self._session.kick()
        self.wake()
        self._session.forget_if_over(self)

    def wake(self, *, readable: bool = True, writable: bool = True) -> None:
        """Let those who wait look again."""
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
    """Runs one SessionMachine over one transport, from entering the context to leaving it, which closes both.

    Link: `await welcomed()`. Cloud: `await hello()`, then `welcome` or `refuse`. Then `open`, and `opened()` for the peer's
    channels. `closed` resolves, with the Close, when the session has ended for whatever reason.
    """

    def __init__(self, machine: SessionMachine, transport: FrameTransport, *, name: str = "session") -> None:
        self.machine = machine
        self.farewell: Goodbye | None = None
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[Close] = self._loop.create_future()
        self._hello: asyncio.Future[HelloReceived | Welcomed | Refused] = self._loop.create_future()
        self._tasks = Tasks(name, on_failure=self._failed)
        self._channels: dict[int, Channel] = {}
        self._closing = False
        self._opened: deque[Channel] = deque()  # bounded by the number of channels that the peer may open
        self._change = asyncio.Event()  # set, then replaced, whenever `opened` or `open` should look again
        self._work = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._echoes: dict[int, asyncio.Future[float]] = {}

    def time(self) -> float:
        """The clock of this session: the loop's."""
        return self._loop.time()

    async def __aenter__(self) -> Self:
        self._tasks.spawn(self._read(), name="reader")
        self._writer = self._tasks.spawn(self._write(), name="writer")
        self._arm()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        broken = isinstance(error, Exception) and not isinstance(error, SessionClosedError | ChannelResetError | RefusedError)
        self.machine.close(CloseCode.INTERNAL if broken else CloseCode.DONE, "")
        self._pump()
        try:
            await asyncio.wait([self.closed])
        finally:
            await self._tasks.close()

    async def welcomed(self) -> Welcome:
        """Link: wait for the Cloud's answer; raises RefusedError or SessionClosedError."""
        match await self._hello_event():
            case Welcomed() as event:
                return event.welcome
            case Refused() as event:
                raise RefusedError(event.refuse)
            case event:
                raise AssertionError(event)

    async def hello(self) -> HelloReceived:
        """Cloud: wait for the Link's hello; raises RefusedError if its version was refused, or SessionClosedError."""
        match await self._hello_event():
            case HelloReceived() as event:
                return event
            case Refused() as event:
                raise RefusedError(event.refuse)
            case event:
                raise AssertionError(event)

    async def _hello_event(self) -> HelloReceived | Welcomed | Refused:
        await self._first(self._hello)
        if self._hello.done():
            return self._hello.result()
        raise SessionClosedError(self.closed.result())

    async def _first(self, future: asyncio.Future[Any]) -> None:
        await asyncio.wait([future, self.closed], return_when=asyncio.FIRST_COMPLETED)

    def welcome(self, *, session: bytes, epoch: int, time: float, echo_after: float = 20.0, dead_after: float = 45.0) -> None:
        """Cloud: accept the Link; arguments as SessionMachine.welcome. Raises SessionClosedError when the Link has gone."""
        self._check()
        self.machine.welcome(session=session, epoch=epoch, time=time, echo_after=echo_after, dead_after=dead_after)
        self._arm()
        self._pump()

    def refuse(self, reason: RefuseReason, detail: str = "", *, retry_after: float = 0.0) -> None:
        """Cloud: send the Link away, then wait for `closed`. Raises SessionClosedError when the Link has gone."""
        self._check()
        self.machine.refuse(reason, detail, retry_after=retry_after)
        self._pump()

    def _check(self) -> None:
        if self.machine.closing is not None:
            raise SessionClosedError(self.machine.closing)

    def goodbye(self, reason: GoodbyeReason, *, detail: str = "", retry_after: float = 0.0) -> None:
        """End the session in good order, then wait for `closed`."""
        self.machine.goodbye(reason, self.time(), detail=detail, retry_after=retry_after)
        self._arm()
        self._pump()

    async def open(
        self, call: str, body: bytes, priority: Priority, *, transfer: bytes | None = None, fin: bool = False
    ) -> Channel:
        """Open a channel, waiting while the peer allows no more of them; raises SessionClosedError."""
        while True:
            self._check()
            if self.machine.can_open:
                break
            await self._change.wait()
        machine = self.machine.open(call, body, priority, now=self.time(), transfer=transfer, fin=fin)
        channel = self._channels[machine.number] = Channel(machine, self)
        self.kick()
        return channel

    async def opened(self) -> AsyncIterator[Channel]:
        """Give the channels that the peer opens, until the session ends. One reader at a time."""
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

    # What channels need

    def kick(self) -> None:
        """Wake the writer if there is something to send."""
        if not self._work.is_set() and (self.machine.sending or self.machine.closing is not None):
            self._work.set()

    def forget_if_over(self, channel: Channel) -> None:
        """Let go of a channel of which no event can come any more."""
        if channel.machine.over:
            self._channels.pop(channel.machine.number, None)

    # The three that drive the machine

    async def _read(self) -> None:
        try:
            while True:  # also while closing: the peer's last words must not fill the buffers below
                for message in await self._transport.receive():
                    self.machine.receive_data(message, self.time())
                self._pump()
        except TransportClosedError as error:
            self.machine.receive_eof(self.time(), error.code, error.text)
            self._pump()

    async def _write(self) -> None:
        while True:
            frames = self._frames()
            if self.machine.telling:
                self._pump()
            if frames:
                try:
                    await self._transport.send(frames)
                except TransportClosedError:
                    return  # the reader hears it too, with the peer's reason
            elif self.machine.closing is not None:
                return
            else:
                self._work.clear()
                await self._work.wait()

    def _frames(self) -> list[Frame]:
        """Take the most urgent frame, and those after it while all are short: each write costs a TLS record and a system call."""
        frames: list[Frame] = []
        size = 0
        while size < JOIN_LIMIT and (frame := self.machine.data_to_send()):
            frames.append(frame)
            size += len(frame)
        return frames

    async def _close(self, close: Close) -> None:
        """Let the last words leave, if the transport still moves, then close it; whatever happens, `closed` resolves."""
        try:
            if close.code != CloseCode.DEADLINE:
                await asyncio.wait([self._writer], timeout=LAST_WORDS_SECONDS)
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
        self._timer = None if due is None else self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
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
            case Roomy():
                self._changed()
            case GoodbyeReceived(goodbye):
                self.farewell = goodbye
            case RoundTrip(number, seconds):
                if (answer := self._echoes.get(number)) is not None and not answer.done():
                    answer.set_result(seconds)
            case HelloReceived() | Welcomed() | Refused():
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


def tune_socket(sock: socket.socket) -> None:
    """Keep little unsent data in the kernel, so that control frames overtake bulk (wire §6), and switch Nagle off."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    elif sys.platform == "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOWS_SEND_BUFFER)


class ConnectError(Exception):
    """No WebSocket to the Cloud; `phase` is address, proxy, network, tls, upgrade or time."""

    def __init__(self, phase: str, text: str) -> None:
        super().__init__(text)
        self.phase = phase


class _NoRedirects(websocket_connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # the security code goes to the address that was configured, and nowhere else


class LinkConnection(ClientConnection):
    """The library's connection, around which plain frames take a short way; the rest, the handshakes above all, goes through it.

    It does not pause the socket (wire §1), and it cuts a peer that pings and does not read the pongs.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head = b""
        self._plain = PlainFrames(MAX_FRAME)
        self._keys: Iterator[tuple[bytes]] = iter(())
        self._received: list[bytes] = []  # bounded by credit, like everything that the session takes
        self._pieces = bytearray()  # bounded by MAX_FRAME
        self._text = False
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.protocol.state is State.CONNECTING:
            data = self._take_head(data)
        if self.protocol.state is State.CONNECTING:
            return
        for plain, content in self._plain.feed(data):
            if not plain:
                super().data_received(content)
            elif self.protocol.state is State.OPEN:
                self._put(content)
        if self.transport.get_write_buffer_size() > FLOOD_LIMIT:
            self.transport.abort()

    def _take_head(self, data: bytes) -> bytes:
        """Let the library read the head of the answer to the upgrade; gives what follows it."""
        end = (self._head + data).find(HEAD_END)
        cut = len(data) if end < 0 else end + len(HEAD_END) - len(self._head)
        self._head = (self._head + data)[1 - len(HEAD_END) :]
        super().data_received(data[:cut])
        if self.protocol.state is State.CONNECTING and cut < len(data):
            super().data_received(data[cut:])  # it was no upgrade; this is the body that says why
        return data[cut:]

    def process_event(self, event: Event) -> None:
        if not isinstance(event, WebSocketFrame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._text |= event.opcode is Opcode.TEXT
        self._pieces += event.data
        if event.fin:
            self._put(bytes(self._pieces))
            self._pieces.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wake()

    def _put(self, message: bytes) -> None:
        self._received.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[bytes]:
        """Wait for messages; raises TransportClosedError when none will come, and when one was text."""
        while not self._received and self.protocol.state is not State.CLOSED:
            self._waiter = self.loop.create_future()
            await self._waiter
        if self._text:
            raise TransportClosedError(CloseCode.VIOLATION, A_TEXT)
        if not self._received:
            raise _closed(self.protocol.close_exc)
        messages, self._received = self._received, []
        return messages

    async def write(self, frames: Sequence[Frame]) -> None:
        """Send messages in one write, and wait until little is unsent; raises TransportClosedError."""
        if self.protocol.state is not State.OPEN:
            raise TransportClosedError(1006, "the connection is closed")
        pieces: list[bytes] = []
        for frame in frames:
            key = self._key()
            pieces += (plain_head(len(frame), key), apply_mask(frame, key))
        try:
            self.transport.write(b"".join(pieces))
            if self.paused:
                await self.drain()
        except OSError as error:
            raise TransportClosedError(1006, "the connection was lost") from error

    def _key(self) -> bytes:
        """Give a mask that nobody foresees (RFC 6455 10.3), without a system call for each."""
        for (key,) in self._keys:
            return key
        self._keys = struct.iter_unpack("4s", secrets.token_bytes(4 * KEYS))
        return self._key()


class WebSocketTransport:
    """A FrameTransport over a WebSocket."""

    def __init__(self, connection: LinkConnection) -> None:
        self._connection = connection
        tune_socket(connection.transport.get_extra_info("socket"))

    async def send(self, frames: Sequence[Frame]) -> None:
        await self._connection.write(frames)

    async def receive(self) -> Sequence[bytes]:
        try:
            return await self._connection.take()
        except TransportClosedError as error:
            if error.text == A_TEXT:
                await self.close(CloseCode.VIOLATION, error.text)
            raise

    async def close(self, code: int, text: str) -> None:
        if code in (1005, 1006, 1015):  # RFC 6455 7.4.1: never sent
            code = CloseCode.DONE
        try:
            async with asyncio.timeout(CLOSE_SECONDS):  # the library's own deadline does not cover a full send buffer
                await self._connection.close(code, text.encode()[:MAX_CLOSE_TEXT].decode("utf-8", "ignore"))
        except TimeoutError:
            pass
        finally:
            self._connection.transport.abort()


def _closed(error: ConnectionClosed) -> TransportClosedError:
    if error.rcvd is not None:
        return TransportClosedError(error.rcvd.code, error.rcvd.reason)
    if error.sent is not None:
        return TransportClosedError(error.sent.code, error.sent.reason)
    return TransportClosedError(1006, "the connection was lost")


async def connect(
    url: str,
    *,
    user_agent: str,
    ssl: tls.SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    open_seconds: float = OPEN_SECONDS,
) -> WebSocketTransport:
    """Connect to the Cloud's `/link`; raises ConnectError.

    `proxy` is an HTTP proxy's URL, True for the environment's, None for none; `ssl` defaults to the standard trust.
    """
    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    try:
        connection = await _NoRedirects(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            user_agent_header=user_agent,
            proxy=proxy,
            open_timeout=open_seconds,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,
            max_size=MAX_FRAME,
            write_limit=UNSENT_LIMIT,
            create_connection=LinkConnection,
            happy_eyeballs_delay=NEXT_ADDRESS_AFTER,
            **options,
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidProxy, InvalidURI) as error:
        raise _connect_error(url, error) from error
    if connection.subprotocol != SUBPROTOCOL:
        await connection.close(CloseCode.VIOLATION, "no common subprotocol")
        raise ConnectError("upgrade", f"{url} is a WebSocket but speaks no {SUBPROTOCOL}; check the Cloud's address and release")
    assert isinstance(connection, LinkConnection)
    return WebSocketTransport(connection)


def _connect_error(url: str, error: Exception) -> ConnectError:
    match error:
        case InvalidURI():
            return ConnectError("address", f"{url} is no WebSocket address (wss://host/link)")
        case ProxyError() | InvalidProxy():
            return ConnectError("proxy", f"the proxy did not connect us to {url}: {error}; check the proxy's address and rules")
        case InvalidStatus():
            status = error.response.status_code
            return ConnectError("upgrade", f"{url} answered HTTP {status}, no WebSocket; check the address, and any proxy between")
        case InvalidHandshake():
            return ConnectError("upgrade", f"{url} answered no proper WebSocket upgrade ({error}); something between may strip it")
        case TimeoutError():
            return ConnectError("time", f"{url} did not answer in time; check the network, the firewall and the proxy")
        case tls.SSLError():
            return ConnectError("tls", f"the TLS handshake with {url} failed: {error}; check the CA file and the host name")
    return ConnectError("network", f"no connection to {url}: {error}")
