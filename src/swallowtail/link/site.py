"""What the parts of one Link share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from swallowtail.link.directory import Directory
from swallowtail.link.reports import Reports
from swallowtail.wire.net import Session


@dataclass
class Site:
    """The hospital as this Link knows it now.

    `directory` and `version` change with the configuration.
    """

    session: Callable[[], Session | None]
    """The session with the Cloud while it is alive by the design's deadlines."""
    random: Callable[[int], bytes]
    wall: Callable[[], float]
    reports: Reports = field(default_factory=Reports)
    directory: Directory = field(default_factory=Directory)
    version: int = 0
