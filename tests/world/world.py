"""A hospital, a Link and a Cloud on one simulated network, what goes wrong with them, and how it
ends: one seed, one story.

    World(seed).run()        the same seed gives the same story, step by step

First everything happens at once: modalities send, and chance kills, partitions, breaks, slows down
and reconfigures. Then all is repaired, and what was not acknowledged is sent once more: now it has
to succeed, by itself and in bounded time. At the end the power of the Cloud goes, and the oracle
compares what is left with what the senders were told.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

import structlog

from tests.world.chaos import Chaos
from tests.world.cloud import CloudMachine, PlatterArchive, provision
from tests.world.loop import WorldLoop, current_process
from tests.world.machines import LinkMachine
from tests.world.modality import Modality, draw_habits
from tests.world.network import Road, SimulatedNetwork
from tests.world.oracle import Finding, Instance, Oracle, Rule, Sending
from tests.world.parts import Parts
from tests.world.sending import draw_instances, live

AE_TITLE: Final = "SWALLOWTAIL"
DICOM_PORT: Final = 104
RECOVERY: Final = 120.0
"""Seconds within which a Link is back after every repair.

Dead after 45 s, reconnect within 30 s, a margin.
"""
LAST_ATTEMPTS: Final = 4
LAST_WORDS: Final = 5.0


@dataclass
class Story:
    """What came out of one seed."""

    seed: int
    findings: list[Finding]
    counts: dict[str, int]
    trace_hash: str
    seconds: float
    """Of virtual time."""
    steps: int
    trace: list[str] = field(repr=False)

    @property
    def rules(self) -> set[Rule]:
        return {finding.rule for finding in self.findings}


class World:
    """One seed's world."""

    def __init__(self, seed: int, parts: Parts | None = None) -> None:
        self.seed = seed
        self.random_source = random.Random(f"{seed}/world")
        self.loop = WorldLoop(seed)
        self.network = SimulatedNetwork(self.loop, seed)
        self.parts = parts or Parts()
        cloud, link = (
            self.network.host("cloud", "203.0.113.1"),
            self.network.host("link", "10.0.0.2"),
        )
        self.network.set_road(link, cloud, self._draw_uplink_road())
        self.cloud = CloudMachine(cloud, self.loop, seed, self.parts)
        self.link = LinkMachine(link, cloud, self.loop, seed, self.cloud.code, self.parts)
        twin = self.network.host("twin", "10.0.0.3")
        self.twin = LinkMachine(twin, cloud, self.loop, seed, self.cloud.code, self.parts)
        """A copy of the Link's machine, with the same key and code."""
        self.oracle = Oracle(PlatterArchive(self.cloud))
        self.modalities = [
            self._modality(number) for number in range(self.random_source.randint(1, 3))
        ]
        self.instances = {
            modality.name: self._draw_instances(modality.name) for modality in self.modalities
        }

    def _draw_uplink_road(self) -> Road:
        return Road(
            latency=self.random_source.choice((0.001, 0.02, 0.2)),
            bandwidth=self.random_source.choice((30e3, 300e3, 10e6)),
            window=self.random_source.choice((64, 256, 1024)) * 1024,
            largest_chunk=self.random_source.choice((1_500, 20_000, 64_000)),
        )

    def _draw_instances(self, modality: str) -> list[Instance]:
        return draw_instances(self.random_source, self.seed, modality)

    def _modality(self, number: int) -> Modality:
        host = self.network.host(f"us{number}", f"10.0.0.{10 + number}")
        address = (self.link.host.address, DICOM_PORT)
        modality = Modality(f"US{number}", host, address, self.oracle, self.loop, called=AE_TITLE)
        modality.habits = draw_habits(self.random_source)
        modality.on_echo = self._judge_echo
        return modality

    def _judge_echo(self, sending: Sending) -> None:
        self.oracle.echoed(sending, self.link.cloud_heard_at)

    # running

    def run(self) -> Story:
        """Let the story happen."""
        before = structlog.get_config()
        structlog.configure(processors=[self._log])
        try:
            with self.parts.patched():
                self.loop.run(self._story())
        finally:
            structlog.configure(**before)
            self.loop.close()
            self.cloud.rows.close()
        for problem in self.loop.problems:
            self.oracle.find(Rule.ERROR, problem)
        for stale in self.cloud.rows.stale:
            self.oracle.find(Rule.FENCE, stale)
        return Story(
            self.seed,
            self.oracle.findings,
            dict(self.oracle.counts),
            self.loop.trace_hash(),
            self.loop.time(),
            self.loop.steps,
            list(self.loop.recent),
        )

    def _log(
        self, _: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Trace what the living log; what they log as an error is a finding."""
        process = current_process()
        if process is None or process.alive:
            known = {
                name: value
                for name, value in event.items()
                if name not in {"exc_info", "stack_info"}
            }
            self.loop.recent.append(
                f"{self.loop.time():.6f} {process.name if process else 'world'} logs {method}:"
                f" {known}"
            )
            if method in {"error", "exception", "critical"}:
                self.oracle.find(Rule.ERROR, f"{process.name if process else 'world'}: {event}")
        raise structlog.DropEvent

    async def _story(self) -> None:
        devices = {modality.name: modality.host.address for modality in self.modalities}
        await self._provision(devices)
        self.cloud.start()
        self.link.start()
        await asyncio.sleep(self.random_source.uniform(0, 5))
        horizon = self.loop.time() + self.random_source.uniform(20, 80)
        chaos = self._chaos()
        lives = [live(self, modality, horizon) for modality in self.modalities]
        await asyncio.gather(chaos.run(horizon), *lives)
        await chaos.repair()
        await self._recover()
        await self._end()

    async def _provision(self, devices: dict[str, str]) -> None:
        await provision(self.cloud, devices, AE_TITLE, DICOM_PORT)

    def _chaos(self) -> Chaos:
        return Chaos(self)

    async def _recover(self) -> None:
        """Let what was not stored be stored, now that nothing is in the way."""
        await asyncio.sleep(RECOVERY)
        for modality in self.modalities:
            for _ in range(LAST_ATTEMPTS):
                pending = [
                    one
                    for one in self.instances[modality.name]
                    if one.identity not in self.oracle.acknowledged
                ]
                if not pending:
                    break
                await modality.store(pending)
                await asyncio.sleep(15)
        if not await self.modalities[0].echo():
            self.oracle.find(Rule.STUCK, "a C-ECHO is not answered after all was repaired")
        await asyncio.sleep(5)
        if self.link.buffers_lent and not self.network.between(
            self.link.host, self.modalities[0].host
        ):
            self.oracle.find(
                Rule.ERROR, f"{self.link.buffers_lent} receive buffers were never given back"
            )

    async def _end(self) -> None:
        self.link.kill()
        self.cloud.kill(power=True)
        await asyncio.sleep(LAST_WORDS)
        self.oracle.judge_end(self._all_instances())

    def _all_instances(self) -> list[Instance]:
        return [one for instances in self.instances.values() for one in instances]
