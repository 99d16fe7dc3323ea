"""The session: one WebSocket from hello to close, as a machine (wire §1 to §9).

The same for Link and Cloud but for the hello.

    receive_data(message, now)    one whole WebSocket message, which the machine then owns
    next_event()                  session events; a channel's own wait in the channel
    data_to_send()                ONE frame, the most urgent; call it when little is left to send
    next_timeout(), handle_timeout(now)
    closing                       set when the session has ended: send the rest, then close with it

No channel delays another: Readable and Writable are reported once per channel until they are
pulled, and a channel that is reset before its Opened is pulled is not reported at all, so the
number of events that wait is bounded by the number of channels.
"""

from collections import deque
from typing import Final

from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA, Signal
from swallowtail.wire.channel import ChannelInput, ChannelMachine, ChannelState
from swallowtail.wire.control import (
    MAX_DEAD_AFTER,
    MAX_ECHO_AFTER,
    Budget,
    Echo,
    Echoed,
    Goodbye,
    GoodbyeReason,
    RefuseReason,
    control_frame,
    read_control,
)
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
from swallowtail.wire.frames import (
    FIN,
    HEADER,
    MAX_FRAME,
    ChannelPriority,
    Frame,
    FrameType,
    Opening,
    opening_frame,
    read_opening,
)
from swallowtail.wire.handshake import CloudHello, HelloAccepted, HelloEvent, LinkHello, Refused
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.scheduler import Scheduler
from swallowtail.wire.strays import Strays
from swallowtail.wire.window import (
    INITIAL_LIMIT,
    START_BUDGET,
    NodeBudget,
    ReceiveWindow,
    SendBudget,
    SendWindow,
    SessionBudget,
    allowance,
    opening_credit,
)

DRAIN_SECONDS: Final = 10.0  # wire §6
MAX_UNANSWERED_ECHOES: Final = 8  # wire §4


