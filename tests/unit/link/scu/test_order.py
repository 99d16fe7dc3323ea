"""A lane into a PACS that fails in every way at random.

Order, bytes and answers hold, with the next ones always on their way.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass, field

import msgspec
import pytest

from swallowtail.calls.config import DestinationTimeouts
from swallowtail.calls.deliver import DeliverAnswer, Delivered
from swallowtail.dicom.commands import response_to
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.net import Connection
from swallowtail.dicom.pdu import ContextResult
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.failures import ChannelResetError, SessionClosedError
from tests.modes import amount
from tests.unit.link.archive import BIG, DESTINATION, PACS, Archive, deliver, to
from tests.unit.link.stage import LINK, Stage, play

COUNT = 12
TIMEOUTS = DestinationTimeouts(connect=2, associate=3, response=5, idle=1)


@dataclass
class Lane:
    """The Cloud's half.

    Strict order, one to three ahead of the answer, everything again until the PACS has it.
    """

    stage: Stage
    random_source: random.Random
    strict: bool
    """One request outstanding at a time: then nothing may overtake."""
    answers: list[tuple[int, DeliverAnswer | None]] = field(default_factory=list)
    open: list[int] = field(default_factory=lambda: list(range(1, COUNT + 1)))

    def body(self, number: int) -> bytes:
        """Give the bytes of an instance: some fit into a window, some do not."""
        return BIG[number : number + (20_000 if number % 3 else 1_200_000)]

    async def run(self) -> None:
        """Work until all are delivered."""
        while self.open:
            async with Tasks("lane") as tasks:
                jobs = [tasks.spawn(self._try(self.open[0], 0), name="head")]
                await asyncio.sleep(self.random_source.uniform(0, 0.2))
                for ahead, following in [*itertools.pairwise(self.open)][
                    : self.random_source.choice((1, 1, 3))
                ]:
                    behind = (
                        0 if jobs[-1].done() and isinstance(jobs[-1].result(), Delivered) else ahead
                    )
                    jobs.append(tasks.spawn(self._try(following, behind), name="next"))
                    await asyncio.sleep(self.random_source.choice((0, 0, 0.1)))
                await asyncio.wait(jobs)
            delivered = [isinstance(job.result(), Delivered) for job in jobs]
            assert not self.strict or delivered == sorted(delivered, reverse=True), (
                "one has overtaken"
            )
            if not all(delivered):
                await asyncio.sleep(self.random_source.uniform(0, 3))
            self.open = [
                number for number, done in zip(self.open, delivered, strict=False) if not done
            ] + self.open[len(jobs) :]

    async def _try(self, number: int, behind: int) -> DeliverAnswer | None:
        try:
            answer: DeliverAnswer | None = await deliver(
                self.stage, number, self.body(number), behind=behind
            )
        except (ChannelResetError, SessionClosedError):
            answer = None
        self.answers.append((number, answer))
        return answer


@dataclass
class Unruly:
    """What a PACS does wrong half of the time."""

    stage: Stage
    random_source: random.Random

    async def behave(self, archive: Archive, connection: Connection) -> None:
        """Abort at once, abort in the middle, read nothing, refuse every presentation context, or
        be a PACS.
        """
        how = self.random_source.randrange(9)
        archive.refuses = ContextResult.NO_REASON if how == 3 else None
        if how == 0:
            connection.abort()
        elif how <= 2:
            archive.meet(connection, (await connection.next_event()).request)
            for _ in range(self.random_source.randrange(1, 20) if how == 1 else 0):
                await connection.next_event()
            await asyncio.sleep(0 if how == 1 else 8)
        else:
            await archive.converse(connection)

    async def respond(self, connection: Connection, received: CommandReceived) -> None:
        """Abort, answer too late, lose the connection, fail, or answer."""
        await asyncio.sleep(self.random_source.uniform(0, 0.4))
        how = self.random_source.randrange(8)
        if how == 0:
            connection.abort()
        elif how == 1:
            await asyncio.sleep(6)
        elif how == 2:
            for socket in self.stage.network.between(
                self.stage.hosts[LINK], self.stage.network.hosts[PACS]
            ):
                self.stage.network.break_connection(socket, "rst")
        elif not connection.closed:
            status = self.random_source.choice([0xA700, 0xC000]) if how == 3 else 0
            connection.send(received.context.id, response_to(received.command, status))


@pytest.mark.parametrize("outstanding", [1, 2])
@pytest.mark.parametrize("seed", range(amount(5, 400)))
def test_order_and_bytes_hold_whatever_the_destination_does(seed: int, outstanding: int) -> None:
    random_source = random.Random(seed)

    async def scene(stage: Stage) -> None:
        wrong = Unruly(stage, random_source)
        archive = await Archive(
            stage, behave=wrong.behave, respond=wrong.respond, window=outstanding
        ).open()
        lane = Lane(stage, random_source, strict=outstanding == 1)
        async with asyncio.timeout(3000):
            await lane.run()
        firsts = list(dict.fromkeys(uid for uid, _ in archive.stored))
        expected = [f"1.2.3.{number}" for number in range(1, COUNT + 1)]
        assert firsts == expected or (outstanding > 1 and sorted(firsts) == sorted(expected))
        for uid, data in archive.stored:
            assert data == lane.body(int(uid.rpartition(".")[2]))
        assert any(
            answer is not None and not isinstance(answer, Delivered) for _, answer in lane.answers
        )

    play(
        scene,
        configuration=to(
            msgspec.structs.replace(DESTINATION, timeouts=TIMEOUTS, outstanding=outstanding)
        ),
    )
