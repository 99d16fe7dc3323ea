"""`/link`.

One session from the upgrade to the close, and the registry of those that exist (wire §1, §3, §6).
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from swallowtail.calls.config import CONFIGURE
from swallowtail.calls.diagnostics import Checked, LinkStatus
from swallowtail.calls.net import call_capability
from swallowtail.cloud.dispatch.runner import Dispatch
from swallowtail.cloud.links.asgi_transport import SHORT_WAY, AsgiFrames
from swallowtail.cloud.links.authentication import Gate, Refusal, verify
from swallowtail.cloud.links.call_table import Calls
from swallowtail.cloud.links.delivering import Outbound, check
from swallowtail.cloud.links.desired import Desired
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.link_session import LinkOfflineError, LinkSession
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.failures import RefusedError, SessionClosedError
from swallowtail.wire.handshake import CloudHello
from swallowtail.wire.net import Session
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import SUBPROTOCOL
from swallowtail.wire.window import NodeBudget

log = structlog.get_logger()

PATH: Final = "/link"
REQUIRED: Final = (call_capability(CONFIGURE),)
"""Capabilities without which a Link is refused: one that cannot be configured is of no use."""
NODE_BUDGET: Final = 512 * 1024 * 1024
"""Bytes that all sessions of this node may hold; each keeps its floor beyond it (wire §5)."""
DRAIN_WAIT: Final = 1.0
AT_FAULT: Final = frozenset({CloseCode.VIOLATION, CloseCode.TOO_LONG, CloseCode.LIMIT})
"""Closed so by us, the Link has broken the wire's rules (wire §9)."""

SESSIONS: Final = Gauge("swallowtail_sessions", "Links with a live session")
REFUSED: Final = Counter("swallowtail_hellos_refused", "Hellos that were refused", ["reason"])
CUT: Final = Counter(
    "swallowtail_sessions_cut", "Sessions that the Cloud closed for what the Link did", ["status"]
)


