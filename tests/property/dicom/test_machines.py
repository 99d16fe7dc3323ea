"""Whatever way the bytes are cut, the same happens.

Whatever the peer sends, the machine answers with events or one violation.
"""

import contextlib
import random
import struct
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.dicom import commands, uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.dimse import CommandReceived, Dimse
from swallowtail.dicom.indications import Released, ReleaseRequested
from swallowtail.dicom.negotiation import answer
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.dicom.violations import ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, Signal
from tests.dicom.pair import (
    CT,
    CT_CONTEXT,
    ECHO_CONTEXT,
    POLICY,
    SMALL_POLICY,
    SMALL_REQUEST,
    End,
    Pair,
)

LIMITS = Limits()
DATA_SETS = st.lists(st.binary(max_size=3000), min_size=1, max_size=3)


def _pieces(data_set: bytes, rng: random.Random) -> Iterator[tuple[memoryview, bool]]:
    """Cut anywhere, with nothing in between now and then.

    The end is told with the last bytes or after them.
    """
    view = memoryview(data_set)
    while view:
        size = rng.choice([0, 1, rng.randint(1, len(view)), len(view)])
        ends = size == len(view) and rng.random() < 0.5
        yield view[:size], ends
        if ends:
            return
        view = view[size:]
    yield view, True


def _story(pair: Pair, data_sets: list[bytes], pieces: random.Random) -> None:
    """Echo, store each data set, release."""
    sender, receiver = pair.requestor.machine, pair.acceptor.machine
    pair.associate(SMALL_REQUEST, SMALL_POLICY)
    sender.send(
        ECHO_CONTEXT, commands.echo_request(sender.new_message_id(), uids.VERIFICATION), 0.0
    )
    pair.exchange()
    receiver.send(ECHO_CONTEXT, commands.response_to(pair.acceptor.events[0].command, 0), 0.0)
    pair.exchange()
    for data_set in data_sets:
        command = commands.store_request(sender.new_message_id(), CT, f"1.2.{len(data_set)}")
        sender.send(CT_CONTEXT, command, 0.0)
        for piece, last in _pieces(data_set, pieces):
            sender.send_data(piece, 0.0, last=last)
        pair.exchange()
        receiver.send(CT_CONTEXT, commands.response_to(command, 0), 0.0)
        pair.exchange()
    sender.release(0.0)
    pair.exchange()
    receiver.release(0.0)
    pair.exchange()


@given(DATA_SETS, st.integers(0, 2**32), st.integers(1, 64))
def test_any_chunking_gives_the_same_events(
    data_sets: list[bytes], seed: int, buffer_size: int
) -> None:
    rng = random.Random(seed)
    whole = Pair(LIMITS)
    _story(whole, data_sets, random.Random(seed))
    cut = Pair(LIMITS, cut=lambda size: rng.randint(1, min(size, 200)), buffer_size=buffer_size)
    _story(cut, data_sets, random.Random(seed))
    for one, other in ((whole.acceptor, cut.acceptor), (whole.requestor, cut.requestor)):
        assert one.events == other.events
        assert one.sent == other.sent
    stored = [event[1] for event in whole.acceptor.events if isinstance(event, tuple)]
    assert stored == data_sets
    assert isinstance(whole.acceptor.events[-1], ReleaseRequested)
    assert whole.requestor.events[-1] == Released()
    assert [
        event.command.status
        for event in whole.requestor.events
        if isinstance(event, CommandReceived)
    ] == [0] * (len(data_sets) + 1)
    assert whole.pool.lent == cut.pool.lent == 0
    assert all(
        end.machine.finished
        for end in (whole.acceptor, whole.requestor, cut.acceptor, cut.requestor)
    )


@given(DATA_SETS, st.integers(0, 2**32))
def test_fragments_are_even_and_fit(data_sets: list[bytes], seed: int) -> None:
    pair = Pair(LIMITS)
    _story(pair, data_sets, random.Random(seed))
    raw, at = bytes(pair.requestor.sent), 0
    while at < len(raw):
        length = int.from_bytes(raw[at + 2 : at + 6])
        if raw[at] == 4:
            assert length <= SMALL_POLICY.max_pdu
            assert int.from_bytes(raw[at + 6 : at + 10]) == length - 4, "one PDV per PDU"
            last = raw[at + 11] & 2
            assert last or length % 2 == 0, "only the end of an odd data set is odd"
        at += 6 + length


def _feed(machine: Dimse, raw: bytes, rng: random.Random) -> int:
    """Feed cut bytes, answer what comes; the number of violations."""
    violations = 0
    view = memoryview(raw)
    while view:
        size = rng.randint(1, min(len(view), 100))
        machine.receive_data(view[:size], 0.0)
        view = view[size:]
        try:
            while not isinstance(event := machine.next_event(), Signal):
                if isinstance(request := getattr(event, "request", None), AssociateRQ):
                    machine.accept(answer(request, POLICY), 0.0)
                elif isinstance(event, ReleaseRequested):
                    machine.release(0.0)
        except ViolationError:
            violations += 1
            assert machine.next_event() is CLOSED
            assert machine.data_to_send()[-10:-9] in {b"\x07", b"\x03"}, (
                "an A-ABORT, or the rejection of an odd A-ASSOCIATE-RQ"
            )
            assert machine.next_timeout() is not None
    return violations


