"""Behind a proxy: whose address a request comes from.

`X-Forwarded-For` contains what its sender chooses, so it is read only where the peer is a proxy
that is trusted to append the address it saw. Read from its end, the first address that is not a
trusted proxy's is the client's; what is before it may be forged by the client.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HEADER: Final = b"x-forwarded-for"
MAX_HOPS: Final = 20
"""Entries of the header that are read."""


def parse_proxies(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks in CIDR notation; raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the client's address; `forwarded` are the entries of the header in their order."""
    client = peer
    for entry in [None, *reversed(forwarded[-MAX_HOPS:])]:
        if entry is not None:
            if (address := _address(entry)) is None:
                return client
            client = str(address)
        elif (address := _address(peer)) is None:
            return client
        if not any(address in network for network in trusted):
            return client
    return client


def _address(text: str) -> Address | None:
    """Read an address, as some proxies write it with brackets or a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class TrustedProxies:
    """A wrapper that sets the client's address in the scope of requests and WebSockets."""

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._trusted and scope["type"] in {"http", "websocket"} and scope.get("client"):
            peer, port = scope["client"]
            given = [value for name, value in scope["headers"] if name == HEADER]
            entries = b",".join(given).decode("latin-1").split(",") if given else []
            client = client_of(peer, entries, self._trusted)
            scope["client"] = (client, port if client == peer else 0)
        await self._app(scope, receive, send)
