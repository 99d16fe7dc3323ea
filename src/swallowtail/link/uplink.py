"""The way up: one session with the Cloud at a time, from hello to close, and the loop that starts the next one.

`connect_once` lives exactly as long as one connection. While it has a session that is alive by the design's deadlines, `session` gives
it to whoever has something to say: stores, reports. What the Cloud asks is answered by `Answering`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.report import REPORT, Report, read_noted
from swallowtail.link.cloud import Connect, UplinkError
from swallowtail.link.key import DeviceKey
from swallowtail.link.reports import Reports
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.backoff import Backoff
from swallowtail.wire.channel import Message
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.errors import ResetReason
from swallowtail.wire.failures import ChannelResetError, RefusedError, SessionClosedError
from swallowtail.wire.frames import Priority
from swallowtail.wire.handshake import LinkHello
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import FrameTransport

log = structlog.get_logger()

CAPABILITIES: Final[tuple[str, ...]] = ()
NOTED_LIMIT: Final = 15.0
REFUSED_REMEDIES: Final = {
    RefuseReason.CODE: "the security code is unknown, revoked or mistyped: put a fresh one into --code-file (rotate it in the Cloud)",
    RefuseReason.KEY: "the code is bound to another device key: choose `rebind` for this Link in the Cloud and use the code it shows",
    RefuseReason.VERSION: "update Link, or the Cloud",
    RefuseReason.CAPABILITY: "update Link",
    RefuseReason.BUSY: "Link tries again by itself",
}
"""What a person does after each refusal (wire §3)."""
REFUSED_WAITS: Final = {
    RefuseReason.VERSION: 60.0,
    RefuseReason.CODE: 30.0,
    RefuseReason.KEY: 30.0,
    RefuseReason.CAPABILITY: 60.0,
}
"""Least seconds until the next try (wire §3)."""


class Answering(Protocol):
    """Answers the calls that the Cloud opens."""

    async def answer(self, channel: Channel) -> None:
        """Serve one channel to its end."""

    def greeted(self) -> None:
        """Learn that a session stands, so that the Cloud is told how the endpoints are."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this Link is to the Cloud."""

    release: str
    code: str
    key: DeviceKey
    instance: bytes
    """16 random bytes, new at each start (wire §3)."""


class Uplink:
    """Holds the session with the Cloud and keeps it coming back."""

    def __init__(self, connect: Connect, identity: Identity, answering: Answering, reports: Reports, backoff: Backoff) -> None:
        self._connect = connect
        self._identity = identity
        self._answering = answering
        self._reports = reports
        self._backoff = backoff
        self._current: Session | None = None
        self._stopping = asyncio.Event()

    @property
    def session(self) -> Session | None:
        """The session, while new work may be begun on it."""
        session = self._current
        return session if session is not None and session.machine.closing is None and session.farewell is None else None
