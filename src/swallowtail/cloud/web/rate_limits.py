"""Rate limits of requests: by token where there is a valid one, else by address.

A request with a valid token is limited by its token alone, whatever else comes from its address:
many share one behind a NAT or a proxy. Everything else is limited by its address, and failed
authentications more strictly. Tokens are looked up before that decision; they have 192 random bits,
so these limits bound what a flood costs, not what guessing finds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swallowtail.cloud.model.rates import BucketTable, host_of
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.sansio.token_bucket import Rate, TokenBucket

log = structlog.get_logger()

TOKEN_RATE: Final = Rate(per_second=300.0, burst=10_000.0)
"""Requests of one token: a proxy before viewers may use one for all of them, and each of them may
ask for a thousand frames at once."""
ADDRESS_RATE: Final = Rate(per_second=50.0, burst=500.0)
"""Requests without a token: health checks, metrics, the document of the API."""
REFUSED_RATE: Final = Rate(per_second=2.0, burst=100.0)
"""Failed authentications: a viewer whose token has ended asks for a study's frames with it."""
MAX_TOKENS: Final = 16_384
MAX_ADDRESSES: Final = 65_536
"""Buckets of each table, about 250 bytes each."""
BURST_SECONDS: Final = TOKEN_RATE.refill
LOG_RATE: Final = Rate(per_second=1 / 60, burst=5.0)
JUDGED: Final = "judged"
"""In the state of a request that was counted: by its token, or as a failed authentication."""

LIMITED: Final = Counter(
    "swallowtail_http_limited",
    "HTTP requests answered 429, by what limited them: token, address, refused",
    ["by"],
)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of requests."""

    token: Rate = TOKEN_RATE
    address: Rate = ADDRESS_RATE
    refused: Rate = REFUSED_RATE

    @classmethod
    def of_tokens(cls, per_second: float) -> "Rates":
        """Return the default rates but for that of tokens; the burst grows with it."""
        return cls(token=Rate(per_second, max(1.0, per_second * BURST_SECONDS)))


DEFAULT_RATES: Final = Rates()


class RequestLimits:
    """Counts the requests of this process; beyond a limit each method raises ProblemError (429)."""

    def __init__(self, clock: Callable[[], float], rates: Rates = Rates()) -> None:
        self._clock = clock
        now = clock()
        self._tokens = BucketTable(rates.token, now, most=MAX_TOKENS)
        self._addresses = BucketTable(rates.address, now, most=MAX_ADDRESSES)
        self._refused = BucketTable(rates.refused, now, most=MAX_ADDRESSES)
        self._log = TokenBucket(LOG_RATE, now)

    def count_token(self, token: str) -> None:
        """Count a request with a valid token, by the token's id."""
        wait = self._tokens.take(token, self._clock())
        if wait:
            raise self._limited("token", wait, "too many requests with this token")

    def count_address(self, address: str) -> None:
        """Count a request that is open to everybody."""
        wait = self._addresses.take(host_of(address), self._clock())
        if wait:
            raise self._limited("address", wait, "too many requests from this address", address)

    def count_refused(self, address: str) -> None:
        """Count a request to the API without a valid token."""
        wait = self._refused.take(host_of(address), self._clock())
        if wait:
            detail = "too many requests without a valid token from this address"
            raise self._limited("refused", wait, detail, address)

    def _limited(self, by: str, wait: float, detail: str, address: str = "") -> ProblemError:
        LIMITED.labels(by).inc()
        if not self._log.take(self._clock()):
            log.warning("requests limited", kind=by, peer=address, seconds=round(wait, 3))
        return ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate-limited",
            detail,
            remedy="Wait for the seconds of Retry-After, then send requests more slowly.",
            retry_after=math.ceil(wait),
        )


class AddressLimits:
    """A limit by address of the HTTP requests that no route limits: pages and unknown paths."""

    def __init__(self, app: ASGIApp, *, guarded: tuple[str, ...]) -> None:
        self._app = app
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; under the prefixes `guarded` the routes apply the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: RequestLimits = scope["app"].state.limits
        address = scope["client"][0] if scope.get("client") else ""
        if not scope["path"].startswith(self._guarded):
            limits.count_address(address)
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})  # what wraps the routes may copy the scope

        async def send_judged(message: Message) -> None:
            if message["type"] == "http.response.start" and JUDGED not in state:
                state[JUDGED] = True
                limits.count_address(address)  # no such path or method
            await send(message)

        await self._app(scope, receive, send_judged)
