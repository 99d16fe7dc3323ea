"""Connecting to the Cloud: proxy, TLS and upgrade to a WebSocket.

Each failure is reported with its phase, its cause and the action.
"""

import errno
import re
import ssl as tls
from http import HTTPStatus
from typing import Any, Final, Literal

from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.typing import Subprotocol

from swallowtail.wire.frames import MAX_FRAME
from swallowtail.wire.reasons import CloseCode
from swallowtail.wire.transport import SUBPROTOCOL, UNSENT_LIMIT
from swallowtail.wire.websocket import CLOSE_SECONDS, LinkConnection, WebSocketTransport

OPEN_SECONDS: Final = 15.0
NEXT_ADDRESS_AFTER: Final = 0.25  # RFC 8305: IPv4 is tried while IPv6 does not respond

BAD_GATEWAY: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
"""The response of a proxy to CONNECT when the Cloud does not run."""
REFUSED: Final = frozenset({errno.ECONNREFUSED, 10061, 1225})
"""Error numbers of a refused connection.

The latter two are Windows' (WSAECONNREFUSED, ERROR_CONNECTION_REFUSED).
"""


class ConnectError(Exception):
    """No WebSocket to the Cloud; `phase` is address, proxy, network, tls, upgrade or time.

    `absent`: nothing listens there, or a proxy reports it; an attempt costs the Cloud nothing.
    """

    def __init__(self, phase: str, text: str, *, absent: bool = False) -> None:
        super().__init__(text)
        self.phase, self.absent = phase, absent


class _NoRedirects(websocket_connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # the security code goes to the address that was configured, and nowhere else


async def connect(
    url: str,
    *,
    user_agent: str,
    ssl: tls.SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    open_seconds: float = OPEN_SECONDS,
) -> WebSocketTransport:
    """Connect to the Cloud's `/link`; raises ConnectError.

    `proxy` is an HTTP proxy's URL, True for the environment's, None for none; `ssl` defaults to the
    standard trust.
    """
    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    try:
        connection = await _NoRedirects(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            user_agent_header=user_agent,
            proxy=proxy,
            open_timeout=open_seconds,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,
            max_size=MAX_FRAME,
            write_limit=UNSENT_LIMIT,
            create_connection=LinkConnection,
            happy_eyeballs_delay=NEXT_ADDRESS_AFTER,
            **options,
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidProxy, InvalidURI) as error:
        raise _connect_error(url, error) from error
    if connection.subprotocol != SUBPROTOCOL:
        await connection.close(CloseCode.VIOLATION, "no common subprotocol")
        raise ConnectError(
            "upgrade",
            f"{url} is a WebSocket without {SUBPROTOCOL}; check the Cloud's address and release",
        )
    assert isinstance(connection, LinkConnection)
    return WebSocketTransport(connection)


def _connect_error(url: str, error: Exception) -> ConnectError:
    match error:
        case InvalidURI():
            return ConnectError("address", f"{url} is no WebSocket address (wss://host/link)")
        case ProxyError() | InvalidProxy():
            text = (
                f"the proxy did not connect us to {url}: {error}; check the proxy's address and"
                " rules"
            )
            return ConnectError("proxy", text, absent=_is_absent(error))
        case InvalidStatus():
            status = error.response.status_code
            return ConnectError(
                "upgrade",
                f"{url} responded with HTTP status {status} instead of a WebSocket; check the"
                " address, and any proxy between",
            )
        case InvalidHandshake():
            return ConnectError(
                "upgrade",
                f"{url} did not upgrade to a WebSocket ({error}); check whether a proxy between"
                " removes the upgrade",
            )
        case TimeoutError():
            return ConnectError(
                "time",
                f"{url} did not respond in time; check the network, the firewall and the proxy",
            )
        case tls.SSLError():
            return ConnectError(
                "tls",
                f"the TLS handshake with {url} failed: {error}; check the CA file and the host"
                " name",
            )
    return ConnectError("network", f"no connection to {url}: {error}", absent=_is_absent(error))


def _is_absent(error: Exception) -> bool:
    """Return whether a connection was refused at every address."""
    if isinstance(error, InvalidProxyStatus):
        return error.response.status_code in BAD_GATEWAY
    # for several addresses with different errors asyncio keeps only the texts
    numbers = re.findall(r"\[(?:Errno|WinError) (\d+)\]", str(error))
    return bool(numbers) and all(int(number) in REFUSED for number in numbers)
