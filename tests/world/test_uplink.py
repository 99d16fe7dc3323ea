"""Real sessions at both ends of a simulated uplink.

What the wire promises about silence, close and order holds in the world.
"""

import asyncio

import pytest

from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.connecting import ConnectError
from swallowtail.wire.control import GoodbyeReason
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.handshake import CloudHello, LinkHello
from swallowtail.wire.net import Session
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.session import SessionMachine
from tests.world import uplink
from tests.world.loop import Process, WorldLoop
from tests.world.network import Road, SimulatedNetwork


class Pair:
    """A Link's and a Cloud's session, and the network between them."""

    def __init__(self, seed=0):
        self.loop = WorldLoop(seed)
        self.network = SimulatedNetwork(self.loop, seed)
        self.here = self.network.host("link", "10.0.0.2")
        self.there = self.network.host("cloud", "203.0.113.1")
        self.network.set_road(self.here, self.there, Road(latency=0.02, bandwidth=1e6))
        self.cloud = None
        self.responses = []
        self.closed = []

    async def serve(self):
        process = Process(self.loop, "cloud")
        await process.spawn(
            uplink.serve(self.there, "203.0.113.1", 443, self.accept, process.spawn)
        )

    async def accept(self, transport):
        hello = CloudHello(capabilities=(), nonce=bytes(32), verify=lambda *_: True)
        async with Session(SessionMachine(hello, now=self.loop.time()), transport) as session:
            self.cloud = session
            await session.hello()
            session.welcome(session=bytes(16), epoch=1, time=0.0)
            async for channel in session.opened():
                while not isinstance(event := await channel.receive(), End):
                    self.responses.append(
                        bytes(event.view if isinstance(event, Data) else event.body)
                    )
                    if isinstance(event, Data):
                        channel.consumed(len(event.view))
                await channel.message(b"done", fin=True)
            self.closed.append((self.loop.time(), (await session.closed).code))

    async def connect(self):
        transport = await uplink.connect(self.here, "203.0.113.1", 443)
        hello = LinkHello(
            release="0",
            capabilities=(),
            code="c",
            key=bytes(32),
            sign=lambda _: bytes(64),
        )
        return Session(SessionMachine(hello, now=self.loop.time()), transport)

    def run(self, story):
        async def main():
            await self.serve()
            return await story()

        try:
            result = self.loop.run(main())
            assert not self.loop.problems
            return result
        finally:
            self.loop.close()


@pytest.mark.parametrize("seed", range(5))
def test_bytes_go_up_and_an_answer_comes_down(seed):
    pair = Pair(seed)

    async def story():
        async with await pair.connect() as session:
            await session.hello_accepted()
            channel = await session.open("store", b"", ChannelPriority.BULK)
            await channel.send(memoryview(bytes(range(256)) * 8000))
            channel.flush()
            await channel.message(b"end", fin=True)
            answer = await channel.receive()
            assert isinstance(answer, Message)
            return answer.body

    assert bytes(pair.run(story)) == b"done"
    assert b"".join(pair.responses) == bytes(range(256)) * 8000 + b"end"


def test_silence_ends_both_sides_after_45_seconds():
    pair = Pair()

    async def story():
        async with await pair.connect() as session:
            await session.hello_accepted()
            await asyncio.sleep(5)
            pair.network.partition(pair.here, pair.there)
            began = pair.loop.time()
            close = await session.closed
            await asyncio.sleep(25)
            return close.code, pair.loop.time() - 25 - began

    code, seconds = pair.run(story)
    assert code == CloseCode.DEADLINE
    assert 40 < seconds < 50
    assert [code for _, code in pair.closed] == [CloseCode.DEADLINE]


def test_a_close_code_reaches_the_other_side():
    pair = Pair()

    async def story():
        async with await pair.connect() as session:
            await session.hello_accepted()
            pair.cloud.goodbye(GoodbyeReason.DRAINING)
            return (await session.closed).code, session.peer_goodbye.reason

    assert pair.run(story) == (CloseCode.DONE, GoodbyeReason.DRAINING)


def test_no_cloud_is_a_connect_error():
    pair = Pair()

    async def story():
        pair.there.ports.clear()
        with pytest.raises(ConnectError, match="Connect call failed"):
            await pair.connect()
        pair.network.partition(pair.here, pair.there)
        with pytest.raises(ConnectError, match="no connection"):
            await pair.connect()
        return pair.loop.time()

    assert pair.run(story) == pytest.approx(uplink.OPEN_SECONDS, abs=1)
