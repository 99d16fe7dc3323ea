"""One live session of a Link: the calls that the Cloud makes on it, and its state."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from swallowtail.calls.codec import Reader, T
from swallowtail.calls.config import CONFIGURE, Configure, ConfigureAnswer, read_configure_answer
from swallowtail.calls.diagnostics import (
    PING,
    STATUS,
    LinkStatus,
    Ping,
    StatusQuery,
    read_link_status,
    read_pong,
)
from swallowtail.calls.net import CallFailedError, ask
from swallowtail.cloud.links.asgi_transport import AsgiFrames
from swallowtail.cloud.model.link_session import LinkOfflineError, LinkSession
from swallowtail.cloud.model.tenancy import Admitted, Tenant
from swallowtail.wire.failures import SessionClosedError
from swallowtail.wire.net import Session

CALL_SECONDS: Final = 30.0
IN_OPEN: Final = 60_000
"""A configuration of at most so many bytes travels in OPEN.

A longer one follows it as DATA (calls.config).
"""


@dataclass(slots=True, eq=False)
class LiveLink:
    """A Link with a session, until `session.closed`."""

    session: Session
    frames: AsgiFrames
    admitted: Admitted
    address: str
    release: str
    since: float
    """When it was welcomed, UTC seconds."""
    began: float
    """The same on the loop's clock."""
    round_trip: float | None = None
    """Seconds of the last echo, which goes before everything else (wire §6)."""

    @property
    def tenant(self) -> Tenant:
        """Whose Link this is."""
        return self.admitted.tenant

    @property
    def link(self) -> str:
        """The Link's id."""
        return self.admitted.link.id

    @property
    def epoch(self) -> int:
        """The epoch that this session got; commits carry it."""
        return self.admitted.link.epoch

    @property
    def link_session(self) -> LinkSession:
        """Return the state of the session."""
        proven = self.since + max(0.0, self.frames.proven - self.began)
        return LinkSession(
            since=self.since,
            proven=proven,
            address=self.address,
            release=self.release,
            epoch=self.epoch,
            round_trip=self.round_trip,
        )

    async def ping(self, size: int) -> float:
        """Send an echo for `round_trip`, then `size` bytes at interactive priority.

        Gives their seconds. Raises LinkOfflineError.
        """
        await self._echo()
        began = time.perf_counter()  # a loop may count in milliseconds
        payload = bytes(size)
        pong = await self.ask(PING, Ping(payload=payload), read_pong)
        if pong.payload != payload:
            raise LinkOfflineError("the Link sent other bytes back than it got; update it")
        return time.perf_counter() - began

    async def status(self) -> LinkStatus:
        """Ask how the Link is. Raises LinkOfflineError."""
        return await self.ask(STATUS, StatusQuery(), read_link_status)

    async def configure(self, version: int, document: bytes) -> ConfigureAnswer:
        """Request that the Link runs this document. Raises LinkOfflineError."""
        if len(document) <= IN_OPEN:
            return await self.ask(
                CONFIGURE,
                Configure(version=version, document=document),
                read_configure_answer,
            )
        opening = Configure(version=version, document=b"")
        return await self.ask(CONFIGURE, opening, read_configure_answer, body=document)

    async def _echo(self) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                self.round_trip = await self.session.echo()
        except (TimeoutError, SessionClosedError) as error:
            raise LinkOfflineError(
                f"the Link did not echo: {str(error) or 'it took too long'}"
            ) from error

    async def ask(
        self,
        call: str,
        request: Struct,
        read: Reader[T],
        *,
        body: bytes = b"",
        seconds: float = CALL_SECONDS,
    ) -> T:
        """Make a call of one request and one response. Raises LinkOfflineError."""
        try:
            return await ask(self.session, call, request, read, seconds=seconds, body=body)
        except CallFailedError as error:
            raise LinkOfflineError(f"no response from the Link: {error}") from error
