"""The network as an argument of the shells.

`AsyncioNetwork` is the real one; `tests/world` has a simulated one.

Both provide asyncio transports to asyncio protocols, so that a shell is the same code over TCP and
in the simulated environment. The clock is the running loop's own `loop.time()`; the environment
runs on a loop whose time is virtual.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""From a host name to its addresses, the best first; raises OSError.

An address resolves to itself.
"""


class Listener(Protocol):
    """An open listening port."""

    @property
    def address(self) -> tuple[str, int]:
        """Return its address, with the real port when 0 was requested."""

    async def close(self) -> None:
        """Stop accepting; accepted connections stay open."""


class Network(Protocol):
    """The opener of connections and listening ports."""

    async def connect(
        self,
        factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect; raises OSError, or what the TLS handshake raises.

        Deadlines are the caller's (`asyncio.timeout`).
        """

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Listener:
        """Open a listening port; raises OSError with the reason when that is not possible."""


class AsyncioNetwork:
    """The machine's own network."""

    async def connect(
        self,
        factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, host, port, ssl=tls)

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Listener:
        server = await asyncio.get_running_loop().create_server(factory, host, port, backlog=128)
        return _AsyncioListener(server)


async def resolve(host: str) -> tuple[str, ...]:
    """Resolve a host name by the machine's resolver, in a thread of the loop's executor.

    Deadlines are the caller's.
    """
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class _AsyncioListener:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    async def close(self) -> None:
        # not wait_closed(): from 3.12 on that waits for the accepted connections too
        self._server.close()
