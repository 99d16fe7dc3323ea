"""The way up.

One session with the Cloud at a time, from hello to close, and the loop that starts the next one.

`connect_once` lives exactly as long as one connection. While it has a session that is alive by the
design's deadlines, `session` gives it to whoever has something to say: stores, reports. What the
Cloud asks is answered by `Answering`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from swallowtail.calls.net import CallFailedError, ServedCall, ask, serve_calls
from swallowtail.calls.report import REPORT, Report, read_noted
from swallowtail.link.cloud_address import Connect, UplinkError
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.reports import Reports
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.events import Close
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
"""What a person does after each refusal (wire §3)."""
REFUSED_WAITS: Final[dict[str, float]] = {
    RefuseReason.VERSION: 60.0,
    RefuseReason.CODE: 30.0,
    RefuseReason.KEY: 30.0,
    RefuseReason.CAPABILITY: 60.0,
}
"""Least seconds until the next try (wire §3)."""
EXPULSIONS: Final = frozenset(
    {CloseCode.VIOLATION, CloseCode.TOO_LONG, CloseCode.LIMIT, CloseCode.REPLACED}
)
"""How the Cloud closes a session for what this Link did, or for another Link with its key."""


class Answering(Protocol):
    """Serves the calls that the Cloud makes."""

    @property
    def calls(self) -> Mapping[str, ServedCall]:
        """Return the calls by name."""

    def session_opened(self) -> None:
        """Handle the start of a session: the state of the endpoints is reported."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this Link is to the Cloud."""

    release: str
    capabilities: tuple[str, ...]
    code: str
    key: DeviceKey


class Uplink:
    """Holds the session with the Cloud and keeps it coming back."""

    def __init__(
        self,
        connect: Connect,
        identity: Identity,
        answering: Answering,
        reports: Reports,
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
        """The session, while new work may be begun on it."""
        session = self._current
        return (
            session
            if session is not None and session.machine.closing is None and session.farewell is None
            else None
        )

    async def run(self) -> None:
        """Connect, live, wait, and connect again, until cancelled."""
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
                    "no session with the Cloud",
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
            await self._be_welcomed(session)
            self._current = session
            try:
                return await self._live(session)
            finally:
                self._current = None

    async def drain(self) -> None:
        """Say goodbye and wait until the session is closed.

        What runs on it may end within 10 s (wire §6).
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

    async def _be_welcomed(self, session: Session) -> None:
        try:
            welcome = await session.welcomed()
        except RefusedError as error:
            refuse = error.refuse
            floor = max(refuse.retry_after, REFUSED_WAITS.get(refuse.reason, 0.0))
            remedy = REFUSED_REMEDIES.get(refuse.reason, "see the Link's page in the Cloud")
            raise UplinkError(
                "hello", f"refused ({refuse.reason}): {refuse.detail}", remedy, retry_after=floor
            ) from error
        except SessionClosedError as error:
            raise UplinkError("hello", str(error), "Link tries again by itself") from error
        self._reconnect.welcomed(session.time())
        log.info("session with the Cloud", epoch=welcome.epoch, session=welcome.session.hex())

    async def _live(self, session: Session) -> tuple[SessionEnding, float]:
        """Answer and report until the session ends."""
        async with Tasks("calls") as tasks:
            serving = serve_calls(session, self._answering.calls, tasks)
            tasks.spawn(serving, name="serve")
            tasks.spawn(self._report(session), name="report")
            self._answering.session_opened()
            await asyncio.wait([session.closed])
        close = session.closed.result()
        log.info("the session with the Cloud has ended", status=close.code, reason=close.text)
        return _ending(close), session.farewell.retry_after if session.farewell is not None else 0.0

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

    async def _send_report(self, session: Session, batch: Report) -> None:
        noted = False
        try:
            await ask(session, REPORT, batch, read_noted, seconds=NOTED_LIMIT)
            noted = True
        except CallFailedError as error:
            log.info("report not delivered", error=error)
        finally:
            if not noted:
                self._reports.restore(batch)


def _ending(close: Close) -> SessionEnding:
    """Return how a session ended, for the next try."""
    return (
        SessionEnding.EXPELLED if close.by_peer and close.code in EXPULSIONS else SessionEnding.LOST
    )