class SessionMachine:
    """One session.

    `hello` decides the role; `node` is the budget that the sessions of a process share.
    """

    def __init__(
        self, hello: LinkHello | CloudHello, *, now: float, node: NodeBudget | None = None
    ) -> None:
        self.closing: SessionClose | None = None
        self.ready = False
        self.peer_capabilities: frozenset[str] = frozenset()
        self.budget = SessionBudget(node)
        self._send_budget = SendBudget()
        self._hello = hello
        self._scheduler = Scheduler()
        self._strays = Strays(now)
        self._events: deque[SessionEvent] = deque()  # bounded: see the module's docstring
        self._error: WireError | None = None
        self._channels: dict[int, ChannelMachine] = {}
        self._next = hello.opens_first
        self._peer_next = 3 - hello.opens_first
        self._own_open = self._peer_open = self._peer_limit = 0
        self._capacity_wanted = False
        # credit that openers granted themselves and that no CREDIT has raised yet
        self._opening: dict[int, int] = {}
        self._peer_allowance = 0
        self._announced = self._tolerated = allowance(START_BUDGET)
        self._ending = self._goodbye_received = False
        self._drain: tuple[float, SessionClose] | None = None
        self._received_at = now
        self._echo_after, self._dead_after = MAX_ECHO_AFTER, MAX_DEAD_AFTER
        self._echoes: dict[int, float] = {}  # sent and not answered; at most MAX_UNANSWERED_ECHOES
        self._echo_id = 0
        self._probed = False
        hello.start(now)
        self._send_hello()

    # Called by the shell

    def receive_data(self, message: Frame, now: float) -> None:
        """Process one WebSocket message.

        It must not be changed afterwards: events are views into it.
        """
        if self.closing is not None:
            return
        self._received_at, self._probed = now, False
        try:
            self._receive(message, now)
        except WireError as error:
            self._fail(error)

    def receive_eof(
        self, now: float, code: int = 1006, text: str = "the connection was lost"
    ) -> None:
        """Handle that the WebSocket is closed, and with which code."""
        if self.closing is None:
            self._end(SessionClose(code, text or "the peer gave no reason", by_peer=True))

    def next_event(self) -> SessionEvent | Signal:
        """Pull the next event.

        Raises WireError once after a violation by the peer, then returns CLOSED.
        """
        if self._events:
            event = self._events.popleft()
            if isinstance(event, Readable):
                event.channel.readable_reported = False
            elif isinstance(event, Writable):
                event.channel.writable_reported = False
            elif isinstance(event, Opened):
                event.channel.announced = True
                if event.channel.waiting:
                    self.readable(event.channel)
            return event
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return NEED_DATA if self.closing is None else CLOSED

    def data_to_send(self) -> Frame:
        """Return one frame, the most urgent; empty when there is none."""
        frame, sender = self._scheduler.take()
        if frame is None:
            return b""
        if sender is not None:
            assert isinstance(sender, ChannelMachine)
            if frame[0] == FrameType.RESET:
                sender.reset_waiting = False
            elif frame[1] & FIN:
                sender.fin_sent = True
            self._retire_if_finished(sender)
        return frame

    @property
    def has_events(self) -> bool:
        """Return whether `next_event` has an event.

        Sending a channel's last frame can add one.
        """
        return bool(self._events) or self.closing is not None

    @property
    def sending(self) -> bool:
        """Return whether `data_to_send` may have a frame."""
        return self._scheduler.waiting

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is due.

        Received frames postpone it: there is no need to query it after each one.
        """
        if self.closing is not None:
            return None
        if not self.ready:
            return self._hello.deadline()
        due = self._received_at + (self._dead_after if self._probed else self._echo_after)
        return due if self._drain is None else min(due, self._drain[0])

    def handle_timeout(self, now: float) -> None:
        """Handle every deadline that `now` has reached."""
        if self.closing is not None:
            return
        try:
            self._time_out(now)
        except WireError as error:
            self._fail(error)

    def _time_out(self, now: float) -> None:
        deadline = self._hello.deadline()
        if deadline is not None and now >= deadline:
            self._hello.time_out()
        if not self.ready:
            return
        silence = now - self._received_at
        if silence >= self._dead_after:
            raise WireError(
                f"nothing was received for {self._dead_after:g} s (wire §4)", CloseCode.DEADLINE
            )
        if silence >= self._echo_after and not self._probed:
            self._probed = True
            if len(self._echoes) < MAX_UNANSWERED_ECHOES:
                self.echo(now)
        if self._drain is not None and now >= self._drain[0]:
            self._end(self._drain[1])

    # Called by the owner

    @property
    def can_open(self) -> bool:
        """Return whether the peer allows one more channel."""
        self._capacity_wanted = self._own_open >= self._peer_limit
        return not self._capacity_wanted

    def open(
        self,
        call: str,
        body: bytes,
        priority: ChannelPriority,
        *,
        now: float,
        fin: bool = False,
    ) -> ChannelMachine:
        """Open a channel with the call's first message.

        Raises LocalProtocolError before welcome, after goodbye, and beyond the peer's limit.
        """
        if not self.ready or self._ending or self.closing is not None:
            raise LocalProtocolError("a channel can be opened only between welcome and goodbye")
        if not self.can_open:
            raise LocalProtocolError(f"the peer allows {self._peer_limit} channels at a time")
        taken = sum(size for number, size in self._opening.items() if number % 2 == self._next % 2)
        credit = 0 if fin else opening_credit(max(0, self._peer_allowance - taken))
        opening = Opening(call=call, priority=priority, credit=credit, body=body)
        frame = opening_frame(self._next, opening, fin=fin)
        if len(frame) > MAX_FRAME:
            raise LocalProtocolError(
                f"the first message of {call} takes {len(body)} bytes and does not fit into a frame"
            )
        channel = self._add(
            self._next, opening, SendWindow(credit, self._send_budget), INITIAL_LIMIT, now
        )
        self._next += 2
        self._own_open += 1
        channel.step(ChannelInput.SEND_OPEN)
        if fin:
            channel.step(ChannelInput.SEND_FIN)
        self._scheduler.control(frame, channel)
        return channel

    def echo(self, now: float) -> int:
        """Send an echo; RoundTrip with the same id will report how long it took."""
        if len(self._echoes) >= MAX_UNANSWERED_ECHOES:
            raise LocalProtocolError(f"{MAX_UNANSWERED_ECHOES} echoes are unanswered")
        self._echo_id += 1
        self._echoes[self._echo_id] = now
        self._scheduler.urgent(control_frame(Echo(id=self._echo_id)))
        return self._echo_id

    def goodbye(
        self, reason: GoodbyeReason, now: float, *, detail: str = "", retry_after: float = 0.0
    ) -> None:
        """End the session.

        `draining` lets channels end within 10 s, any other reason ends them now (wire §6).
        """
        if self.closing is not None or self._drain is not None:
            return
        self._ending = True
        self._scheduler.control(
            control_frame(Goodbye(reason=reason, detail=detail, retry_after=retry_after))
        )
        close = SessionClose(
            CloseCode.REPLACED if reason is GoodbyeReason.REPLACED else CloseCode.DONE, reason.value
        )
        if reason is GoodbyeReason.DRAINING and self._channels:
            self._drain = (now + DRAIN_SECONDS, close)
        else:
            self._end(close)

    def close(self, code: CloseCode, text: str) -> None:
        """End the session now, without goodbye."""
        if self.closing is None:
            self._end(SessionClose(code, text or code.name.lower()))

    def welcome(
        self,
        *,
        session: bytes,
        epoch: int,
        time: float,
        echo_after: float = MAX_ECHO_AFTER,
        dead_after: float = MAX_DEAD_AFTER,
    ) -> None:
        """Accept the Link after HelloReceived; `session` is 16 random bytes, `time` UTC seconds."""
        hello = self._cloud_hello()
        self._establish(
            hello.welcome(
                session=session,
                epoch=epoch,
                time=time,
                echo_after=echo_after,
                dead_after=dead_after,
            )
        )
        self._send_hello()

    def refuse(self, reason: RefuseReason, detail: str = "", *, retry_after: float = 0.0) -> None:
        """Refuse the Link after HelloReceived."""
        self._refused(
            self._cloud_hello().refuse(reason, detail, retry_after=retry_after), by_peer=False
        )
        self._send_hello()

    def _cloud_hello(self) -> CloudHello:
        if not isinstance(self._hello, CloudHello) or self.closing is not None:
            raise LocalProtocolError(
                "only the Cloud accepts or refuses a Link, and only during its hello"
            )
        return self._hello

    # Received frames

    def _receive(self, message: Frame, now: float) -> None:
        if len(message) > MAX_FRAME:
            raise WireError(f"a message of {len(message)} bytes (wire §1)", CloseCode.TOO_LONG)
        if len(message) < HEADER.size:
            raise WireError(f"a message of {len(message)} bytes is no frame (wire §2)")
        kind, flags, _, number = HEADER.unpack_from(message)
        if kind == FrameType.CONTROL:
            if number:
                raise WireError("CONTROL on a channel (wire §2)")
            self._receive_control(memoryview(message)[HEADER.size :], now)
            return
        if kind > FrameType.RESET:
            self._strays.unknown(now)
            return  # a frame of unknown type is ignored (wire §2)
        if not self.ready:
            raise WireError(f"{FrameType(kind).name} before welcome (wire §3)")
        if kind == FrameType.OPEN:
            self._receive_opening(flags, number, memoryview(message)[HEADER.size :], now)
            return
        channel = self._channels.get(number)
        if channel is not None:
            self._receive_on(channel, kind, flags, message, now)
        elif not self._was_open(number):
            raise WireError(
                f"{FrameType(kind).name} on channel {number}, which was never opened (wire §2)"
            )
        else:
            self._receive_stray(kind, message, now)

    def _receive_stray(self, kind: int, message: Frame, now: float) -> None:
        """Count a frame on a channel that has ended."""
        carries = kind in (FrameType.DATA, FrameType.MESSAGE)
        self._strays.on_ended(max(1, len(message) - HEADER.size) if carries else 1, now)

    def _receive_on(
        self, channel: ChannelMachine, kind: int, flags: int, message: Frame, now: float
    ) -> None:
        # each side sends one RESET at most: it is no stray frame
        if channel.over and kind != FrameType.RESET:
            self._strays.channel_ended(channel.take_in_flight())
            self._receive_stray(kind, message, now)
        if kind == FrameType.DATA:
            size = channel.receive_data(message, flags)
            if self.budget.arrived(size, now):
                self._announce_budget()
            if channel.state is ChannelState.OPEN:
                return
        elif kind == FrameType.MESSAGE:
            channel.receive_message(message, flags)
        elif kind == FrameType.CREDIT:
            channel.receive_credit(memoryview(message)[HEADER.size :])
            self._wake_short()
        else:
            channel.receive_reset(memoryview(message)[HEADER.size :])
            if not channel.announced and channel.over:
                self._events.remove(Opened(channel))  # reset before it was pulled
                channel.announced = True
        if channel.reset_waiting and (
            kind == FrameType.RESET or (channel.fin_sent and flags & FIN)
        ):
            # the channel has ended for the peer, which needs no RESET and may open another already
            channel.reset_waiting = False
            self._scheduler.withdraw(channel)
        self._retire_if_finished(channel)

    def _was_open(self, number: int) -> bool:
        return 0 < number < (self._next if number % 2 == self._next % 2 else self._peer_next)

    def _receive_opening(self, flags: int, number: int, payload: memoryview, now: float) -> None:
        if number % 2 != self._peer_next % 2 or number < self._peer_next:
            raise WireError(f"channel {number} cannot be opened by the peer now (wire §2)")
        if self._peer_open >= self._hello.channels:
            raise WireError(f"more than {self._hello.channels} channels (wire §6)", CloseCode.LIMIT)
        opening = read_opening(payload)
        granted = opening.credit + sum(
            size
            for other, size in self._opening.items()
            if other % 2 == number % 2 and not self._channels[other].receiving.raised
        )
        if granted > self._tolerated:
            raise WireError(
                f"openers grant themselves {granted} bytes; {self._tolerated} are allowed"
                " (wire §5)",
                CloseCode.LIMIT,
            )
        self._peer_next = number + 2
        self._peer_open += 1
        channel = self._add(
            number, opening, SendWindow(INITIAL_LIMIT, self._send_budget), opening.credit, now
        )
        channel.step(ChannelInput.RECEIVE_OPEN)
        if flags & FIN:
            channel.receive_fin()
        self._accept(channel, now)

    def _accept(self, channel: ChannelMachine, now: float) -> None:
        if self._ending:
            channel.reset(ResetReason.UNAVAILABLE, "the session is ending")
        else:
            channel.accept(now)
            channel.announced = False
            self._events.append(Opened(channel))

    def _receive_control(self, payload: memoryview, now: float) -> None:
        message = read_control(payload)
        if message is None:
            self._strays.unknown(now)
            return
        if not self.ready:
            self._hello_event(self._hello.receive(message, now))
            self._send_hello()
            return
        match message:
            case Echo():
                if self._scheduler.urgent_waiting >= MAX_UNANSWERED_ECHOES + len(self._echoes):
                    raise WireError("too many echoes are unanswered (wire §4)", CloseCode.LIMIT)
                self._scheduler.urgent(control_frame(Echoed(id=message.id)))
            case Echoed():
                sent = self._echoes.pop(message.id, None)
                if sent is None:
                    raise WireError("`echoed` without its `echo` (wire §4)")
                self._events.append(RoundTrip(message.id, now - sent))
            case Budget():
                self._peer_allowance = allowance(message.bytes)
            case Goodbye():
                self._ending = True
                if not self._goodbye_received:
                    self._goodbye_received = True
                    self._events.append(GoodbyeReceived(message))
            case _:
                self._hello.receive(message, now)  # a violation: its table has no row for it

    def _hello_event(self, event: HelloEvent | None) -> None:
        if event is None:
            return
        self._events.append(event)
        if isinstance(event, HelloAccepted):
            self._establish(event)
        elif isinstance(event, Refused):
            self._refused(event, by_peer=isinstance(self._hello, LinkHello))

    def _establish(self, accepted: HelloAccepted) -> None:
        self.ready = True
        self._peer_limit = accepted.peer_channels
        self.peer_capabilities = frozenset(accepted.peer_capabilities)
        self._peer_allowance = allowance(accepted.peer_budget)
        self._echo_after, self._dead_after = (
            accepted.welcome.echo_after,
            accepted.welcome.dead_after,
        )

    def _refused(self, refused: Refused, *, by_peer: bool) -> None:
        self._end(
            SessionClose(
                CloseCode.REFUSED,
                f"{refused.refuse.reason}: {refused.refuse.detail}"[:120],
                by_peer,
            )
        )

    def _send_hello(self) -> None:
        while self._hello.outbox:
            self._scheduler.control(control_frame(self._hello.outbox.popleft()))

    def _announce_budget(self) -> None:
        share = allowance(self.budget.total)
        if share != self._announced:
            self._announced = share
            # the peer may use what was announced before (wire §5)
            self._tolerated = max(self._tolerated, share)
            self._scheduler.control(control_frame(Budget(bytes=self.budget.total)))

    # Opening and ending of channels

    def _add(
        self, number: int, opening: Opening, send: SendWindow, limit: int, now: float
    ) -> ChannelMachine:
        channel = ChannelMachine(
            number, opening, self, send, ReceiveWindow(limit, self.budget, now)
        )
        self._channels[number] = channel
        if opening.credit:
            self._opening[number] = opening.credit
        return channel

    def _retire_if_finished(self, channel: ChannelMachine) -> None:
        """Discard a channel once it has ended and its last frame was sent.

        Only then may another channel be opened in its place.
        """
        if not channel.finished or self._channels.pop(channel.number, None) is None:
            return
        self._opening.pop(channel.number, None)
        self._strays.channel_ended(channel.take_in_flight())
        channel.sending.end()
        self._wake_short()
        if channel.number % 2 == self._next % 2:
            self._own_open -= 1
            if self._capacity_wanted:
                self._capacity_wanted = False
                self._events.append(ChannelsAvailable())
        else:
            self._peer_open -= 1
        if self._drain is not None and not self._channels:
            self._end(self._drain[1])

    def _fail(self, error: WireError) -> None:
        self._error = error
        self._scheduler.clear()  # wire §9: nothing more is sent
        self._end(SessionClose(error.code, str(error)))

    def _end(self, close: SessionClose) -> None:
        self.closing = close
        for channel in list(self._channels.values()):
            channel.lose_session(close.text)
        self._channels.clear()
        self.budget.close()
        if self._capacity_wanted:
            self._events.append(ChannelsAvailable())

    # Called by channels (channel.Owner)

    def send_control(self, frame: Frame, channel: ChannelMachine) -> None:
        self._scheduler.control(frame, channel)

    def send_credit(self, channel: ChannelMachine) -> None:
        self._scheduler.credit(channel)

    def send_frames(self, channel: ChannelMachine) -> None:
        self._scheduler.ready(channel)

    def readable(self, channel: ChannelMachine) -> None:
        if channel.announced and not channel.readable_reported:
            channel.readable_reported = True
            self._events.append(Readable(channel))

    def writable(self, channel: ChannelMachine) -> None:
        if channel.number % 2 == self._next % 2:
            self._opening.pop(channel.number, None)
        self._report_writable(channel)

    def _wake_short(self) -> None:
        """Report Writable on channels that wait for this side's own budget."""
        if self._send_budget.waiting:  # a channel below its floor may send in any case
            for channel in self._channels.values():
                if channel.sending.wake():
                    self._report_writable(channel)

    def _report_writable(self, channel: ChannelMachine) -> None:
        if channel.announced and not channel.writable_reported:
            channel.writable_reported = True
            self._events.append(Writable(channel))
