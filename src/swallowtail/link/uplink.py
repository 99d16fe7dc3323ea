"""The session with the Cloud, one at a time, and the loop that starts the next one.

`connect_once` runs exactly as long as one connection. While it has a session within its deadlines,
`session` is available to the calls of Link: stores, reports. The calls of the Cloud are served by
`Answering`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from swallowtail.calls.net import CallFailedError, ServedCall, ask, serve_calls
from swallowtail.calls.report import REPORT, ObservationReport, read_noted
from swallowtail.link.cloud_address import Connect, UplinkError
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.reports import ObservationBuffer
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.control import GoodbyeReason, RefuseReason, Welcome
from swallowtail.wire.events import SessionClose
from swallowtail.wire.failures import RefusedError, SessionClosedError
from swallowtail.wire.handshake import LinkHello
from swallowtail.wire.net import Session
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.reconnect import ReconnectSchedule, SessionEnding
from swallowtail.wire.session import SessionMachine

log = structlog.get_logger()

NOTED_LIMIT: Final = 15.0
REPORT_PAUSE: Final = 1.0
"""Seconds between two reports: what happens within them travels together."""
REFUSED_REMEDIES: Final[dict[str, str]] = {
    RefuseReason.CODE: (
        "rotate the security code in the Cloud and put the fresh one into --code-file"
    ),
    RefuseReason.KEY: (
        "choose rebind for this Link in the Cloud and put the fresh code into --code-file"
    ),
    RefuseReason.VERSION: "update Link, or the Cloud",
    RefuseReason.CAPABILITY: "update Link",
    RefuseReason.BUSY: "Link tries again by itself",
}
"""The remedy for each refusal (wire §3)."""
REFUSED_WAITS: Final[dict[str, float]] = {
    RefuseReason.VERSION: 60.0,
    RefuseReason.CODE: 30.0,
    RefuseReason.KEY: 30.0,
    RefuseReason.CAPABILITY: 60.0,
}
"""Seconds until the next attempt at least (wire §3)."""
EXPULSIONS: Final = frozenset(
    {CloseCode.VIOLATION, CloseCode.TOO_LONG, CloseCode.LIMIT, CloseCode.REPLACED}
)
"""How the Cloud closes a session for what this Link did, or for another Link with its key."""


class Answering(Protocol):
    """The calls that the Cloud makes."""

    @property
    def calls(self) -> Mapping[str, ServedCall]:
        """Return the calls by name."""

    def session_opened(self, cloud_time: float) -> None:
        """Handle the start of a session: the state of the endpoints is reported."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts that identify this Link to the Cloud."""

    release: str
    capabilities: tuple[str, ...]
    code: str
    key: DeviceKey


class Uplink:
    """The session with the Cloud, opened again whenever it has ended."""

    def __init__(
        self,
        connect: Connect,
        identity: Identity,
        answering: Answering,
        reports: ObservationBuffer,
        reconnect: ReconnectSchedule,
    ) -> None:
        self._connect = connect
        self._identity = identity
        self._answering = answering
        self._reports = reports
        self._reconnect = reconnect
        self._current: Session | None = None
        self._news = asyncio.Event()
        reports.on_news = self._news.set

    @property
    def session(self) -> Session | None:
        """Return the session while calls may be opened on it."""
        session = self._current
        return (
            session
            if session is not None
            and session.machine.closing is None
            and session.peer_goodbye is None
            else None
        )

    async def run(self) -> None:
        """Connect, serve, wait, and connect again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._reconnect.due - loop.time())
            try:
                ending, retry_after = await self.connect_once()
            except UplinkError as error:
                ending, retry_after = (
                    SessionEnding.ABSENT if error.absent else SessionEnding.FAILED,
                    error.retry_after,
                )
                log.warning(
                    "connection failed",
                    phase=error.phase,
                    reason=error.what[:120],
                    remedy=error.remedy[:120],
                )
            due = self._reconnect.ended(loop.time(), ending, retry_after)
            log.info("reconnect scheduled", seconds=round(due - loop.time(), 1))

    async def connect_once(self) -> tuple[SessionEnding, float]:
        """Run one session from its connection to its close.

        Returns how it ended, and how many seconds the Cloud asks Link to wait at least. Raises
        UplinkError when there was no session.
        """
        transport = await self._connect()
        machine = SessionMachine(self._hello(), now=asyncio.get_running_loop().time())
        async with Session(machine, transport, name="uplink") as session:
            welcome = await self._complete_handshake(session)
            self._current = session
            try:
                return await self._serve(session, welcome)
            finally:
                self._current = None

    async def drain(self) -> None:
        """Send a goodbye and wait until the session is closed.

        Calls that run may end within 10 s (wire §6).
        """
        if (session := self._current) is not None:
            session.goodbye(GoodbyeReason.DRAINING, detail="Link stops")
            await asyncio.wait([session.closed])

    def _hello(self) -> LinkHello:
        identity = self._identity
        return LinkHello(
            release=identity.release,
            capabilities=identity.capabilities,
            code=identity.code,
            key=identity.key.public,
            sign=identity.key.sign,
        )

    async def _complete_handshake(self, session: Session) -> Welcome:
        try:
            welcome = await session.hello_accepted()
        except RefusedError as error:
            refuse = error.refuse
            floor = max(refuse.retry_after, REFUSED_WAITS.get(refuse.reason, 0.0))
            remedy = REFUSED_REMEDIES.get(refuse.reason, "see the Link's page in the Cloud")
            raise UplinkError(
                "hello", f"refused ({refuse.reason}): {refuse.detail}", remedy, retry_after=floor
            ) from error
        except SessionClosedError as error:
            raise UplinkError("hello", str(error), "Link tries again by itself") from error
        self._reconnect.hello_accepted(session.time())
        log.info("session opened", epoch=welcome.epoch, session=welcome.session.hex())

        return welcome

    async def _serve(self, session: Session, welcome: Welcome) -> tuple[SessionEnding, float]:
        """Serve calls and send reports until the session ends."""
        async with Tasks("calls") as tasks:
            serving = serve_calls(session, self._answering.calls, tasks)
            tasks.spawn(serving, name="serve")
            tasks.spawn(self._report(session), name="report")
            self._answering.session_opened(welcome.time)
            await asyncio.wait([session.closed])
        close = session.closed.result()
        log.info("session closed", status=close.code, reason=close.text)
        return _ending(
            close
        ), session.peer_goodbye.retry_after if session.peer_goodbye is not None else 0.0

    # Reports

    async def _report(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        while session.machine.closing is None:
            self._news.clear()
            now = loop.time()
            batch = self._reports.take(now)
            if batch is not None:
                await self._send_report(session, batch)
                await asyncio.sleep(REPORT_PAUSE)
                continue
            due = self._reports.next_due(now)
            try:
                async with asyncio.timeout_at(due):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _send_report(self, session: Session, batch: ObservationReport) -> None:
        noted = False
        try:
            await ask(session, REPORT, batch, read_noted, seconds=NOTED_LIMIT)
            noted = True
        except CallFailedError as error:
            log.info("report not delivered", error=error)
        finally:
            if not noted:
                self._reports.restore(batch)


def _ending(close: SessionClose) -> SessionEnding:
    """Return how a session ended, for the next attempt."""
    return (
        SessionEnding.EXPELLED if close.by_peer and close.code in EXPULSIONS else SessionEnding.LOST
    )
