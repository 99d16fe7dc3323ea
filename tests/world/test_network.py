"""The simulated network behaves as TCP under asyncio does.

Order, back-pressure, FIN, RST, silence.
"""

import asyncio
import random

import pytest

from tests.world.loop import Process, WorldLoop
from tests.world.network import Road, SimulatedNetwork


class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self, greeting=b""):
        self.responses = bytearray()
        self.log = []
        self.transport = None
        self.greeting = greeting
        self.keep_open = False

    def connection_made(self, transport):
        self.transport = transport
        if self.greeting:
            transport.write(self.greeting)

    def data_received(self, data):
        self.responses += data

    def eof_received(self):
        self.log.append("eof")
        return self.keep_open

    def connection_lost(self, error):
        self.log.append(type(error).__name__ if error else "closed")

    def pause_writing(self):
        self.log.append("pause")

    def resume_writing(self):
        self.log.append("resume")


class Buffered(asyncio.BufferedProtocol):
    """Reads into a small buffer of its own."""

    def __init__(self, size):
        self.space = bytearray(size)
        self.responses = bytearray()
        self.sizes = []

    def get_buffer(self, sizehint):
        return memoryview(self.space)

    def buffer_updated(self, nbytes):
        self.sizes.append(nbytes)
        self.responses += self.space[:nbytes]

    def connection_lost(self, error):
        pass


class Wire:
    """Two hosts, a server on one, a client connected from the other."""

    def __init__(self, loop, seed, road=None):
        self.network = SimulatedNetwork(loop, seed)
        self.left = self.network.host("left", "10.0.0.1")
        self.right = self.network.host("right", "10.0.0.2")
        self.network.set_road(self.left, self.right, road or Road())
        self.accepted = []

    async def open(self, server=Recorder, client=Recorder):
        await self.right.listen(
            lambda: self.accepted.append(server()) or self.accepted[-1], "10.0.0.2", 104
        )
        _, protocol = await self.left.connect(client, "10.0.0.2", 104)
        await asyncio.sleep(0.1)
        return protocol, self.accepted[0]


def world(story, seed=0, road=None):
    loop = WorldLoop(seed)
    wire = Wire(loop, seed, road)
    try:
        result = loop.run(story(wire))
        assert not loop.problems
        return result
    finally:
        loop.close()


@pytest.mark.parametrize("seed", range(20))
def test_bytes_arrive_in_order_however_they_are_cut(seed):
    sent = random.Random(seed).randbytes(300_000)

    async def story(wire):
        client, server = await wire.open(server=lambda: Buffered(10_000))
        for start in range(0, len(sent), 70_000):
            client.transport.write(sent[start : start + 70_000])
        await asyncio.sleep(5)
        assert max(server.sizes) <= 10_000
        return bytes(server.responses)

    assert world(story, seed) == sent


def test_latency_and_bandwidth_take_their_time():
    async def story(wire):
        client, server = await wire.open()
        client.transport.write(bytes(1_000_000))
        await asyncio.sleep(0.9)
        assert 0 < len(server.responses) < 1_000_000
        await asyncio.sleep(0.3)
        return len(server.responses)

    assert world(story, road=Road(latency=0.01, bandwidth=1e6, window=2_000_000)) == 1_000_000


def test_a_peer_that_does_not_read_stops_the_writer_and_reading_lets_it_go_on():
    async def story(wire):
        client, server = await wire.open()
        server.transport.pause_reading()
        client.transport.write(bytes(1_000_000))
        await asyncio.sleep(60)
        assert client.log == ["pause"]
        assert len(server.responses) == 0
        assert client.transport.get_write_buffer_size() == 1_000_000 - 50_000
        server.transport.resume_reading()
        await asyncio.sleep(60)
        return client.log, len(server.responses)

    assert world(story, road=Road(window=50_000)) == (["pause", "resume"], 1_000_000)


def test_it_tells_when_the_other_end_has_read_everything():
    async def story(wire):
        client, server = await wire.open()
        server.transport.pause_reading()
        read = []
        client.transport.when_read(read.append)
        client.transport.write(bytes(1000))
        client.transport.when_read(read.append)
        await asyncio.sleep(5)
        assert len(read) == 1
        server.transport.resume_reading()
        await asyncio.sleep(5)
        return read[1]

    assert world(story) == pytest.approx(5.1, abs=0.05)


def test_close_sends_what_was_written_and_then_fin():
    async def story(wire):
        client, server = await wire.open()
        client.transport.write(b"last words")
        client.transport.close()
        await asyncio.sleep(1)
        return client.log, bytes(server.responses), server.log

    assert world(story) == (["closed"], b"last words", ["eof", "closed"])