class LinkSessions:
    """The Links that are connected to this node; serves each from its upgrade on."""

    def __init__(
        self,
        *,
        gate: Gate,
        calls: Calls,
        desired: Desired,
        reports: Reports,
        dispatch: Dispatch,
        clock: Clock,
        random: Randomness = secrets.token_bytes,
    ) -> None:
        self._gate, self._calls, self._desired, self._reports = gate, calls, desired, reports
        self._dispatch = dispatch
        self._clock, self._random = clock, random
        self._node = NodeBudget(NODE_BUDGET)
        self._live: dict[tuple[Tenant, str], LiveLink] = {}
        self._begun: set[Session] = (
            set()
        )  # from the hello to the close; live ones and those that are replaced among them
        self._draining = False

    # What the API asks (model.ports.sessions)

    def session(self, tenant: Tenant, link: str) -> LinkSession | None:
        """Return the live session of a Link; None when it has none here."""
        live = self._live.get((tenant, link))
        return live.link_session if live else None

    async def ping(self, tenant: Tenant, link: str, size: int) -> float:
        """Send `size` bytes to the Link and back; gives the seconds."""
        return await self._need(tenant, link).ping(size)

    async def status(self, tenant: Tenant, link: str) -> LinkStatus:
        """Ask a Link how it is."""
        return await self._need(tenant, link).status()

    async def check(self, tenant: Tenant, link: str, destination: str) -> Checked:
        """Check a destination through its Link."""
        return await check(self._need(tenant, link), destination)

    def _need(self, tenant: Tenant, link: str) -> LiveLink:
        live = self._live.get((tenant, link))
        if live is None:
            raise LinkOfflineError
        return live

    # Sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket to its end (ASGI)."""
        websocket = WebSocket(scope, receive, send)
        if SUBPROTOCOL not in scope["subprotocols"]:
            text = (
                f"This is where Links connect; they use the WebSocket subprotocol {SUBPROTOCOL}.\n"
            )
            await websocket.send_denial_response(PlainTextResponse(text, HTTPStatus.BAD_REQUEST))
            return
        await websocket.accept(SUBPROTOCOL)
        loop = asyncio.get_running_loop()
        address = websocket.client.host if websocket.client else ""
        frames = AsgiFrames(receive, send, loop, scope.get("extensions", {}).get(SHORT_WAY))
        hello = CloudHello(
            capabilities=self._calls.capabilities,
            required=REQUIRED,
            nonce=self._random(32),
            verify=verify,
        )
        machine = SessionMachine(hello, now=loop.time(), node=self._node)
        try:
            async with Session(machine, frames, name="link") as session:
                with self._noted(session):
                    if (live := await self._admit(session, frames, address)) is not None:
                        await self._live_with(live)
                    await asyncio.wait([session.closed])
        except SessionClosedError:
            REFUSED.labels("left").inc()
        except RefusedError as error:
            REFUSED.labels(error.refuse.reason).inc()

    @contextmanager
    def _noted(self, session: Session) -> Iterator[None]:
        self._begun.add(session)
        try:
            yield
        finally:
            self._begun.discard(session)

    async def drain(self) -> None:
        """End every session in valid order; those that connect now are asked to come again.

        What runs gets 10 s (wire §6). Whatever Links do, this returns within 15 s: the last words
        and the close of a session that moves nothing have deadlines of their own.
        """
        self._draining = True
        waiting = [session.closed for session in self._begun]
        for session in self._begun:
            if session.machine.ready:
                session.goodbye(
                    GoodbyeReason.DRAINING, detail="the Cloud stops", retry_after=DRAIN_WAIT
                )
            elif session.machine.closing is None:
                _refuse(session, Refusal(RefuseReason.BUSY, "the Cloud stops", DRAIN_WAIT))
        if waiting:
            await asyncio.wait(waiting)

    async def _admit(self, session: Session, frames: AsgiFrames, address: str) -> LiveLink | None:
        if self._draining:
            _refuse(session, Refusal(RefuseReason.BUSY, "the Cloud stops", DRAIN_WAIT))
            return None
        received = await session.hello()
        judged = await self._gate.judge(received, address)
        try:
            if isinstance(judged, Refusal):
                _refuse(session, judged)
                return None
            frames.admit()  # a Link may send as soon as it has the welcome
            session.welcome(session=self._random(16), epoch=judged.link.epoch, time=self._clock())
        except LocalProtocolError:
            return None  # its deadline has passed meanwhile
        return LiveLink(
            session, frames, judged, address, received.hello.release, self._clock(), session.time()
        )

    async def _live_with(self, live: LiveLink) -> None:
        """Serve a welcomed Link until its session ends.

        The session that it replaces is refused.
        """
        key = (live.tenant, live.link)
        older = self._live.get(key)
        if older is not None and older.epoch > live.epoch:
            live.session.goodbye(GoodbyeReason.REPLACED)
            return
        self._live[key] = live
        SESSIONS.set(len(self._live))
        if older is not None:
            older.session.goodbye(
                GoodbyeReason.REPLACED, detail="another session of this Link has begun"
            )
        log.info(
            "session opened",
            link=live.link,
            tenant=live.tenant,
            epoch=live.epoch,
            peer=live.address,
            release=live.release,
        )
        try:
            async with Tasks(f"link {live.link}") as tasks:
                tasks.spawn(self._calls.serve(live, tasks), name="calls")
                tasks.spawn(self._keep(live), name="desired")
                tasks.spawn(self._dispatch.serve_link(Outbound(live)), name="deliveries")
                await asyncio.wait([live.session.closed])
        finally:
            if self._live.get(key) is live:
                del self._live[key]
            SESSIONS.set(len(self._live))
            await self._ended(live)

    async def _keep(self, live: LiveLink) -> None:
        try:
            await self._reports.note_connected(live)
        except StorageUnavailableError:
            log.warning("session start not recorded", link=live.link)
        await self._desired.watch(live)

    async def _ended(self, live: LiveLink) -> None:
        close = live.session.closed.result() if live.session.closed.done() else None
        status = close.code if close else None
        if close is not None and not close.by_peer and close.code in AT_FAULT:
            CUT.labels(CloseCode(close.code).name.lower()).inc()
            log.warning(
                "violating session closed",
                link=live.link,
                tenant=live.tenant,
                status=status,
                reason=close.text,
            )
        log.info(
            "session closed", link=live.link, tenant=live.tenant, epoch=live.epoch, status=status
        )
        try:
            await self._reports.note_offline(live, self._clock())
        except StorageUnavailableError:
            log.warning("session end not recorded", link=live.link)


def _refuse(session: Session, refusal: Refusal) -> None:
    REFUSED.labels(refusal.reason.value).inc()
    session.refuse(refusal.reason, refusal.detail, retry_after=refusal.retry_after)
