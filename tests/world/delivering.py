"""A world whose Cloud sends on.

What modalities store is indexed, judged by a rule, and delivered to up to three destinations.

Some worlds are calm: nothing goes wrong but with destinations, and never with the first, which then
has to be served as if it were alone. At the end everything is repaired and has to arrive; then Link
and Cloud are started once more, and nothing may follow.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from swallowtail.calls.config import Destination, DestinationTimeouts
from tests.world.arrivals import Arrivals, Queued, Recorded
from tests.world.chaos import Chaos
from tests.world.cloud import CloudMachine, provision
from tests.world.datasets import draw_data_sets
from tests.world.machines import CLOUD_PORT, EPOCH
from tests.world.network import Road, Socket
from tests.world.oracle import Instance
from tests.world.pacs import PACS_PORT, REFUSALS, Mood, Pacs
from tests.world.parts import Parts
from tests.world.world import AE_TITLE, DICOM_PORT, World

LAST_DELIVERY: Final = 300.0 + 300.0 + 100.0
"""Seconds for what is left after the repair.

A breaker waits 300 s at most, and so long is a dead Cloud's claim on index jobs.
"""
LOOK_EVERY: Final = 5.0
QUEUED: Final = """
    SELECT d.destination, d.identifier, d.format, d.lane, d.rank, d.place, d.state, i.received
    FROM delivery d JOIN instance i ON d.kind = 'instance' AND i.id = d.reference ORDER BY d.id
"""
RECORDED: Final = """
    SELECT d.destination, d.identifier, d.format, a.began, a.ended,
        a.status IS NULL AND a.phase IN ('send', 'response')
    FROM attempt a JOIN delivery d ON d.id = a.delivery ORDER BY a.delivery, a.token
"""


class PlatterQueues:
    """What a restart would find of the queues."""

    def __init__(self, cloud: CloudMachine) -> None:
        self._cloud = cloud

    def queued(self) -> list[Queued]:
        """Give all deliveries."""
        rows = self._cloud.rows.ask(QUEUED)
        return [
            Queued(name, uid, syntax, lane, (rank, place), state, received - EPOCH)
            for name, uid, syntax, lane, rank, place, state, received in rows
        ]

    def breakers(self) -> Mapping[str, str]:
        """Give each destination's breaker."""
        return dict(
            self._cloud.rows.ask(
                "SELECT destination, breaker FROM destination ORDER BY destination"
            )
        )

    def recorded(self) -> list[Recorded]:
        """Return the attempts of all deliveries, the oldest first."""
        rows = self._cloud.rows.ask(RECORDED)
        return [
            Recorded((name, uid, syntax), began - EPOCH, ended - EPOCH, bool(cut))
            for name, uid, syntax, began, ended, cut in rows
        ]


class DeliveringWorld(World):
    """One seed's world, with destinations."""

    def __init__(self, seed: int, parts: Parts | None = None) -> None:
        super().__init__(seed, parts)
        random_source = self.delivery_dice = random.Random(f"{seed}/destinations")
        self.calm = random_source.random() < 0.3
        self.cloud.delivers = True
        self.arrivals = Arrivals(self.oracle, PlatterQueues(self.cloud), self.loop)
        self.pacs = [
            self._destination(number) for number in range(random_source.choice((1, 2, 2, 3)))
        ]
        if self.calm:
            self.arrivals.undisturbed.add(self.pacs[0].name)
        self.cloud.rows.on_commit = self.arrivals.committed
        self.network.on_opened = self._opened

    def _draw_uplink_road(self) -> Road:
        return Road(
            latency=self.random_source.choice((0.001, 0.02, 0.2)),
            bandwidth=self.random_source.choice((300e3, 10e6)),
        )

    def _draw_instances(self, modality: str) -> list[Instance]:
        return draw_data_sets(self.random_source, self.seed, modality)

    def _destination(self, number: int) -> Pacs:
        random_source, name = self.delivery_dice, f"pacs{number}"
        host = self.network.host(name, f"10.0.0.{20 + number}")
        self.arrivals.destinations[name] = Destination(
            name=name,
            host=host.address,
            port=PACS_PORT,
            ae_title=name.upper(),
            connections=random_source.choice((1, 1, 2)),
            timeouts=DestinationTimeouts(
                associate=random_source.choice((5.0, 15.0)),
                response=random_source.choice((10.0, 40.0)),
            ),
        )
        return Pacs(name, host, self.loop, self.seed, self.arrivals)

    def _opened(self, near: Socket) -> None:
        if near.peer.address[1] == CLOUD_PORT:
            self.arrivals.connected()

    async def _provision(self, devices: dict[str, str]) -> None:
        await provision(
            self.cloud, devices, AE_TITLE, DICOM_PORT, [*self.arrivals.destinations.values()]
        )
        for pacs in self.pacs:
            pacs.start()

    def _chaos(self) -> Chaos:
        return DeliveryChaos(self)

    async def _recover(self) -> None:
        await super()._recover()
        deadline = self.loop.time() + LAST_DELIVERY
        while self.arrivals.missing(self._all_instances()) and self.loop.time() < deadline:
            await self._decide()
            await asyncio.sleep(LOOK_EVERY)
        for machine in (self.cloud, self.link):
            machine.kill(power=self.delivery_dice.random() < 0.5)
            machine.start()
        await asyncio.sleep(self.delivery_dice.choice((40.0, 90.0)))

    async def _decide(self) -> None:
        """Do what a person does about queues that wait for one."""

    async def _end(self) -> None:
        await super()._end()
        self.arrivals.judge_end(self._all_instances())


