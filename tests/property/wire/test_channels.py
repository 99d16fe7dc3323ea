"""Two well-behaved sessions, whatever their owners do.

Neither ever accuses the other, and nothing is left behind.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from swallowtail.wire.channel import ChannelMachine, ChannelState, Data
from swallowtail.wire.events import Opened
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.reasons import ResetReason
from swallowtail.wire.session import SessionMachine
from tests.modes import amount
from tests.unit.wire.pair import Pair, cloud_hello, link_hello


class Owners:
    """Everything that the owners of one side can do, at random."""

    def __init__(self, machine: SessionMachine, random_source: random.Random) -> None:
        self.machine, self.random_source, self.channels = machine, random_source, []

    def step(self, now: float) -> None:
        if self.random_source.random() < 0.3 and self.machine.can_open:
            priority = self.random_source.choice(list(ChannelPriority))
            self.channels.append(
                self.machine.open(
                    "c", b"r", priority, now=now, fin=self.random_source.random() < 0.2
                )
            )
        if self.channels:
            self.act(self.random_source.choice(self.channels), now)

    def act(self, channel: ChannelMachine, now: float) -> None:
        event = channel.next_event(now)
        if isinstance(event, Data):
            left = len(event.view)
            for size in self.random_source.choice(((left,), (1, 1, left))):
                channel.consumed(min(size, left), now)
                left -= min(size, left)
        if channel.over:
            self.channels.remove(channel)
        elif self.random_source.random() < 0.15:
            channel.reset(self.random_source.choice(list(ResetReason)[:10]), "because")
        elif channel.state is not ChannelState.HALF_CLOSED_LOCAL:
            match self.random_source.randrange(4):
                case 0:
                    channel.finish()
                case 1:
                    channel.message(
                        bytes(self.random_source.choice((1, 65_528))),
                        fin=self.random_source.random() < 0.3,
                    )
                case _:
                    channel.write(memoryview(bytes(self.random_source.choice((1, 10, 300_000)))))
                    channel.flush()


def unaccounted(_now: float) -> None:
    raise AssertionError(
        "an honest peer's frame came that the account of strays did not foresee (wire §2)"
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=amount(60, 2_000))
def test_well_behaved_sessions_never_accuse_each_other(seed, channels):
    random_source = random.Random(seed)
    pair = Pair(link=link_hello(channels=channels), cloud=cloud_hello(channels=channels))
    for machine in (pair.link, pair.cloud):
        machine._strays.unknown = unaccounted
    owners = {"link": Owners(pair.link, random_source), "cloud": Owners(pair.cloud, random_source)}
    moves = [*((pair.send, side) for side in owners), *((pair.deliver, side) for side in owners)]
    for _ in range(400):
        pair.now += 0.01
        side = random_source.choice(("link", "cloud"))
        owners[side].step(pair.now)
        for _ in range(random_source.randrange(4)):
            move, which = random_source.choice(moves)
            move(which)
        for name, events in pair.events.items():
            owners[name].channels += [
                event.channel for event in events if isinstance(event, Opened)
            ]
            events.clear()
        assert pair.link.closing is pair.cloud.closing is None
    for machine in (pair.link, pair.cloud):
        for channel in list(machine._channels.values()):
            channel.reset(ResetReason.CANCELLED)
    pair.run()
    for machine in (pair.link, pair.cloud):
        assert machine.closing is None
        assert not machine._channels
        assert not machine._opening
        assert machine._own_open == machine._peer_open == 0
        assert not machine.sending