def test_half_close_leaves_the_other_direction_open():
    async def story(wire):
        client, server = await wire.open()
        server.keep_open = True
        client.transport.write_eof()
        await asyncio.sleep(1)
        server.transport.write(b"still here")
        await asyncio.sleep(1)
        return bytes(client.responses), client.log

    assert world(story) == (b"still here", [])


def test_abort_resets_the_peer_and_unread_bytes_at_close_do_too():
    async def story(wire):
        client, server = await wire.open()
        server.transport.pause_reading()
        client.transport.write(b"never read")
        await asyncio.sleep(1)
        server.transport.close()
        await asyncio.sleep(1)
        other, accepted = await wire.left.connect(Recorder, "10.0.0.2", 104)
        await asyncio.sleep(1)
        other.abort()
        await asyncio.sleep(1)
        return client.log, wire.accepted[1].log, accepted.log

    assert world(story) == (["ConnectionResetError"], ["ConnectionResetError"], ["closed"])


def test_nobody_listens_is_refused_and_a_taken_port_is_an_error():
    async def story(wire):
        await wire.open()
        with pytest.raises(ConnectionRefusedError):
            await wire.left.connect(Recorder, "10.0.0.2", 105)
        with pytest.raises(OSError, match="address already in use"):
            await wire.right.listen(Recorder, "10.0.0.2", 104)

    world(story)


def test_a_partition_is_silent_and_its_end_delivers_what_was_under_way():
    async def story(wire):
        client, server = await wire.open()
        wire.network.partition(wire.left, wire.right)
        client.transport.write(b"hello")
        await asyncio.sleep(600)
        assert (bytes(server.responses), client.log, server.log) == (b"", [], [])
        wire.network.heal(wire.left, wire.right)
        await asyncio.sleep(10)
        return bytes(server.responses)

    assert world(story) == b"hello"


def test_a_forgotten_connection_stays_silent_but_a_new_one_works():
    async def story(wire):
        client, server = await wire.open()
        wire.network.partition(wire.left, wire.right)
        wire.network.heal(wire.left, wire.right, forgotten=True)
        client.transport.write(b"hello")
        client.transport.close()
        await asyncio.sleep(600)
        await wire.left.connect(lambda: Recorder(b"again"), "10.0.0.2", 104)
        await asyncio.sleep(1)
        return bytes(server.responses), server.log, bytes(wire.accepted[1].responses)

    assert world(story) == (b"", [], b"again")


def test_one_way_partition_lets_the_other_direction_through():
    async def story(wire):
        client, server = await wire.open()
        wire.network.partition(wire.left, wire.right, one_way=True)
        client.transport.write(b"lost")
        server.transport.write(b"heard")
        await asyncio.sleep(10)
        return bytes(server.responses), bytes(client.responses)

    assert world(story) == (b"", b"heard")


def test_connecting_through_a_partition_times_out_as_linux_does():
    async def story(wire):
        wire.network.partition(wire.left, wire.right)
        with pytest.raises(TimeoutError):
            await wire.left.connect(Recorder, "10.0.0.2", 104)
        return wire.network.loop.time()

    assert world(story) == pytest.approx(127, abs=1)


@pytest.mark.parametrize("how", ["rst", "silent"])
def test_a_connection_breaks_at_a_byte(how):
    async def story(wire):
        client, server = await wire.open()
        wire.network.break_after(client.transport, 12_345, how)
        client.transport.write(bytes(100_000))
        await asyncio.sleep(60)
        return len(server.responses) <= 12_345, server.log

    assert world(story) == (True, ["ConnectionResetError"] if how == "rst" else [])


@pytest.mark.parametrize(("silently", "responses"), [(False, ["eof", "closed"]), (True, [])])
def test_a_dead_process_closes_its_sockets_unless_the_power_went(silently, responses):
    async def story(wire):
        process = Process(wire.network.loop, "server")
        process.on_death.append(lambda: wire.right.process_died(process, silently=silently))
        await process.spawn(
            wire.right.listen(
                lambda: wire.accepted.append(Recorder()) or wire.accepted[-1], "10.0.0.2", 104
            )
        )
        _, client = await wire.left.connect(Recorder, "10.0.0.2", 104)
        await asyncio.sleep(1)
        process.kill()
        client.transport.write(b"hello?")
        await asyncio.sleep(10)
        assert wire.accepted[0].responses == b""
        assert wire.accepted[0].log == []
        with pytest.raises(ConnectionRefusedError):
            await wire.left.connect(Recorder, "10.0.0.2", 104)
        return client.log

    assert world(story) == responses
