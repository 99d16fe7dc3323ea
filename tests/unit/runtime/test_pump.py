"""The pump against a transport that only records its calls, and a machine that only echoes."""

import asyncio
from typing import Any

import pytest

from swallowtail.runtime.pump import DISCARD_LIMIT, TURN, UNREAD_LIMIT, Pump
from swallowtail.sansio.machine import CLOSED, NEED_DATA, Signal


class Recorder(asyncio.Transport):
    """Notes what a protocol asks of its transport."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.written = b""
        self.unsent = 0
        self.lost = False

    def is_closing(self) -> bool:
        return self.lost

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class Lines:
    """A machine whose events are lines; `?` raises, `bye` closes, EOF finishes."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.space = bytearray(1 << 20)
        self.out = b""
        self.closed = self.finished = False
        self.due: float | None = None
        self.timeouts = 0
        self.asked = 0
        self.reading = True

    def get_buffer(self, size_hint: int) -> memoryview:
        return memoryview(self.space)

    def buffer_updated(self, nbytes: int, now: float) -> None:
        if not self.closed:
            self.buffer += self.space[:nbytes]

    def receive_data(self, data: Any, now: float) -> None:
        raise NotImplementedError

    def receive_eof(self, now: float) -> None:
        self.closed = self.finished = True

    def next_event(self) -> bytes | Signal:
        if self.closed:
            return CLOSED
        line, found, rest = self.buffer.partition(b"\n")
        if not found:
            return NEED_DATA
        self.buffer = rest
        if line == b"?":
            self.out += b"what?"
            raise ValueError("what?")
        if line == b"bye":
            self.closed = True
            return CLOSED
        return bytes(line)

    def data_to_send(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def next_timeout(self) -> float | None:
        self.asked += 1
        return self.due

    def handle_timeout(self, now: float) -> None:
        self.timeouts += 1
        self.due = None
        self.closed = self.finished = True

    def reading_paused(self, now: float) -> None:
        self.reading = False

    def reading_resumed(self, now: float) -> None:
        self.reading = True


@pytest.fixture
async def machine() -> Lines:
    return Lines()


@pytest.fixture
async def transport() -> Recorder:
    return Recorder()


@pytest.fixture
async def pump(machine: Lines, transport: Recorder) -> Pump[bytes]:
    pump: Pump[bytes] = Pump(machine)
    pump.connection_made(transport)
    return pump


def _arrive(pump: Pump[bytes], data: bytes) -> None:
    pump.get_buffer(-1)[: len(data)] = data
    pump.buffer_updated(len(data))


async def test_reading_follows_the_consumer(
    pump: Pump[bytes], machine: Lines, transport: Recorder
) -> None:
    _arrive(pump, b"one\ntwo\n")
    assert (transport.calls, machine.reading) == (["pause"], False)
    _arrive(pump, b"three\n")  # as Windows may do
    assert transport.calls == ["pause"]
    assert [await pump.next_event() for _ in range(3)] == [b"one", b"two", b"three"]
    assert transport.calls == ["pause"], "the buffer is not empty before somebody asks in vain"
    waiting = asyncio.ensure_future(pump.next_event())  # noqa: TID251 - the test's own
    await asyncio.sleep(0)
    assert (transport.calls, machine.reading) == (["pause", "resume"], True)
    _arrive(pump, b"four\n")
    assert transport.calls == ["pause", "resume"], "a consumer waits"
    assert await waiting == b"four"


async def test_a_peer_that_takes_nothing_is_cut(machine: Lines, transport: Recorder) -> None:
    pump: Pump[bytes] = Pump(machine, stall=0.02)
    pump.connection_made(transport)
    transport.unsent = 100_000
    pump.pause_writing()
    began = asyncio.get_running_loop().time()
    transport.unsent = 90_000
    await asyncio.wait_for(_until(lambda: "abort" in transport.calls), 10)
    assert asyncio.get_running_loop().time() - began >= 0.04, "once it took something"
    pump.connection_lost(None)


async def test_a_flood_of_events_leaves_others_their_turn(pump: Pump[bytes]) -> None:
    _arrive(pump, b"x\n" * 3 * TURN)
    turns = 0

    def other() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(other)

    other()
    for _ in range(3 * TURN):
        await pump.next_event()
    assert turns >= 3


@pytest.mark.parametrize("lost", [False, True])
async def test_a_peer_that_reads_no_answers_is_not_read(
    pump: Pump[bytes], transport: Recorder, lost: bool
) -> None:
    _arrive(pump, b"one\n")
    transport.unsent = UNREAD_LIMIT + 1
    pump.pause_writing()
    waiting = asyncio.ensure_future(pump.next_event())  # noqa: TID251
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    transport.unsent = 0
    if lost:
        pump.connection_lost(None)
        assert await waiting is CLOSED
    else:
        pump.resume_writing()
        assert await waiting == b"one"


async def test_cancelling_loses_nothing(pump: Pump[bytes]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pump.next_event(), 0.001)
    _arrive(pump, b"one\n")
    assert await pump.next_event() == b"one"


async def test_what_a_violation_says_is_written(pump: Pump[bytes], transport: Recorder) -> None:
    _arrive(pump, b"?\n")
    with pytest.raises(ValueError, match="what"):
        await pump.next_event()
    assert transport.written == b"what?"


async def test_nothing_is_written_to_a_lost_connection(
    pump: Pump[bytes], transport: Recorder, machine: Lines
) -> None:
    transport.lost = True  # asyncio tells that in the next turn of the loop
    machine.out = b"late"
    pump.flush()
    assert transport.written == b""


async def test_a_peer_that_was_sent_away_is_read_only_so_long(
    pump: Pump[bytes], transport: Recorder
) -> None:
    _arrive(pump, b"bye\n")
    assert await pump.next_event() is CLOSED
    transport.calls.clear()
    pump._resume()
    for _ in range(DISCARD_LIMIT // 65_536):
        _arrive(pump, bytes(65_536))
    assert transport.calls == ["resume"]
    _arrive(pump, b"x")
    assert transport.calls == ["resume", "pause"]


async def test_a_busy_connection_costs_no_timer(pump: Pump[bytes], machine: Lines) -> None:
    now = asyncio.get_running_loop().time()
    machine.due = now + 100
    pump.flush()
    first = pump._timer
    for later in range(101, 200):
        machine.due = now + later
        pump.flush()
    assert pump._timer is first
    machine.due = now + 50
    pump.flush()
    assert pump._timer is not first
    assert first is not None
    assert first.cancelled()


async def test_an_early_timer_looks_again(
    pump: Pump[bytes], machine: Lines, transport: Recorder
) -> None:
    now = asyncio.get_running_loop().time()
    machine.due = now + 0.01
    pump.flush()
    machine.due = now + 0.03
    assert await pump.next_event() is CLOSED
    assert machine.timeouts == 1
    assert asyncio.get_running_loop().time() >= now + 0.03
    assert transport.calls == ["close"]
    pump.connection_lost(None)


async def test_a_peer_that_does_not_read_is_cut(
    pump: Pump[bytes], machine: Lines, transport: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swallowtail.runtime.pump.FLUSH_TIME", 0.01)
    machine.finished = machine.closed = True
    pump.flush()
    pump.flush()
    assert transport.calls == ["close"]
    assert pump._timer is not None
    await asyncio.wait_for(_until(lambda: "abort" in transport.calls), 10)


async def _until(condition: Any) -> None:
    loop = asyncio.get_running_loop()
    while not condition():
        turn = loop.create_future()
        loop.call_later(0.001, turn.set_result, None)
        await turn


async def test_drain_waits_for_the_transport(pump: Pump[bytes]) -> None:
    await pump.drain()
    pump.pause_writing()
    waiting = asyncio.ensure_future(pump.drain())  # noqa: TID251
    await asyncio.sleep(0)
    assert not waiting.done()
    pump.resume_writing()
    await waiting
    pump.pause_writing()
    waiting = asyncio.ensure_future(pump.drain())  # noqa: TID251
    await asyncio.sleep(0)
    pump.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await waiting
    await pump.wait_closed()


async def test_the_end_of_input_wakes_the_consumer(pump: Pump[bytes], transport: Recorder) -> None:
    waiting = asyncio.ensure_future(pump.next_event())  # noqa: TID251
    await asyncio.sleep(0)
    assert pump.eof_received() is False
    assert await waiting is CLOSED
    assert transport.calls == ["close"]
    pump.connection_lost(None)


async def test_an_end_by_another_task_wakes_the_consumer(pump: Pump[bytes], machine: Lines) -> None:
    waiting = asyncio.ensure_future(pump.next_event())  # noqa: TID251
    await asyncio.sleep(0)
    machine.closed = True  # as an A-ABORT of ours does; the peer may take its time to close
    pump.flush()
    assert await waiting is CLOSED
    pump.connection_lost(None)


async def test_nothing_is_written_to_a_lost_transport(
    pump: Pump[bytes], machine: Lines, transport: Recorder
) -> None:
    pump.connection_lost(ConnectionResetError())
    machine.out = b"late"
    pump.flush()
    assert transport.written == b""
    assert await pump.next_event() is CLOSED


async def test_what_is_read_is_acknowledged(machine: Lines, transport: Recorder) -> None:
    acknowledged: list[str] = []
    pump: Pump[bytes] = Pump(machine, after_read=lambda _: lambda: acknowledged.append("ack"))
    pump.connection_made(transport)
    _arrive(pump, b"one\n")
    _arrive(pump, b"two\n")
    assert acknowledged == ["ack", "ack"]
