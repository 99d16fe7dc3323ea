"""The machines of the world and the programs on them.

Each can be started, killed between two steps, and started again.

What survives is what survives in a hospital: a Link's key and code, a Cloud's platter and database.
Everything else dies with the process, and its sockets vanish with it, with FIN or RST when the
process was killed, in silence when the power went.
"""

import asyncio
import random
import traceback
from collections.abc import Coroutine
from typing import Any, Final

from swallowtail.dicom.buffers import BufferPool
from swallowtail.link.agent import Agent, Facts
from swallowtail.link.agent import World as LinkWorld
from swallowtail.link.cloud_address import UplinkError
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.policy import DEFAULT
from swallowtail.link.scp import listener
from swallowtail.link.scu import connecting
from swallowtail.wire.connecting import ConnectError
from tests.world import uplink
from tests.world.loop import Killed, Process, WorldLoop
from tests.world.network import Host
from tests.world.parts import Parts
from tests.world.uplink import SimulatedUplink

EPOCH: Final = 1_790_000_000.0
"""UTC seconds at which the world begins."""
CLOUD_PORT: Final = 443
RELEASE: Final = "0.1.0"


class Machine:
    """A host with one program that can be killed and started again."""

    def __init__(self, name: str, host: Host, loop: WorldLoop, seed: object) -> None:
        self.name = name
        self.host = host
        self.process: Process | None = None
        self.starts = 0
        self._loop = loop
        self._seed = seed
        self._silent = False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def wall(self) -> float:
        """The time of day."""
        return EPOCH + self._loop.time()

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def start(self) -> None:
        """Start the program, if it does not run."""
        if self.alive:
            return
        self.starts += 1
        self.random_source = random.Random(f"{self._seed}/{self.name}/{self.starts}")
        process = self.process = Process(self._loop, f"{self.name}.{self.starts}")
        process.on_death.append(lambda: self.host.process_died(process, silently=self._silent))
        process.on_death.append(self.drop)
        self._loop.trace(f"{process.name} starts")
        process.spawn(self.program()).add_done_callback(self._ended)

    def _ended(self, main: "asyncio.Task[None]") -> None:
        """A program that fails is a bug.

        A real one would exit and be started again by whoever supervises it.
        """
        if (
            not main.cancelled()
            and (error := main.exception()) is not None
            and not isinstance(error, Killed)
        ):
            self._loop.problems.append(
                f"{self.name} failed: {''.join(traceback.format_exception(error))}"
            )
            self.kill()

    def kill(self, *, power: bool = False) -> None:
        """Kill the program now.

        With `power`, the whole machine goes, and says nothing to anybody.
        """
        if self.process is not None:
            self._silent = power
            self.process.kill()

    def kill_after(self, steps: int, *, power: bool = False) -> None:
        """Kill the program when it has made so many more steps."""
        if self.process is not None and self.process.alive:
            self.process.after_steps(steps, lambda: self.kill(power=power))

    def defuse(self) -> None:
        """Let no death that was planned happen."""
        if self.process is not None:
            self.process.defuse()

    def program(self) -> Coroutine[Any, Any, None]:
        """Give the program's main coroutine."""
        raise NotImplementedError

    def drop(self) -> None:
        """Lose what the machine loses when its program dies."""


class LinkMachine(Machine):
    """A hospital's machine with Link."""

    agent: Agent

    def __init__(
        self, host: Host, cloud: Host, loop: WorldLoop, seed: object, code: str, parts: Parts
    ) -> None:
        super().__init__(host.name, host, loop, seed)
        self._network = parts.network(host)
        self.code = code
        self._buffers = listener.BUFFERS
        self.uplink: SimulatedUplink | None = None
        """The connection to the Cloud that was opened last."""
        self._cloud = cloud
        self._key = DeviceKey(random.Random(f"{seed}/key").randbytes(32))

    async def program(self) -> None:
        # a new process has a new pool
        self._buffers = listener.BUFFERS = BufferPool()  # type: ignore[misc]
        connecting.BUFFERS = BufferPool()  # type: ignore[misc]
        world = LinkWorld(
            network=self._network,
            connect=self._connect,
            random_bytes=self.random_source.randbytes,
            random=self.random_source.random,
            wall=self.wall,
        )
        self.agent = Agent(world, Facts(self.code, self._key, DEFAULT, RELEASE, "world", "link"))
        await self.agent.run()

    async def _connect(self) -> SimulatedUplink:
        try:
            self.uplink = await uplink.connect(self.host, self._cloud.address, CLOUD_PORT)
        except ConnectError as error:
            raise UplinkError("connect", str(error), "wait", absent=error.absent) from error
        return self.uplink

    @property
    def buffers_lent(self) -> int:
        """How many receive buffers are in use: none, when no association is open."""
        return self._buffers.lent

    @property
    def cloud_heard_at(self) -> float:
        """When Link last heard anything from the Cloud."""
        return self.uplink.proven if self.uplink is not None else 0.0
