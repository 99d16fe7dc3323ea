"""Two real session machines, one of each role, and a pretend wire between them."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from swallowtail.sansio.machine import CLOSED, NEED_DATA
from swallowtail.wire.channel import ChannelMachine
from swallowtail.wire.events import Opened, SessionEvent
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.handshake import CloudHello, HelloReceived, LinkHello
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.window import NodeBudget

KEY = b"k" * 32


def sign(message: bytes) -> bytes:
    return message[-64:].ljust(64, b"\0")


def verify(key: bytes, proof: bytes, message: bytes) -> bool:
    return key == KEY and proof == sign(message)


def link_hello(**changes: Any) -> LinkHello:
    fields = {
        "release": "1.0",
        "capabilities": ("one", "two"),
        "code": "CODE",
        "key": KEY,
        "sign": sign,
    }
    return LinkHello(**(fields | changes))


def cloud_hello(**changes: Any) -> CloudHello:
    fields = {
        "capabilities": ("two", "three"),
        "nonce": b"n" * 32,
        "verify": verify,
    }
    return CloudHello(**(fields | changes))


def drain(machine: SessionMachine) -> list[SessionEvent]:
    """Pull every event that waits."""
    events = []
    while (event := machine.next_event()) is not NEED_DATA and event is not CLOSED:
        events.append(event)
    return events


def welcome(cloud: SessionMachine, **changes: Any) -> None:
    cloud.welcome(**({"session": b"s" * 16, "epoch": 7, "time": 2.5} | changes))


class Pair:
    """Link and Cloud, and what is on its way between them. Time is what the test says it is."""

    def __init__(
        self,
        *,
        link: LinkHello | None = None,
        cloud: CloudHello | None = None,
        node: NodeBudget | None = None,
        stand: bool = True,
    ) -> None:
        self.now = 0.0
        self.link = SessionMachine(link or link_hello(), now=0.0)
        self.cloud = SessionMachine(cloud or cloud_hello(), now=0.0, node=node)
        self.to_cloud: deque[bytes] = deque()
        self.to_link: deque[bytes] = deque()
        self.events: dict[str, list[SessionEvent]] = {"link": [], "cloud": []}
        if stand:
            self.stand()

    def stand(self) -> None:
        """Run the hello to its good end."""
        self.run()
        assert isinstance(self.events["cloud"].pop(), HelloReceived)
        welcome(self.cloud)
        self.run()
        self.events["link"].clear()

    def send(self, side: str) -> bool:
        """Let one frame of `side` leave."""
        machine, way = (self.link, self.to_cloud) if side == "link" else (self.cloud, self.to_link)
        if frame := machine.data_to_send():
            way.append(bytes(frame))
        return bool(frame)

    def deliver(self, side: str) -> bool:
        """Let one frame reach `side`."""
        machine, way = (self.cloud, self.to_cloud) if side == "cloud" else (self.link, self.to_link)
        if not way:
            return False
        machine.receive_data(way.popleft(), self.now)
        self.events[side] += drain(machine)
        return True

    def run(
        self, choose: random.Random | None = None, each: Callable[[], object] | None = None
    ) -> None:
        """Move frames until nothing moves any more.

        `choose` picks the order, `each` is called after every step.
        """
        steps = [
            (self.send, "link"),
            (self.send, "cloud"),
            (self.deliver, "link"),
            (self.deliver, "cloud"),
        ]
        idle = 0
        while idle < len(steps):
            if choose is not None:
                choose.shuffle(steps)
            moved = False
            for step, side in steps:
                moved = step(side) or moved
                if each is not None:
                    each()
            idle = 0 if moved else len(steps)

    def open(self, call: str = "store", **changes: Any) -> tuple[ChannelMachine, ChannelMachine]:
        """Open a channel from Link to Cloud; give both ends."""
        fields = {"body": b"", "priority": ChannelPriority.BULK, "now": self.now}
        ours = self.link.open(call, **(fields | changes))
        self.run()
        opened = [event for event in self.events["cloud"] if isinstance(event, Opened)]
        self.events["cloud"].clear()
        return ours, opened[-1].channel
