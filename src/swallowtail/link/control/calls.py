"""The calls that the Cloud makes on Link, by name.

Configuration, ping and status are served here; the others come from the parts that serve them
(`agent` passes them in).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    CONFIGURE,
    MAX_DOCUMENT,
    Applied,
    Configuration,
    EndpointState,
    InvalidConfigurationError,
    parse,
    read_configure,
    refusal,
)
from swallowtail.calls.diagnostics import (
    PING,
    STATUS,
    LinkStatus,
    PolicyStatus,
    Pong,
    read_ping,
    read_status_query,
)
from swallowtail.calls.document import MAX_TEXT, Problem
from swallowtail.calls.net import ServedCall
from swallowtail.calls.report import EndpointStates
from swallowtail.link.directory import Directory
from swallowtail.link.endpoints import Endpoints
from swallowtail.link.policy import Policy, summary
from swallowtail.link.state import LinkState
from swallowtail.wire.channel import Data
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

log = structlog.get_logger()

STATM: Final = Path("/proc/self/statm")
MAX_SUMMARY: Final = 128
"""Lines of the policy's summary, so that every response is one message (wire §2)."""
CALL_LIMIT: Final = 60.0
MAX_CLOCK_OFFSET: Final = 60.0
"""Seconds beyond which times of the logs of Link and Cloud cannot be compared."""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """Facts about this Link for its status."""

    release: str
    platform: str
    host: str
    started: float
    """Loop time."""


class EndpointGroup(Protocol):
    """Endpoints that follow the configuration: the destinations of one protocol, for example."""

    @property
    def states(self) -> tuple[EndpointState, ...]:
        """Return the state of each endpoint."""

    def apply(self, configuration: Configuration) -> None:
        """Run this configuration from now on."""


class ControlCalls:
    """The calls of the Cloud, by name."""

    def __init__(
        self,
        endpoints: Endpoints,
        state: LinkState,
        *,
        groups: Sequence[EndpointGroup],
        calls: Mapping[str, ServedCall],
        policy: Policy,
        about: LinkFacts,
        now: Callable[[], float],
    ) -> None:
        self._endpoints = endpoints
        self._groups = groups
        self._state = state
        self._policy = policy
        self._about = about
        self._now = now
        self._newest = 0
        self._clock_offset = 0.0
        self.calls: Mapping[str, ServedCall] = {
            CONFIGURE: ServedCall(self._configure, CALL_LIMIT),
            PING: ServedCall(self._ping, CALL_LIMIT),
            STATUS: ServedCall(self._status, CALL_LIMIT),
            **calls,
        }

    def session_opened(self, cloud_time: float) -> None:
        """Handle a new session: requests of an earlier one no longer count.

        The state of the endpoints is reported. `cloud_time` is the Cloud's clock, UTC seconds; the
        difference from Link's is logged when it matters, and part of the status.
        """
        self._newest = 0
        self._clock_offset = self._state.wall() - cloud_time
        if abs(self._clock_offset) > MAX_CLOCK_OFFSET:
            log.warning("clock offset detected", seconds=round(self._clock_offset, 1))
        self.report_endpoints()

    def report_endpoints(self) -> None:
        """Report to the Cloud which version runs, and the state of each endpoint."""
        self._state.reports.endpoints(
            EndpointStates(version=self._state.version, endpoints=self._states)
        )

    @property
    def _states(self) -> tuple[EndpointState, ...]:
        return (*self._endpoints.states, *(one for group in self._groups for one in group.states))

    async def _ping(self, channel: Channel) -> None:
        await channel.message(
            encode(Pong(payload=read_ping(channel.opening.body).payload)), fin=True
        )

    async def _status(self, channel: Channel) -> None:
        read_status_query(channel.opening.body)
        states = self._states
        status = LinkStatus(
            release=self._about.release,
            platform=self._about.platform,
            host=self._about.host,
            uptime=self._now() - self._about.started,
            configuration=self._state.version,
            endpoints=states,
            policy=PolicyStatus(
                source=self._policy.source, summary=summary(self._policy)[:MAX_SUMMARY]
            ),
            clock_offset=self._clock_offset,
            memory=_resident_bytes(),
            connections=sum(state.connections for state in states),
        )
        await channel.message(encode(status), fin=True)

    async def _configure(self, channel: Channel) -> None:
        desired = read_configure(channel.opening.body)
        self._newest = max(self._newest, desired.version)
        document = desired.document or await _read_document(channel)
        if len(document) > MAX_DOCUMENT:
            channel.reset(ResetReason.LIMIT, f"a document of more than {MAX_DOCUMENT} bytes")
            return
        if desired.version < self._newest:  # a later one was read while this one arrived
            channel.reset(ResetReason.CANCELLED, f"version {self._newest} was requested meanwhile")
            return
        problems = await self._apply(desired.version, document)
        if problems:
            log.info("configuration refused", version=desired.version, count=len(problems))
        else:
            log.info("configuration applied", version=desired.version)
        applied = Applied(version=desired.version, endpoints=self._states)
        await channel.message(
            encode(refusal(desired.version, problems) if problems else applied), fin=True
        )

    async def _apply(self, version: int, document: bytes) -> tuple[Problem, ...]:
        try:
            configuration = parse(document)
        except InvalidConfigurationError as error:
            # the Cloud has checked the document, so this Link is the older of the two
            remedy = f"; this Link is release {self._about.release}: update it"
            return tuple(
                Problem(field=one.field, message=one.message[: MAX_TEXT - len(remedy)] + remedy)
                for one in error.problems
            )
        return await self._endpoints.apply(
            configuration, lambda: self._adopt(version, configuration)
        )

    def _adopt(self, version: int, configuration: Configuration) -> None:
        self._state.version = version
        self._state.directory = Directory.of(configuration.devices)
        for group in self._groups:
            group.apply(configuration)


async def _read_document(channel: Channel) -> bytes:
    """Read a document that did not fit into OPEN, up to a little more than MAX_DOCUMENT."""
    document = bytearray()
    while isinstance(event := await channel.receive(), Data) and len(document) <= MAX_DOCUMENT:
        document += event.view
        channel.consumed(len(event.view))
    return bytes(document)


def _resident_bytes() -> int:
    """Return the resident memory in bytes; 0 where the system has no /proc."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
