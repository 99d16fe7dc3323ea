"""What goes wrong, drawn from the seed.

Each kind of trouble is a short coroutine that begins it, waits, and ends it.

The weights say how often a kind is drawn; several troubles overlap freely. `repair` ends them all.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.world.machines import Machine
from tests.world.network import Road, Socket

if TYPE_CHECKING:
    from tests.world.world import World


class Chaos:
    """The troubles of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._dice = random.Random(f"{world.seed}/chaos")
        self._kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.kill_link),
            (4, self.kill_cloud),
            (2, self.kill_cloud_at_the_disk),
            (3, self.cut_uplink),
            (2, self.cut_lan),
            (2, self.silence_uplink),
            (2, self.break_uplink),
            (3, self.break_association),
            (1, self.slow_uplink),
            (2, self.reconfigure),
            (1, self.rotate_code),
            (1, self.replace_session),
            (3, self.wake_twin),
            (1, self.fill_disk),
            (1, self.fail_fsync),
            (1, self.lose_database),
        ]

    async def run(self, horizon: float) -> None:
        """Make trouble until the horizon."""
        now = self._world.loop.time()
        begins = sorted(self._dice.uniform(now, horizon) for _ in range(self._dice.randint(1, 8)))
        some = self._dice.sample(
            self._kinds, self._dice.choice((1, 2, 4, len(self._kinds)))
        )  # few kinds go deeper than all
        kinds = self._dice.choices(
            [kind for _, kind in some], [weight for weight, _ in some], k=len(begins)
        )
        await asyncio.gather(
            *(self._at(begin, kind) for begin, kind in zip(begins, kinds, strict=True))
        )

    async def _at(self, begin: float, kind: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(begin - self._world.loop.time())
        self._world.loop.trace(f"trouble: {kind.__name__}")
        await kind()

    async def repair(self) -> None:
        """End every trouble."""
        world, network = self._world, self._world.network
        network.heal(world.link.host, world.cloud.host)
        for modality in world.modalities:
            network.heal(modality.host, world.link.host)
        network.set_road(world.link.host, world.cloud.host, Road(latency=0.02))
        world.cloud.platter.full = world.cloud.platter.failing = world.cloud.rows.unavailable = (
            False
        )
        network.defuse()
        world.twin.kill()
        for machine in (world.cloud, world.link):
            machine.defuse()
            machine.start()

    # processes

    async def _kill(self, machine: Machine) -> None:
        power = self._dice.random() < 0.4
        machine.kill_after(
            self._dice.choice((1, 5, 20, 80, 300)) + self._dice.randint(0, 20), power=power
        )
        await asyncio.sleep(self._dice.choice((0.01, 1.0, 10.0, 40.0)))
        machine.kill(power=power)
        self._excuse_if_silent(machine, power=power)
        machine.start()
        if self._dice.random() < 0.3:  # and once more, while it starts
            machine.kill_after(self._dice.randint(1, 60), power=power)
            await asyncio.sleep(self._dice.uniform(0.1, 5))
            machine.kill(power=power)
            self._excuse_if_silent(machine, power=power)
            machine.start()

    def _excuse_if_silent(self, machine: Machine, *, power: bool) -> None:
        if power and machine is self._world.link:
            self._world.oracle.excuse(self._world.oracle.open_sendings(), "Link has lost its power")

    async def kill_link(self) -> None:
        await self._kill(self._world.link)

    async def kill_cloud(self) -> None:
        await self._kill(self._world.cloud)

    async def kill_cloud_at_the_disk(self) -> None:
        """Die between two calls of the disk.

        After the rename and before the folder's fsync, say.
        """
        self._world.cloud.kill_at_disk_call(
            self._dice.randint(1, 12), power=self._dice.random() < 0.7
        )
        await asyncio.sleep(self._dice.uniform(5, 30))
        self._world.cloud.defuse()
        self._world.cloud.start()

    # the network

    async def cut_uplink(self) -> None:
        world = self._world
        world.network.partition(
            world.link.host, world.cloud.host, one_way=self._dice.random() < 0.3
        )
        await asyncio.sleep(self._dice.choice((0.5, 5.0, 20.0, 60.0, 100.0)))
        world.network.heal(world.link.host, world.cloud.host, forgotten=self._dice.random() < 0.5)

    async def cut_lan(self) -> None:
        world, modality = self._world, self._dice.choice(self._world.modalities)
        world.network.partition(modality.host, world.link.host)
        world.oracle.excuse(world.oracle.open_sendings(modality.name), "the LAN is cut")
        await asyncio.sleep(self._dice.choice((0.5, 5.0, 30.0)))
        world.network.heal(modality.host, world.link.host, forgotten=self._dice.random() < 0.3)

    def _uplink_sockets(self) -> list[Socket]:
        return self._world.network.between(self._world.link.host, self._world.cloud.host)

    async def silence_uplink(self) -> None:
        """Frames vanish on the connection that there is; a new one would work."""
        for socket in self._uplink_sockets():
            self._world.network.silence(socket)

    async def break_uplink(self) -> None:
        for socket in self._uplink_sockets():
            end = self._dice.choice((socket, socket.peer))
            self._world.network.break_after(
                end,
                self._dice.choice((1, 100, 3_000, 200_000)),
                self._dice.choice(("rst", "silent")),
            )

    async def break_association(self) -> None:
        modality = self._dice.choice(self._world.modalities)
        for socket in self._world.network.between(modality.host, self._world.link.host):
            self._world.network.break_after(
                socket, self._dice.choice((1, 100, 3_000, 200_000)), "rst"
            )

    async def slow_uplink(self) -> None:
        world = self._world
        world.network.set_road(
            world.link.host,
            world.cloud.host,
            Road(latency=0.3, bandwidth=self._dice.choice((2e3, 20e3))),
        )
        await asyncio.sleep(self._dice.uniform(10, 60))
        world.network.set_road(world.link.host, world.cloud.host, Road(latency=0.02))

    # what people do

    async def reconfigure(self) -> None:
        for _ in range(self._dice.randint(1, 3)):
            await self._world.cloud.reconfigure(self._dice)
            await asyncio.sleep(self._dice.uniform(0, 3))

    async def rotate_code(self) -> None:
        """The code changes; somebody puts the new one into the file and starts Link again."""
        self._world.link.code = await self._world.cloud.rotate_code(self._dice)
        await asyncio.sleep(self._dice.uniform(0, 10))
        self._world.link.kill()
        self._world.link.start()

    async def replace_session(self) -> None:
        """Link is started anew while its old session still looks alive to the Cloud, and what was
        under way arrives afterwards.
        """
        world = self._world
        await self._in_the_middle_of_a_store()
        world.network.partition(world.link.host, world.cloud.host)
        await asyncio.sleep(self._dice.choice((0.1, 1, 3)))
        old = self._uplink_sockets()
        world.link.kill(power=True)
        world.oracle.excuse(world.oracle.open_sendings(), "Link has lost its power")
        world.link.start()
        world.network.heal(world.link.host, world.cloud.host)
        await asyncio.sleep(self._dice.uniform(0.5, 6))
        for socket in old:
            world.network.deliver_late(socket)

    async def wake_twin(self) -> None:
        """A copy of Link's machine wakes up, with the same key and code.

        The session of each replaces that of the other.
        """
        twin = self._world.twin
        twin.code = self._world.link.code
        for _ in range(self._dice.randint(1, 4)):
            await self._in_the_middle_of_a_store()
            twin.start()
            await asyncio.sleep(self._dice.uniform(0.3, 3))
            twin.kill()

    async def _in_the_middle_of_a_store(self) -> None:
        """Wait for a store, for a while, and then for some moment within it."""
        for _ in range(200):
            if any(sending.what == "store" for sending in self._world.oracle.open_sendings()):
                await asyncio.sleep(self._dice.choice((0.0, 0.05, 0.2)))
                return
            await asyncio.sleep(0.1)

    # the Cloud's storage

    async def fill_disk(self) -> None:
        self._world.cloud.platter.full = True
        await asyncio.sleep(self._dice.uniform(1, 30))
        self._world.cloud.platter.full = False

    async def fail_fsync(self) -> None:
        """A failed fsync stops the process; whoever supervises it starts it again."""
        self._world.cloud.platter.failing = True
        await asyncio.sleep(self._dice.uniform(1, 20))
        self._world.cloud.platter.failing = False
        await asyncio.sleep(self._dice.uniform(0, 3))
        self._world.cloud.start()

    async def lose_database(self) -> None:
        self._world.cloud.rows.unavailable = True
        await asyncio.sleep(self._dice.uniform(1, 30))
        self._world.cloud.rows.unavailable = False
