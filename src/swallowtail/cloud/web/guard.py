"""Limits, deadlines and headers of every request.

How much it may send, how long it may take, what headers its answer carries.

Pure ASGI, so that a body that streams out is never held in memory. Routes that stream set their own
pace: their deadline is the client's, since a slow reader holds nothing but its own connection.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Final

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swallowtail.cloud.web.problems import ProblemError, response_of

MAX_BODY: Final = 1024 * 1024
MAX_CONFIGURATION_BODY: Final = 5 * 1024 * 1024
"""calls.config.MAX_DOCUMENT and the rest of the body."""
STORING: Final = "/dicomweb/studies"
"""Where instances are posted: bodies that go to the disk as they come."""
MAX_STORE_BODY: Final = 256 * 1024**3
STREAM_DEADLINE: Final = 6 * 3600.0
"""Seconds for all of such a body; between two pieces it is BODY_DEADLINE."""
BODY_DEADLINE: Final = 30.0
"""Seconds from the request's head to the end of its body."""
ANSWER_DEADLINE: Final = 60.0
"""Seconds until the answer must have begun."""

SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action"
            b" 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

REQUESTS = Counter("swallowtail_http_requests", "HTTP requests answered", ["method", "status"])
SECONDS = Histogram(
    "swallowtail_http_seconds",
    "Seconds until the answer began",
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)


class Guard:
    """A wrapper of the whole application; WebSockets pass, `links` checks them."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_deadline: float = BODY_DEADLINE,
        answer_deadline: float = ANSWER_DEADLINE,
    ) -> None:
        self._app = app
        self._body_deadline = body_deadline
        self._answer_deadline = answer_deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._body_deadline)
        try:
            async with asyncio.timeout(self._answer_deadline) as deadline:
                exchange.deadline = deadline
                await self._app(scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await exchange.refuse(problem)
        except TimeoutError:
            await exchange.refuse(
                ProblemError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "deadline",
                    "this took too long",
                    remedy="Try again later, or ask for less.",
                )
            )


def _limit_of(path: str, *, streams: bool) -> int:
    if streams:
        return MAX_STORE_BODY
    return MAX_CONFIGURATION_BODY if path.endswith("/configuration") else MAX_BODY


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_deadline: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._streams = scope["method"] == "POST" and scope["path"].startswith(STORING)
        self._limit = _limit_of(scope["path"], streams=self._streams)
        self._pause = body_deadline
        self._read = 0
        self._begun = False
        self._started = time.monotonic()
        self._body_until = self._started + (STREAM_DEADLINE if self._streams else body_deadline)
        self.deadline: asyncio.Timeout | None = None

    async def receive(self) -> Message:
        """Return the next piece of the body within its limit and deadline.

        Afterwards wait for the client to leave, without deadline.
        """
        try:
            async with asyncio.timeout(None if self._begun else self._patience()):
                message = await self._receive()
        except TimeoutError:
            raise ProblemError(
                HTTPStatus.REQUEST_TIMEOUT,
                "deadline",
                "the request's body came too slowly",
                remedy="Send it again, faster.",
            ) from None
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-large",
                f"the body is longer than {self._limit} bytes",
                remedy="Send less at once.",
            )
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_until = float("inf")
        return message

    def _patience(self) -> float:
        """Return the seconds that the next piece of the body may take.

        A body that streams puts the answer's deadline off.
        """
        left = self._body_until - time.monotonic()
        if not self._streams:
            return left
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + ANSWER_DEADLINE)
        return min(left, self._pause)

    async def send(self, message: Message) -> None:
        """Add what every answer carries, and lift the deadline once it has begun."""
        if message["type"] == "http.response.start":
            self._begin(message)
        await self._send(message)

    async def refuse(self, problem: ProblemError) -> None:
        """Send a problem if no response was begun.

        Else the client sees the connection end early.
        """
        self.deadline = None
        if not self._begun:
            await response_of(problem)(self._scope, self._receive, self.send)

    def _begin(self, message: Message) -> None:
        self._begun = True
        if self.deadline is not None:
            self.deadline.reschedule(None)
        given = {name.lower() for name, _ in message.get("headers", ())}
        message["headers"] = [
            *message.get("headers", ()),
            *(header for header in SECURITY_HEADERS if header[0] not in given),
        ]
        REQUESTS.labels(self._scope["method"], message["status"]).inc()
        SECONDS.observe(time.monotonic() - self._started)
