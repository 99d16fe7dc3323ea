"""Two real sessions, any interleaving.

Bytes arrive in order, budgets hold, nobody stalls another, garbage is the peer's fault.
"""

import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire import control, frames
from swallowtail.wire.channel import ChannelMachine, Data, End, Message, WasReset
from swallowtail.wire.events import Opened
from swallowtail.wire.frames import ChannelPriority, FrameType, Opening
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.window import FLOOR, MAX_CHANNEL_WINDOW, NodeBudget
from tests.modes import amount
from tests.unit.wire.pair import Pair, cloud_hello, drain, link_hello

DICE = st.integers(0, 2**32 - 1).map(
    random.Random
)  # a seed prints and shrinks better than every throw
BODY = random.Random(1).randbytes(3_000_000)


class Reader:
    """Pulls what a channel brings; consumes later, in pieces, as the dice say."""

    def __init__(self, channel: ChannelMachine, random_source: random.Random, now) -> None:
        self.channel, self.random_source, self.now = channel, random_source, now
        self.body, self.messages, self.owed, self.end = bytearray(), [], 0, None

    def step(self) -> None:
        event = self.channel.next_event(self.now())
        if isinstance(event, Data):
            self.body += event.view
            self.owed += len(event.view)
        elif isinstance(event, Message):
            self.messages.append((len(self.body), event.body))
        elif isinstance(event, End | WasReset):
            self.end = event
        if self.owed:
            size = self.random_source.choice((self.owed, self.random_source.randint(1, self.owed)))
            self.owed -= size
            self.channel.consumed(size, self.now())


class Writer:
    """Sends a body in pieces of any size, a message here and there, then finishes."""

    def __init__(
        self, channel: ChannelMachine, size: int, random_source: random.Random, now
    ) -> None:
        self.channel, self.random_source, self.now = channel, random_source, now
        self.body, self.done, self.messages, self.finished = memoryview(BODY)[:size], 0, [], False

    def step(self) -> None:
        if self.finished:
            return
        if self.done == len(self.body):
            self.finished = True
            self.channel.finish()
            return
        match self.random_source.randrange(8):
            case 0:
                self.channel.flush()
            case 1:
                message = self.random_source.randbytes(self.random_source.choice((1, 5, 60_000)))
                if self.channel.message(message):
                    self.messages.append((self.done, message))
            case _:
                piece = self.random_source.choice((1, 100, 5_000, 70_000, 400_000))
                self.done += self.channel.write(self.body[self.done : self.done + piece])


def check_windows(pair: Pair) -> None:
    for machine in (pair.link, pair.cloud):
        for channel in machine._channels.values():
            assert channel.sending.credit >= 0
            assert channel.sending.received <= channel.sending.sent <= channel.sending.limit
            assert (
                channel.receiving.consumed <= channel.receiving.arrived <= channel.receiving.limit
            )
            assert channel.receiving.limit - channel.receiving.consumed <= MAX_CHANNEL_WINDOW
        live = list(machine._channels.values())
        floors = FLOOR * len(live)
        assert sum(channel.receiving.held for channel in live) <= machine.budget.total + floors
        assert machine.budget.held >= 0
        node = machine.budget._node
        assert node is None or 0 <= node.held <= node.total + floors


@given(
    DICE,
    st.lists(st.sampled_from([0, 1, 65_527, 65_529, 700_000, 3_000_000]), min_size=1, max_size=5),
)
@settings(max_examples=amount(25, 300))
def test_any_interleaving_delivers_every_byte_in_order_within_the_budgets(random_source, sizes):
    node = NodeBudget(2 << 20)
    pair = Pair(node=node)
    writers, readers = [], []

    def now() -> float:
        return pair.now

    def turn() -> None:
        pair.now += random_source.choice((0, 0.0001, 0.01))
        for writer in writers:
            writer.step()
        readers.extend(
            Reader(event.channel, random_source, now)
            for event in pair.events["cloud"]
            if isinstance(event, Opened)
        )
        pair.events["cloud"].clear()
        for reader in readers:
            reader.step()
        check_windows(pair)

    for size in sizes:
        channel = pair.link.open(
            "store", b"body", random_source.choice(list(ChannelPriority)), now=0.0
        )
        writers.append(Writer(channel, size, random_source, now))
    while not (
        len(readers) == len(sizes) and all(reader.end and not reader.owed for reader in readers)
    ):
        pair.run(random_source, each=turn)
        turn()
    for writer, reader in zip(writers, readers, strict=True):
        assert reader.body == writer.body
        assert reader.messages == writer.messages
        assert reader.end == End()
        reader.channel.finish()
    pair.run()
    assert pair.link.closing is pair.cloud.closing is None
    assert not pair.link._channels
    assert not pair.cloud._channels
    assert pair.cloud.budget.held == node.held == pair.cloud.budget.receiving == 0


