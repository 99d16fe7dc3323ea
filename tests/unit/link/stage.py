"""The real Link on a virtual clock.

A simulated network, a modality of our own, and a Cloud that follows the test's script.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    CONFIGURE,
    Applied,
    Configuration,
    Configure,
    Device,
    dump,
    read_configure_answer,
)
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.report import REPORT, Noted, Observation, read_report
from swallowtail.calls.store import (
    STORE,
    Committed,
    NotStored,
    NotStoredReason,
    Stored,
    StoreRequest,
    read_store_request,
)
from swallowtail.calls.transfer import TransferEnd, read_transfer_end
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.net import Connection, associate
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.link.agent import Agent, Facts, World
from swallowtail.link.cloud_address import UplinkError
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.policy import DEFAULT, Policy
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.connecting import ConnectError
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.handshake import CloudHello
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.session import SessionMachine
from tests.world import uplink
from tests.world.loop import WorldLoop
from tests.world.network import SimulatedNetwork

LINK, CLOUD, MODALITY, STRANGER = "10.0.0.5", "203.0.113.1", "10.0.0.9", "10.0.0.66"
PORT = 11112
LISTENER = DicomListener(
    name="echo-room", ae_title="SWALLOW", port=PORT, address=LINK, max_associations=4
)
DEVICE = Device(name="us1", ae_title="US1", addresses=(MODALITY,))
CONFIGURATION = Configuration(listeners=(LISTENER,), devices=(DEVICE,))

StoreScript = Callable[[Channel, "Body"], Awaitable[None]]

CALLS = ("call:store", "call:report")


@dataclass
class Body:
    """What has arrived of one store."""

    request: StoreRequest
    data: bytearray = field(default_factory=bytearray)
    end: TransferEnd | None = None


async def receive_all(channel: Channel, body: Body) -> None:
    """Take a body to its last word."""
    while not isinstance(event := await channel.receive(), End):
        if isinstance(event, Data):
            body.data += event.view
            channel.consumed(len(event.view))
        elif isinstance(event, Message):
            body.end = read_transfer_end(event.body)


async def commit(channel: Channel, body: Body, stored: Stored = Stored.NEW) -> None:
    """An honest Cloud."""
    await receive_all(channel, body)
    assert body.end is not None
    await channel.message(
        encode(Committed(length=body.end.length, crc32=body.end.crc32, stored=stored)), fin=True
    )


def committed_as(stored: Stored) -> StoreScript:
    """A Cloud that had something of this before."""
    return lambda channel, body: commit(channel, body, stored)


def refuse(reason: NotStoredReason, *, early: bool = False) -> StoreScript:
    """A Cloud that cannot, or will not."""

    async def script(channel: Channel, body: Body) -> None:
        if not early:
            await receive_all(channel, body)
        await channel.message(encode(NotStored(reason=reason)), fin=True)

    return script


async def silence(channel: Channel, body: Body) -> None:
    """A Cloud that takes everything and says nothing."""
    await receive_all(channel, body)
    await asyncio.sleep(1000)


async def no_credit(channel: Channel, body: Body) -> None:
    """A Cloud that takes nothing."""
    await asyncio.sleep(1000)


class Cloud:
    """Welcomes every Link, configures it, and serves its calls by script."""

    def __init__(self, configuration: Configuration | None = CONFIGURATION) -> None:
        self.configuration = configuration
        self.store: StoreScript = commit
        self.sessions: list[Session] = []
        self.links: list[uplink.SimulatedUplink] = []
        self.bodies: list[Body] = []
        self.seen: list[Observation] = []
        self.answers: list[Any] = []
        self.configured = asyncio.Event()
        self.arrived = asyncio.Event()
        self.offline = False
        self.version = 0

    async def meet(self, link: uplink.SimulatedUplink) -> None:
        """Live one session."""
        self.links.append(link)
        hello = CloudHello(capabilities=CALLS, nonce=bytes(32), verify=_verify)
        async with (
            Session(SessionMachine(hello, now=asyncio.get_running_loop().time()), link) as session,
            Tasks("cloud") as tasks,
        ):
            await session.hello()
            session.welcome(session=bytes(16), epoch=len(self.links), time=0.0)
            self.sessions.append(session)
            self.arrived.set()
            if self.configuration is not None:
                tasks.spawn(self.configure(self.configuration), name="configure")
            async for channel in session.opened():
                tasks.spawn(self._serve(channel), name=channel.opening.call)

    async def configure(self, configuration: Configuration) -> Any:
        """Have the newest session run this; gives its answer."""
        self.version += 1
        channel = await self.call(
            CONFIGURE, encode(Configure(version=self.version, document=dump(configuration)))
        )
        event = await channel.receive()
        assert isinstance(event, Message)
        self.answers.append(read_configure_answer(event.body))
        self.configured.set()
        return self.answers[-1]

    async def call(self, name: str, body: bytes) -> Channel:
        """Open a call to Link."""
        return await self.sessions[-1].open(name, body, ChannelPriority.INTERACTIVE, fin=True)

    def lose(self) -> None:
        """Cut the session's connection, as a proxy that dies does."""
        self.links[-1].transport.abort()

    async def _serve(self, channel: Channel) -> None:
        try:
            if channel.opening.call == STORE:
                self.bodies.append(Body(read_store_request(channel.opening.body)))
                await self.store(channel, self.bodies[-1])
            elif channel.opening.call == REPORT:
                self.seen += read_report(channel.opening.body).observations
                await channel.message(encode(Noted()), fin=True)
        except ChannelResetError:
            pass


