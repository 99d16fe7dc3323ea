"""Questions of the Cloud to a Link about itself."""

from typing import Final

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.config import EndpointState

PING: Final = "ping"
STATUS: Final = "status"


class Ping(Call, frozen=True, kw_only=True):
    """Send these bytes back."""

    payload: bytes


class Pong(Call, frozen=True, kw_only=True):
    """The bytes of the ping."""

    payload: bytes


class StatusQuery(Call, frozen=True, kw_only=True):
    """Tell how you are."""


class PolicyStatus(Call, frozen=True, kw_only=True):
    """The hospital's policy as Link read it; `source` is a path, or `default policy`."""

    source: str
    summary: tuple[str, ...]


class LinkStatus(Call, frozen=True, kw_only=True):
    """How Link is: what it runs, on what, under which policy."""

    release: str
    platform: str
    host: str
    uptime: float
    configuration: int
    endpoints: tuple[EndpointState, ...]
    policy: PolicyStatus
    memory: int
    """Resident bytes."""
    associations: int


read_ping: Reader[Ping] = Reader(Ping)
read_pong: Reader[Pong] = Reader(Pong)
read_status_query: Reader[StatusQuery] = Reader(StatusQuery)
read_link_status: Reader[LinkStatus] = Reader(LinkStatus)