@given(DICE, st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=amount(15, 200))
def test_channels_that_nobody_reads_hold_up_no_other(random_source, stuck, lively):
    pair = Pair()
    owners = []
    for index in range(stuck + lively):
        ours, theirs = pair.open()
        size = 1_500_000 if index >= stuck else 3_000_000
        owners.append(
            (
                Writer(ours, size, random_source, lambda: pair.now),
                Reader(theirs, random_source, lambda: pair.now),
            )
        )

    def turn() -> None:
        for index, (writer, reader) in enumerate(owners):
            writer.step()
            if index >= stuck:
                reader.step()
        check_windows(pair)

    for _ in range(1_000):
        pair.run(random_source, each=turn)
        turn()
        if all(reader.end for _, reader in owners[stuck:]):
            break
    for writer, reader in owners[stuck:]:
        assert reader.body == writer.body
    for writer, _ in owners[:stuck]:
        assert not writer.finished
        assert writer.channel.sending.credit == 0


def some_frame(draw) -> bytes:
    kind = draw(st.integers(0, 8))
    number = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 99, 2**32 - 1]))
    flags = draw(st.sampled_from([0, 1, 0xFE]))
    payload = draw(
        st.one_of(
            st.binary(max_size=60),
            st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(
                lambda pair: struct.pack(">QQ", *pair)
            ),
            st.sampled_from(CONTROLS),
            st.sampled_from(OPENINGS),
        )
    )
    return struct.pack(">BBHI", kind, flags, draw(st.integers(0, 65535)), number) + payload


CONTROLS = [
    control.control_frame(message)[8:]
    for message in (
        control.Echo(id=3),
        control.Echoed(id=1),
        control.Budget(bytes=0),
        control.Goodbye(reason="draining"),
        control.Refuse(reason="new", retry_after=5.0),
        control.Challenge(versions=(1, 9), nonce=b"n" * 32),
    )
]
OPENINGS = [
    frames.opening_frame(
        1, Opening(call="c", priority=ChannelPriority.BULK, credit=credit), fin=False
    )[8:]
    for credit in (0, 100_000, 1 << 20)
]


@st.composite
def garbage(draw):
    return draw(
        st.lists(st.one_of(st.binary(max_size=80), st.composite(some_frame)()), max_size=40)
    )


@given(garbage(), st.sampled_from(["link", "cloud", "young link", "young cloud"]), st.data())
@settings(max_examples=amount(300, 20_000))
def test_garbage_gives_a_remote_error_with_a_close_code_or_nothing(messages, victim, data):
    if victim.startswith("young"):
        machine = SessionMachine(link_hello() if victim == "young link" else cloud_hello(), now=0.0)
    else:
        pair = Pair()
        pair.open()
        machine = pair.link if victim == "link" else pair.cloud
    errors = []
    for index, message in enumerate(messages):
        machine.receive_data(message, float(index) / 10)
        try:
            for event in drain(machine):
                if isinstance(event, Opened) and data.draw(st.booleans()):
                    event.channel.reset(ResetReason.UNKNOWN_CALL)
        except WireError as error:
            errors.append(error)
        while machine.data_to_send():
            if data.draw(st.booleans()):
                break
    if errors:
        assert machine.next_event() is CLOSED
        assert len(errors) == 1
        assert machine.closing.code == errors[0].code in set(CloseCode)
        assert errors[0].code not in (CloseCode.DONE, CloseCode.INTERNAL)
        assert not machine.data_to_send()
    else:
        assert machine.next_event() in (NEED_DATA, CLOSED)


@given(st.lists(st.binary(max_size=100), max_size=10), st.booleans())
def test_frames_read_what_they_wrote(payloads, fin):
    for payload in payloads:
        built = frames.frame(FrameType.DATA, 77, payload, fin=fin)
        assert frames.HEADER.unpack_from(built) == (FrameType.DATA, int(fin), 0, 77)
        assert built[8:] == payload


@given(
    st.text(max_size=64),
    st.sampled_from(ChannelPriority),
    st.integers(0, 1 << 20),
    st.binary(),
)
def test_openings_read_what_they_wrote(call, priority, credit, body):
    opening = Opening(call=call, priority=priority, credit=credit, body=body)
    assert (
        frames.read_opening(memoryview(frames.opening_frame(3, opening, fin=True))[8:]) == opening
    )


@given(
    st.text(),
    st.sampled_from([reason for reason in ResetReason if reason is not ResetReason.SESSION_LOST]),
)
def test_resets_read_what_they_wrote_up_to_256_bytes(text, reason):
    text = text.encode("utf-8", "replace").decode()
    read = frames.read_reset(memoryview(frames.reset_frame(3, reason, text))[8:])
    assert read[0] is reason
    assert text.startswith(read[1])
    assert len(read[1].encode()) > 252 or read[1] == text
