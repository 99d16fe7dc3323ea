"""The hosts that a request may name, and the public address of absolute URLs.

Everything that the Cloud answers with an absolute URL (RetrieveURL, BulkDataURI, Location) is made
of the request's Host. A page of another web server can have a browser send any name there that
resolves to the Cloud (DNS rebinding), and a proxy that forwards what it gets lets anybody choose
it. So only known names are accepted, everything else is 421 (RFC 9110 15.5.20); and what a request
has in `X-Forwarded-Host` or `Forwarded` is not read.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from swallowtail.cloud.web.problems import ProblemError, response_of

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_NAME: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Load balancers request these by any address; the responses contain no URL."""


class InvalidAddressError(ValueError):
    """A configured public address or host name cannot be used; the message states why."""


@dataclass(frozen=True, slots=True)
class Host:
    """The value of a Host header.

    A name in lower case or an address, and a port when one is given.
    """

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Host":
        """Read `uri-host [":" port]` (RFC 9110 7.2); raises InvalidAddressError."""
        found = _HOST.fullmatch(text)
        if found is None or int(found[2] or 0) > 65_535:
            raise InvalidAddressError("it is no host name or address with an optional port")
        return cls(_normal(found[1]), int(found[2]) if found[2] else None)

    @property
    def loopback(self) -> bool:
        """Return whether it names this machine: no page of another web server has that name."""
        if self.name == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


def _normal(name: str) -> str:
    bare = name.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare.lower().removesuffix(".")


def parse_public_url(text: str) -> Host:
    """Read the public address of a Cloud, `https://HOST[:PORT]`; raises InvalidAddressError."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() != "https":
        raise InvalidAddressError("it is not of the form https://HOST[:PORT]")
    return Host.parse(rest.removesuffix("/"))


def parse_allowed(text: str) -> str:
    """Read the name of a host, or `*.` and a domain, without port; raises InvalidAddressError."""
    name = _normal(text)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if _NAME.fullmatch(name) is None:
            raise InvalidAddressError(
                "it is no host name or address; leave scheme and port out"
            ) from None
    return name


class HostNames:
    """The hosts that requests may name.

    `public` is the address that clients use. `own` are names that the Cloud is known by anyway:
    those of its certificate, where it listens, and loopback. `allowed` are those of proxies in
    front of it that hand on the Host of their own clients, to whom links must lead back.
    """

    def __init__(
        self, *, public: Host | None = None, allowed: Iterable[str] = (), own: Iterable[str] = ()
    ) -> None:
        self.public = public
        self._allowed = frozenset(map(_normal, allowed))
        self._own = frozenset(map(_normal, own))

    def register(self, own: Iterable[str]) -> None:
        """Replace the Cloud's own names: it serves another certificate from now on."""
        self._own = frozenset(map(_normal, own))

    def address_for(self, host: Host, server: str | None) -> Host | None:
        """Return the host of absolute URLs in the answer to a request.

        None when it may not name this one.

        `server` is the address at which the connection arrived. A request may name it, for no name
        resolves into the Host header: a browser sends the name.
        """
        if _listed(host.name, self._allowed):
            return host
        is_public = self.public is not None and host.name == self.public.name
        arrived = server is not None and host.name == _normal(server)
        if is_public or arrived or host.loopback or _listed(host.name, self._own):
            return self.public or host
        return None


def _listed(name: str, names: frozenset[str]) -> bool:
    """Return whether a name matches; a wildcard replaces one label (RFC 9525 6.3)."""
    return name in names or f"*.{name.partition('.')[2]}" in names


class HostCheck:
    """A check that refuses requests with no host, several or a foreign one.

    The rest go on as ones to the public address.
    """

    def __init__(self, app: ASGIApp, *, names: HostNames) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request or upgrade."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            headers = self._checked(scope)
        except ProblemError as problem:
            if scope["type"] == "http":
                await response_of(problem)(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).send_denial_response(response_of(problem))
            return
        await self._app({**scope, "headers": headers}, receive, send)

    def _checked(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the headers with the public address as Host; raises ProblemError."""
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        given = [value.decode("latin-1") for name, value in headers if name.lower() == b"host"]
        probe = scope["type"] == "http" and scope["path"] in PROBES
        if not given and scope.get("http_version") == "1.0" and probe:
            return headers
        host = _one(given)
        server = scope.get("server")
        address = self._names.address_for(host, server[0] if server else None)
        if address is None and (probe or scope["type"] == "websocket"):
            # A Link has verified the certificate and proves its key: no foreign page can.
            address = host
        if address is None:
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "host",
                "the request names a host that is not one of this Cloud",
                remedy="Use a name of the Cloud's certificate; or have it started with the name in "
                "--public-url, or in --allowed-host for a proxy that forwards its clients' Host.",
            )
        kept = [(name, value) for name, value in headers if name.lower() != b"host"]
        return [(b"host", str(address).encode("ascii")), *kept]


def _one(given: list[str]) -> Host:
    """Return the one host of a request; RFC 9112 3.2: none, several and an invalid one are 400."""
    if len(given) != 1:
        detail = "the request has no Host" if not given else "the request has several Host headers"
        raise _bad(detail)
    try:
        return Host.parse(given[0].strip())
    except InvalidAddressError as error:
        raise _bad(f"the request's Host is invalid: {error}") from error


def _bad(detail: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST, "host", detail, remedy="Send one Host header with the Cloud's name."
    )