class DeliveryChaos(Chaos):
    """What goes wrong also at destinations and on the way there; in a calm world nothing else."""

    def __init__(self, world: DeliveringWorld) -> None:
        super().__init__(world)
        self._delivering = world
        self._victims = world.pacs[1:] if world.calm else world.pacs
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.kill_pacs),
            (3, self.cut_pacs),
            (3, self.break_pacs),
            (2, self.slow_pacs),
            (2, self.deaf_pacs),
            (3, self.refuse),
            (2, self.hang_up),
            (1, self.slow_road),
        ]
        self._kinds = kinds if world.calm else [*self._kinds, *kinds]

    async def run(self, horizon: float) -> None:
        """Make trouble until the horizon."""
        if self._victims:
            await super().run(horizon)

    async def repair(self) -> None:
        """End every trouble."""
        await super().repair()
        for pacs in self._delivering.pacs:
            self._world.network.heal(self._world.link.host, pacs.host)
            self._world.network.set_road(self._world.link.host, pacs.host, Road())
            pacs.mood = Mood()
            pacs.defuse()
            pacs.start()

    def _victim(self) -> Pacs:
        return self._dice.choice(self._victims)

    async def kill_pacs(self) -> None:
        await self._kill(self._victim())

    async def cut_pacs(self) -> None:
        link, pacs = self._world.link.host, self._victim().host
        self._world.network.partition(link, pacs, one_way=self._dice.random() < 0.3)
        await asyncio.sleep(self._dice.choice((0.5, 5.0, 20.0, 60.0)))
        self._world.network.heal(link, pacs, forgotten=self._dice.random() < 0.5)

    async def break_pacs(self) -> None:
        for socket in self._world.network.between(self._world.link.host, self._victim().host):
            end = self._dice.choice((socket, socket.peer))
            self._world.network.break_after(
                end,
                self._dice.choice((1, 100, 3_000, 100_000)),
                self._dice.choice(("rst", "silent")),
            )

    async def _mood(self, mood: Mood) -> None:
        pacs = self._victim()
        pacs.mood = mood
        await asyncio.sleep(self._dice.uniform(5, 60))
        pacs.mood = Mood()

    async def slow_pacs(self) -> None:
        await self._mood(
            Mood(
                before=self._dice.choice((0.0, 1.0, 9.0)),
                after=self._dice.choice((0.0, 1.0, 30.0, 50.0)),
            )
        )

    async def deaf_pacs(self) -> None:
        await self._mood(Mood(deaf=True))

    async def refuse(self) -> None:
        await self._mood(Mood(status=self._dice.choice((0xA700, 0xB000, 0x0211, *REFUSALS))))

    async def hang_up(self) -> None:
        await self._mood(
            self._dice.choice((Mood(rejects=True), Mood(aborts=True), Mood(mute=True)))
        )

    async def slow_road(self) -> None:
        link, pacs = self._world.link.host, self._victim().host
        self._world.network.set_road(
            link,
            pacs,
            Road(latency=0.3, bandwidth=self._dice.choice((5e3, 50e3)), window=16 * 1024),
        )
        await asyncio.sleep(self._dice.uniform(10, 60))
        self._world.network.set_road(link, pacs, Road())
