"""The calls by which the Cloud examines a Link."""

from typing import Final

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.config import EndpointState

PING: Final = "ping"
STATUS: Final = "status"
CHECK: Final = "check"


class Ping(Call, frozen=True, kw_only=True):
    """The request to send these bytes back."""

    payload: bytes


class Pong(Call, frozen=True, kw_only=True):
    """The bytes of the ping."""

    payload: bytes


class StatusQuery(Call, frozen=True, kw_only=True):
    """The request for the status of Link."""


class PolicyStatus(Call, frozen=True, kw_only=True):
    """The hospital's policy as Link read it; `source` is a path, or `default policy`."""

    source: str
    summary: tuple[str, ...]


class LinkStatus(Call, frozen=True, kw_only=True):
    """The status of Link: its release, its platform, its endpoints and its policy."""

    release: str
    platform: str
    host: str
    uptime: float
    configuration: int
    endpoints: tuple[EndpointState, ...]
    policy: PolicyStatus
    clock_offset: float
    """Seconds by which Link's clock was ahead of the Cloud's when the session began (wire §3)."""
    memory: int
    """Resident bytes."""
    connections: int
    """Of all endpoints together."""


class CheckRequest(Call, frozen=True, kw_only=True):
    """The request to check a destination step by step, up to a C-ECHO; nothing is stored."""

    destination: str


class CheckStep(Call, frozen=True, kw_only=True):
    """One step: `policy`, `resolve`, `connect`, `associate`, `echo`."""

    name: str
    ok: bool
    seconds: float
    detail: str
    """The finding; of a step that failed, with the remedy."""


class Checked(Call, frozen=True, kw_only=True):
    """The steps in their order; none follows one that failed."""

    steps: tuple[CheckStep, ...]


read_check_request: Reader[CheckRequest] = Reader(CheckRequest)
read_checked: Reader[Checked] = Reader(Checked)
read_ping: Reader[Ping] = Reader(Ping)
read_pong: Reader[Pong] = Reader(Pong)
read_status_query: Reader[StatusQuery] = Reader(StatusQuery)
read_link_status: Reader[LinkStatus] = Reader(LinkStatus)
