"""The state that the parts of one Link share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from swallowtail.link.directory import Directory
from swallowtail.link.reports import ObservationBuffer
from swallowtail.wire.net import Session


@dataclass
class LinkState:
    """The running configuration, the session with the Cloud, and what every part needs besides.

    `directory` and `version` change with the configuration.
    """

    session: Callable[[], Session | None]
    """Return the session with the Cloud; None when there is none within its deadlines."""
    random: Callable[[int], bytes]
    wall: Callable[[], float]
    reports: ObservationBuffer = field(default_factory=ObservationBuffer)
    directory: Directory = field(default_factory=Directory)
    version: int = 0
