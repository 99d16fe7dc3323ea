"""The events of a session, and its end; those of a channel are in `channel`."""

from dataclasses import dataclass
from typing import NamedTuple

from swallowtail.wire.channel import ChannelMachine
from swallowtail.wire.control import Goodbye
from swallowtail.wire.handshake import HelloEvent


class SessionClose(NamedTuple):
    """The end of a session; `by_peer`: whether the peer closed it."""

    code: int
    text: str
    by_peer: bool = False


class Opened(NamedTuple):
    """The peer opened a channel; `channel.opening` contains the call."""

    channel: ChannelMachine


class Readable(NamedTuple):
    """The channel has events to pull."""

    channel: ChannelMachine


class Writable(NamedTuple):
    """A channel that lacked credit has some, or it has failed."""

    channel: ChannelMachine


@dataclass(frozen=True, slots=True)
class ChannelsAvailable:
    """A channel that we opened has ended, so another can be opened."""


class GoodbyeReceived(NamedTuple):
    """The peer ends the session; no channel can be opened any more."""

    goodbye: Goodbye


class RoundTrip(NamedTuple):
    """An echo was answered."""

    id: int
    seconds: float


SessionEvent = (
    HelloEvent | Opened | Readable | Writable | ChannelsAvailable | GoodbyeReceived | RoundTrip
)
