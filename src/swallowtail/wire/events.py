"""What a session tells its owner, and how it ended. A channel's own events stand in `channel`."""

from dataclasses import dataclass
from typing import NamedTuple

from swallowtail.wire.channel import ChannelMachine
from swallowtail.wire.control import Goodbye
from swallowtail.wire.handshake import HelloEvent


class Close(NamedTuple):
    """How a session ended; `by_peer` tells who closed."""

    code: int
    text: str
    by_peer: bool = False


class Opened(NamedTuple):
    """The peer opened a channel; `channel.opening` says what for."""

    channel: ChannelMachine


class Readable(NamedTuple):
    """The channel has events to pull."""

    channel: ChannelMachine


class Writable(NamedTuple):
    """The channel, which was short of credit, has some; or it has failed."""

    channel: ChannelMachine


@dataclass(frozen=True, slots=True)
class Roomy:
    """A channel that we opened has ended, so another can be opened."""


class GoodbyeReceived(NamedTuple):
    """The peer ends the session; nothing can be opened any more."""

    goodbye: Goodbye


class RoundTrip(NamedTuple):
    """An echo came back."""

    id: int
    seconds: float


SessionEvent = HelloEvent | Opened | Readable | Writable | Roomy | GoodbyeReceived | RoundTrip
