"""A session of the wire, in both roles, from hello to close, against a peer that sends what it
likes while we use our side of it.

Input: a byte of mode, then steps: what (one byte), how much (two bytes), and for a frame of the
peer as many bytes.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, Signal
from swallowtail.wire.channel import ChannelMachine, Data
from swallowtail.wire.control import (
    Challenge,
    GoodbyeReason,
    Hello,
    RefuseReason,
    Welcome,
    control_frame,
)
from swallowtail.wire.events import Opened
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.handshake import CloudHello, HelloReceived, LinkHello
from swallowtail.wire.reasons import ResetReason, WireError
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.window import MAX_CHANNEL_WINDOW, NodeBudget

CLOUD, HELLO_ACCEPTED, PROVED = (1 << bit for bit in range(3))
STEP = struct.Struct(">BH")
KEY, NONCE, ID = bytes(32), bytes(32), bytes(16)
# frames that wait: CREDIT, RESET and OPEN of every channel, and a few of the session's own
MAX_CONTROL = 2_048
HELLO = Hello(
    version=1,
    release="heron",
    capabilities=(),
    code="AAAA",
    key=KEY,
    proof=bytes(64),
    budget=1 << 22,
    channels=8,
)
WELCOME = Welcome(
    version=1, session=ID, epoch=1, capabilities=(), budget=1 << 22, channels=8, time=0.0
)


def check(data: bytes) -> None:
    """Play all steps, then lose the connection."""
    if not data:
        return
    session = _Session(data[0])
    for what, size, payload in _steps(data[1:]):
        session.step(what, size, payload)
        session.hold()
    session.end()


def _steps(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + STEP.size <= len(raw):
        what, size = STEP.unpack_from(raw, at)
        at += STEP.size
        payload = b""
        if what % 16 < 8:
            payload = raw[at : at + size]
            at += size
        yield what % 16, size, payload


class _Session:
    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._now = 0.0
        self._channels: list[ChannelMachine] = []
        self._violated = False
        self._node = NodeBudget(8 << 20)
        hello = self._cloud() if mode & CLOUD else self._link()
        self.machine = SessionMachine(hello, now=0.0, node=self._node)
        if mode & HELLO_ACCEPTED:
            self._shake_hands()

    def _cloud(self) -> CloudHello:
        proved = bool(self._mode & PROVED)
        return CloudHello(capabilities=(), nonce=NONCE, verify=lambda *_: proved)

    def _link(self) -> LinkHello:
        return LinkHello(
            release="heron",
            capabilities=(),
            code="AAAA",
            key=KEY,
            sign=lambda _: bytes(64),
            channels=8,
        )

    def _shake_hands(self) -> None:
        if self._mode & CLOUD:
            self._receive(control_frame(HELLO))
        else:
            self._receive(control_frame(Challenge(versions=(1, 1), nonce=NONCE)))
            self._receive(control_frame(WELCOME))
        while self.machine.data_to_send():
            pass

    def step(self, what: int, size: int, payload: bytes) -> None:
        """Do one step; what our own state forbids is not done."""
        if what < 8:
            self._receive(payload)
        elif what == 8:
            self._wait(size / 1000)
        else:
            with contextlib.suppress(LocalProtocolError):
                self._ACTIONS[what - 9](self, size)

    def _receive(self, frame: bytes) -> None:
        self.machine.receive_data(frame, self._now)
        self._pull()

    def _wait(self, seconds: float) -> None:
        self._now += seconds
        if (due := self.machine.next_timeout()) is not None and due <= self._now:
            self.machine.handle_timeout(self._now)
        self._pull()

    def _pull(self) -> None:
        try:
            while not isinstance(event := self.machine.next_event(), Signal):
                if isinstance(event, Opened):
                    self._channels.append(event.channel)
                elif isinstance(event, HelloReceived):
                    self._decide(event)
        except WireError:
            assert not self._violated, "a violation is told once"
            self._violated = True
            assert self.machine.closing is not None
            assert self.machine.next_event() is CLOSED
            assert not self.machine.data_to_send(), "nothing more is answered"
        self._channels = self._channels[-64:]

    def _decide(self, event: HelloReceived) -> None:
        if event.proved:
            self.machine.welcome(session=ID, epoch=1, time=0.0)
        else:
            self.machine.refuse(RefuseReason.CODE)

    # What we do ourselves

    def _channel(self, size: int) -> ChannelMachine:
        if not self._channels:
            raise LocalProtocolError("there is no channel")
        return self._channels[size % len(self._channels)]

    def _open(self, size: int) -> None:
        opened = self.machine.open(
            "heron",
            bytes(size),
            ChannelPriority(1 + size % 2),
            now=self._now,
            fin=not size % 7,
        )
        self._channels.append(opened)

    def _write(self, size: int) -> None:
        channel = self._channel(size)
        credit = channel.sending.credit
        assert channel.write(memoryview(bytes(size))) == min(size, credit)
        channel.flush()

    def _read(self, size: int) -> None:
        channel = self._channel(size)
        while not isinstance(event := channel.next_event(self._now), Signal):
            if isinstance(event, Data) and size & 1:
                channel.consumed(len(event.view), self._now)

    def _message(self, size: int) -> None:
        self._channel(size).message(bytes(size), fin=bool(size & 1))

    def _finish(self, size: int) -> None:
        channel = self._channel(size)
        if size & 1:
            channel.finish()
        else:
            channel.reset(ResetReason.CANCELLED, "heron")

    def _send(self, size: int) -> None:
        for _ in range(size % 64):
            if not self.machine.data_to_send():
                break

    def _say(self, size: int) -> None:
        if size % 3:
            self.machine.echo(self._now)
        else:
            self.machine.goodbye(list(GoodbyeReason)[size % 5], self._now)

    _ACTIONS: tuple[Callable[["_Session", int], None], ...] = (
        _open,
        _write,
        _read,
        _message,
        _finish,
        _send,
        _say,
    )

    # What always holds

    def hold(self) -> None:
        """Check what no peer may bring about."""
        machine = self.machine
        assert len(machine._channels) <= 256 + 8
        assert len(machine._scheduler._control) <= MAX_CONTROL
        assert machine.budget.held >= 0
        assert machine.budget.receiving >= 0
        for channel in machine._channels.values():
            assert channel.sending.credit >= 0
            assert channel.receiving.consumed <= channel.receiving.arrived
            assert sum(map(len, channel.outbox)) <= MAX_CHANNEL_WINDOW * 2
            if not self._violated:
                assert channel.receiving.arrived <= channel.receiving.limit

    def end(self) -> None:
        """Lose the connection: everything that was held is free again."""
        self.machine.receive_eof(self._now)
        self._pull()
        assert self.machine.next_event() is CLOSED
        assert self.machine.next_timeout() is None
        assert (self.machine.budget.held, self._node.held, self.machine.budget.receiving) == (
            0,
            0,
            0,
        )