@given(st.binary(max_size=2000), st.integers(0, 2**32), st.booleans())
def test_garbage_gives_one_violation_and_then_nothing(
    raw: bytes, seed: int, associated: bool
) -> None:
    pool = BufferPool(64)
    machine = Dimse(LIMITS, pool, 0.0)
    machine.accepted_transport(0.0)
    rng = random.Random(seed)
    if associated:
        pair = Pair(LIMITS)
        pair.associate()
        machine, pool = pair.acceptor.machine, pair.pool
    assert _feed(machine, raw, rng) <= 1
    machine.receive_eof(1.0)
    while not isinstance(machine.next_event(), Signal):
        pass
    assert machine.next_event() is CLOSED
    assert machine.finished
    assert pool.lent == 0


@given(st.data(), st.integers(0, 2**32))
def test_a_damaged_conversation_gives_at_most_one_violation(data: st.DataObject, seed: int) -> None:
    pair = Pair(LIMITS)
    _story(pair, [b"heron" * 100], random.Random(seed))
    raw = bytearray(pair.requestor.sent)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    machine = Dimse(LIMITS, BufferPool(64), 0.0)
    machine.accepted_transport(0.0)
    assert _feed(machine, bytes(raw), random.Random(seed)) <= 1


@given(DATA_SETS, st.integers(0, 2**32))
def test_any_packing_of_fragments_gives_the_same_messages(
    data_sets: list[bytes], seed: int
) -> None:
    """PS3.8 E.1: a P-DATA-TF may hold any number of PDVs, of several messages too."""
    rng = random.Random(seed)
    pdvs: list[bytes] = []
    for number, data_set in enumerate(data_sets, start=1):
        for kind, whole in (
            (1, commands.encode(commands.store_request(number, CT, f"1.2.{number}"))),
            (0, data_set),
        ):
            pieces = _cut(whole, rng)
            pdvs += [
                struct.pack(">IBB", len(piece) + 2, CT_CONTEXT, kind | 2 * (n == len(pieces)))
                + piece
                for n, piece in enumerate(pieces, start=1)
            ]
    stream = b""
    while pdvs:
        body = b"".join(pdvs[: (count := rng.randint(1, 5))])
        del pdvs[:count]
        stream += struct.pack(">BxI", 4, len(body)) + body
    pair = Pair(buffer_size=rng.randint(1, 100))
    pair.associate()
    for piece in _cut(stream, rng):
        pair.acceptor.machine.receive_data(piece, 0.0)
        pair.acceptor.pull()
    messages = [
        event[1] if isinstance(event, tuple) else event.command.sop_instance
        for event in pair.acceptor.events
    ]
    assert messages == [
        part for n, data_set in enumerate(data_sets, start=1) for part in (f"1.2.{n}", data_set)
    ]


def _cut(whole: bytes, rng: random.Random) -> list[bytes]:
    """Pieces of any size, an empty one perhaps at the end."""
    pieces = []
    while whole:
        size = rng.randint(1, len(whole))
        pieces.append(whole[:size])
        whole = whole[size:]
    return pieces + [b""] * (rng.random() < 0.3 or not pieces)


OPERATIONS = (
    "echo",
    "answer",
    "release",
    "abort",
    "carry",
    "carry",
    "carry back",
    "carry back",
    "wait",
    "eof",
)
STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(OPERATIONS)), max_size=40)


@given(STEPS)
def test_two_honest_machines_never_accuse_each_other(steps: list[tuple[bool, str]]) -> None:
    """Whatever both sides do and in whatever order the bytes arrive.

    No violation, and both can always end.
    """
    pair = Pair(Limits(idle=50.0, answer=20.0))
    pair.associate()
    for by_requestor, operation in steps:
        here, there = (
            (pair.requestor, pair.acceptor) if by_requestor else (pair.acceptor, pair.requestor)
        )
        with contextlib.suppress(LocalProtocolError):  # not allowed in this state: nothing was sent
            _operate(pair, here, there, operation)
    pair.exchange()
    for end in (pair.requestor, pair.acceptor):
        with contextlib.suppress(LocalProtocolError):
            end.machine.abort(pair.now)
    pair.exchange()
    for end in (pair.requestor, pair.acceptor):
        while (due := end.machine.next_timeout()) is not None:
            pair.now = max(pair.now, due)
            end.machine.handle_timeout(pair.now)
        assert end.pull() is CLOSED
        assert end.machine.finished
    assert pair.pool.lent == 0


def _operate(pair: Pair, here: End, there: End, operation: str) -> None:
    match operation:
        case "echo":
            here.machine.send(
                ECHO_CONTEXT,
                commands.echo_request(here.machine.new_message_id(), uids.VERIFICATION),
                pair.now,
            )
        case "answer":
            for message_id in here.machine._owed:
                asked = commands.echo_request(message_id, uids.VERIFICATION)
                here.machine.send(ECHO_CONTEXT, commands.response_to(asked, 0), pair.now)
                break
        case "release":
            here.machine.release(pair.now)
        case "abort":
            here.machine.abort(pair.now)
        case "carry":
            pair.carry(here, there)
        case "carry back":
            pair.carry(there, here)
        case "wait":
            pair.now += 7.0
            for end in (here, there):
                if (due := end.machine.next_timeout()) is not None and due <= pair.now:
                    end.machine.handle_timeout(pair.now)
                end.pull()
        case "eof" if here.machine.finished:
            there.machine.receive_eof(pair.now)
            there.pull()
