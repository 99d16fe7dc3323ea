"""Ports opened, kept, tried again and closed as the configuration says."""

import asyncio
import errno
from contextlib import suppress

import msgspec
import pytest

from swallowtail.calls.config import Configuration
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.link.endpoint_plan import DRAIN_LIMIT
from swallowtail.link.endpoints import Endpoints, ListenerProtocol
from swallowtail.link.policy import DEFAULT, Policy, parse
from swallowtail.link.state import LinkState
from swallowtail.runtime.tasks import Tasks
from tests.turns import turns
from tests.world.loop import WorldLoop

FIRST = DicomListener(name="first", ae_title="SWALLOW", port=11112)
SECOND = DicomListener(name="second", ae_title="SWALLOW", port=11113)


class FakeNetwork:
    """Open ports as entries of a list; `refuse` makes the next openings fail."""

    def __init__(self) -> None:
        self.open: list[tuple[str, int]] = []
        self.log: list[str] = []
        self.refuse: list[int] = []

    async def listen(self, factory, host, port):
        raise AssertionError("servers open themselves here")

    connect = listen


class FakeServer:
    """Answers nothing; its associations end when the test says so."""

    def __init__(self, listener: DicomListener) -> None:
        self.listener = listener
        self.connections = 0
        self.drains: list[tuple[float, bool]] = []
        self.ended = asyncio.Event()
        self.ended.set()

    async def open(self, network, host, port) -> None:
        await asyncio.sleep(0)
        if network.refuse:
            raise OSError(network.refuse.pop(), "refused")
        self.network, self.address = network, (host, port)
        network.open.append(self.address)
        network.log.append(f"open {port}")

    async def close(self) -> None:
        self.network.open.remove(self.address)
        self.network.log.append(f"close {self.address[1]}")

    def update(self, listener: DicomListener) -> None:
        self.listener = listener

    async def drain(self, limit: float, *, stopping: bool) -> None:
        self.drains.append((limit, stopping))
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.ended.wait()


class World:
    def __init__(self, policy: Policy = DEFAULT) -> None:
        self.network = FakeNetwork()
        self.servers: dict[str, FakeServer] = {}
        self.changes = 0
        self.adopted = 0
        self.tasks = Tasks("test")
        state = LinkState(session=lambda: None, random=bytes, wall=lambda: 1e9)
        protocols = {"dicom": ListenerProtocol(self.server, {})}
        self.endpoints = Endpoints(
            self.network, policy, self.tasks, protocols, state, changed=self.changed
        )

    def server(self, listener: DicomListener, _: LinkState) -> FakeServer:
        self.servers[listener.name] = FakeServer(listener)
        return self.servers[listener.name]

    def changed(self) -> None:
        self.changes += 1

    def adopt(self) -> None:
        self.adopted += 1

    async def apply(self, *listeners: DicomListener):
        return await self.endpoints.apply(Configuration(listeners=listeners), self.adopt)

    def states(self) -> list[tuple[str, str]]:
        return [(state.name, state.state) for state in self.endpoints.states]


@pytest.fixture
async def world():
    world = World()
    yield world
    await world.tasks.close()


async def test_ports_are_open_when_apply_returns(world):
    assert await world.apply(FIRST, SECOND) == ()
    assert world.network.open == [("0.0.0.0", 11112), ("0.0.0.0", 11113)]
    assert world.states() == [("first", "listening"), ("second", "listening")]
    assert world.adopted == 1
    assert world.changes >= 2


async def test_a_setting_changes_without_touching_the_port(world):
    await world.apply(FIRST)
    await world.apply(msgspec.structs.replace(FIRST, max_associations=3))
    assert world.network.log == ["open 11112"]
    assert world.servers["first"].listener.max_associations == 3


async def test_a_move_opens_first_and_closes_then(world):
    await world.apply(FIRST)
    world.servers["first"].ended.clear()
    await world.apply(msgspec.structs.replace(FIRST, port=104))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.network.log == ["open 11112", "open 104", "close 11112"]
    assert world.states() == [("first", "listening"), ("first", "closing")], (
        "its association may still end"
    )


async def test_a_port_in_the_way_closes_first(world):
    await world.apply(FIRST)
    await world.apply(msgspec.structs.replace(FIRST, address="127.0.0.1"))
    assert world.network.log == ["open 11112", "close 11112", "open 11112"]
    assert world.network.open == [("127.0.0.1", 11112)]


def test_a_port_that_is_taken_is_reported_and_tried_again():
    async def scene() -> None:
        world = World()
        world.network.refuse = [errno.EADDRINUSE] * 3
        assert await world.apply(FIRST) == ()
        assert world.states() == [("first", "failed")]
        assert "another program holds the port" in world.endpoints.states[0].detail
        await asyncio.sleep(6.5)
        assert world.states() == [("first", "failed")], "tried after 1 and 2 s, then after 4"
        await asyncio.sleep(1)
        assert world.states() == [("first", "listening")]
        await world.tasks.close()

    WorldLoop().run(scene())


async def test_a_port_that_never_opened_can_be_removed(world):
    world.network.refuse = [errno.EACCES] * 99
    await world.apply(FIRST)
    assert "below 1024" in world.endpoints.states[0].detail
    await world.apply()
    await asyncio.wait_for(world.endpoints.drain(1.0), 2)
    assert world.states() == []


async def test_a_refused_configuration_changes_nothing():
    world = World(parse(b"[listen]", "policy.toml"))
    problems = await world.apply(FIRST)
    assert "policy.toml" in problems[0].message
    assert world.adopted == 0
    assert world.endpoints.states == ()


async def test_of_two_concurrent_configurations_the_second_runs(world):
    await asyncio.gather(world.apply(FIRST), world.apply(SECOND))
    await turns()
    assert world.network.open == [("0.0.0.0", 11113)]
    assert world.states() == [("second", "listening")]


async def test_back_again_before_the_old_one_is_gone(world):
    await world.apply(FIRST)
    world.servers["first"].ended.clear()
    await world.apply()
    await world.apply(FIRST)
    assert world.network.open == [("0.0.0.0", 11112)]
    assert sorted(world.states()) == [("first", "closing"), ("first", "listening")]


async def test_drain_waits_for_the_last_association_with_the_limit_given(world):
    await world.apply(FIRST)
    server = world.servers["first"]
    server.ended.clear()
    draining = world.tasks.spawn(world.endpoints.drain(7.0), name="drain")
    await turns()
    assert not draining.done()
    assert world.network.open == []
    assert sorted(server.drains) == [(7.0, True), (DRAIN_LIMIT, False)]
    server.ended.set()
    await draining
    assert world.states() == []
