"""What Link answers when the Cloud asks.

Run this configuration, are you there, how are you, store this (`calls.config`, `.diagnostics`,
`.deliver`).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
from swallowtail.calls.deliver import DELIVER
from swallowtail.calls.diagnostics import (
    CHECK,
    PING,
    STATUS,
    LinkStatus,
    PolicyStatus,
    Pong,
    read_ping,
    read_status_query,
)
from swallowtail.calls.document import Problem
from swallowtail.calls.net import ServedCall
from swallowtail.calls.report import Endpoints as EndpointsReport
from swallowtail.link.directory import Directory
from swallowtail.link.endpoints import Endpoints
from swallowtail.link.policy import Policy, summary
from swallowtail.link.scu.destinations import Destinations
from swallowtail.link.state import LinkState
from swallowtail.wire.channel import Data
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

log = structlog.get_logger()

STATM: Final = Path("/proc/self/statm")
MAX_SUMMARY: Final = 128
"""So that every answer is one message (wire §2)."""
CALL_LIMIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class About:
    """What this Link says of itself."""

    release: str
    platform: str
    host: str
    started: float
    """Loop time."""


class Answers:
    """Serves the channels that the Cloud opens."""

    def __init__(
        self,
        endpoints: Endpoints,
        destinations: Destinations,
        state: LinkState,
        *,
        policy: Policy,
        about: About,
        now: Callable[[], float],
    ) -> None:
        self._endpoints = endpoints
        self._destinations = destinations
        self._state = state
        self._policy = policy
        self._about = about
        self._now = now
        self._newest = 0
        self.calls: Mapping[str, ServedCall] = {
            CONFIGURE: ServedCall(self._configure, CALL_LIMIT),
            PING: ServedCall(self._ping, CALL_LIMIT),
            STATUS: ServedCall(self._status, CALL_LIMIT),
            DELIVER: ServedCall(destinations.deliver),  # its waits have deadlines of their own
            CHECK: ServedCall(destinations.check, CALL_LIMIT),
        }

    def greeted(self) -> None:
        """Learn that a session stands.

        What an earlier one asked for counts no more, and the Cloud hears how the endpoints are.
        """
        self._newest = 0
        self.report_endpoints()

    def report_endpoints(self) -> None:
        """Note for the Cloud which version runs, and how each endpoint is."""
        self._state.reports.endpoints(
            EndpointsReport(version=self._state.version, endpoints=self._states)
        )

    @property
    def _states(self) -> tuple[EndpointState, ...]:
        return (*self._endpoints.states, *self._destinations.states)

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
            memory=_resident_bytes(),
            connections=sum(state.connections for state in states),
        )
        await channel.message(encode(status), fin=True)

    async def _configure(self, channel: Channel) -> None:
        wish = read_configure(channel.opening.body)
        self._newest = max(self._newest, wish.version)
        document = wish.document or await _read_document(channel)
        if len(document) > MAX_DOCUMENT:
            channel.reset(ResetReason.LIMIT, f"a document of more than {MAX_DOCUMENT} bytes")
            return
        if wish.version < self._newest:  # its document took longer than that of a later wish
            channel.reset(ResetReason.CANCELLED, f"version {self._newest} was asked for meanwhile")
            return
        problems = await self._apply(wish.version, document)
        log.info(
            "configuration",
            version=wish.version,
            state="refused" if problems else "applied",
            count=len(problems),
        )
        applied = Applied(version=wish.version, endpoints=self._states)
        await channel.message(
            encode(refusal(wish.version, problems) if problems else applied), fin=True
        )

    async def _apply(self, version: int, document: bytes) -> tuple[Problem, ...]:
        try:
            configuration = parse(document)
        except InvalidConfigurationError as error:
            return error.problems
        return await self._endpoints.apply(
            configuration, lambda: self._adopt(version, configuration)
        )

    def _adopt(self, version: int, configuration: Configuration) -> None:
        self._state.version = version
        self._state.directory = Directory.of(configuration.devices)
        self._destinations.apply(configuration.destinations)


async def _read_document(channel: Channel) -> bytes:
    """Read a document that did not fit into OPEN, to a little more than MAX_DOCUMENT at most."""
    document = bytearray()
    while isinstance(event := await channel.receive(), Data) and len(document) <= MAX_DOCUMENT:
        document += event.view
        channel.consumed(len(event.view))
    return bytes(document)


def _resident_bytes() -> int:
    """Give the resident memory; 0 where the system has no /proc."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