def _verify(key: bytes, proof: bytes, message: bytes) -> bool:
    Ed25519PublicKey.from_public_bytes(key).verify(proof, message)
    return True


class Stage:
    """One Link, one Cloud, one modality, one stranger."""

    def __init__(
        self, loop: WorldLoop, configuration: Configuration | None, policy: Policy
    ) -> None:
        self.loop = loop
        self.network = SimulatedNetwork(loop)
        self.hosts = {
            address: self.network.host(address, address)
            for address in (LINK, CLOUD, MODALITY, STRANGER)
        }
        self.cloud = Cloud(configuration)
        self.tasks = Tasks("stage")
        self.buffers = BufferPool()  # of this scene's modalities: they may leave some behind
        self.policy = policy
        random_source = random.Random(7)
        self.names: dict[str, tuple[str, ...]] = {}
        """What the hospital's DNS knows."""
        self.world = World(
            self.hosts[LINK],
            self._connect,
            random_source.randbytes,
            random_source.random,
            lambda: 1e9 + loop.time(),
            self._resolve,
        )
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        """Give a Link as after a restart: the same key, nothing else."""
        return Agent(
            self.world,
            Facts("CODE", DeviceKey(bytes(range(32))), self.policy, "0.1.0", "test", "link-host"),
        )

    async def start(self) -> None:
        """Open the Cloud, start Link, wait until it runs its configuration."""
        await uplink.serve(self.hosts[CLOUD], CLOUD, 443, self.cloud.meet, self.tasks.spawn)
        self.running = self.tasks.spawn(self.agent.run(), name="link")
        if self.cloud.configuration is not None:
            await self.cloud.configured.wait()
            assert isinstance(self.cloud.answers[-1], Applied)

    async def associate(
        self, request: AssociateRQ, source: str = MODALITY, port: int = PORT
    ) -> Any:
        """Ask Link for an association: a Connection, or why there is none."""
        return await associate(self.hosts[source], LINK, port, request, buffers=self.buffers)

    async def _resolve(self, host: str) -> tuple[str, ...]:
        if host[0].isdigit():
            return (host,)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]

    async def _connect(self) -> uplink.SimulatedUplink:
        if self.cloud.offline:
            raise UplinkError("connect", "nothing there", "wait", absent=True)
        try:
            return await uplink.connect(self.hosts[LINK], CLOUD, 443)
        except ConnectError as error:
            raise UplinkError("connect", str(error), "wait", absent=error.absent) from error


def play(
    scene: Callable[[Stage], Coroutine[Any, Any, None]],
    *,
    configuration: Configuration | None = CONFIGURATION,
    policy: Policy = DEFAULT,
    start: bool = True,
) -> Stage:
    """Run a scene to its end on a fresh stage.

    Without `start` the scene starts Link and Cloud itself.
    """
    loop = WorldLoop()

    async def main() -> Stage:
        stage = Stage(loop, configuration, policy)
        try:
            if start:
                await stage.start()
            await scene(stage)
        finally:
            await stage.tasks.close()
            await _cancel_the_rest()
        return stage

    stage = loop.run(main())
    assert loop.problems == []
    return stage


async def _cancel_the_rest() -> None:
    """Cancel what the scene left, as `asyncio.run` does.

    Otherwise a later test collects a coroutine that cannot await its own end.
    """
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def ended(connection: Connection) -> str:
    """Read an association to its end; gives the last event's name."""
    last = "nothing"
    while not connection.closed:
        event = await connection.next_event()
        last = type(event).__name__ if not isinstance(event, str) else event
    return last
