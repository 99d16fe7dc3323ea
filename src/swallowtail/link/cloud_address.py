"""The address of the Cloud, the proxy and the certificates, with the remedy when one is wrong."""

import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import truststore

from swallowtail.wire.connecting import ConnectError, connect
from swallowtail.wire.transport import FrameTransport

MAX_CODE: Final = 1024

Connect = Callable[[], Awaitable[FrameTransport]]
"""Opens one connection to the Cloud; raises ConnectError or UplinkError."""


class SettingError(Exception):
    """A flag or a file that Link was started with cannot be used."""


class UplinkError(Exception):
    """A failure to open a session: the phase in which it ended, the cause, and the remedy.

    `absent`: the connection was refused, the Cloud does not run.
    """

    def __init__(
        self, phase: str, what: str, remedy: str, *, retry_after: float = 0.0, absent: bool = False
    ) -> None:
        super().__init__(f"{phase}: {what}; {remedy}")
        self.phase, self.what, self.remedy = phase, what, remedy
        self.retry_after, self.absent = retry_after, absent


REMEDIES: Final = {
    "resolve": "check the Cloud's name and this machine's DNS",
    "connect": (
        "check the network and that the firewall lets this machine out to the Cloud, or set --proxy"
    ),
    "proxy": "check --proxy, its user and password, and that it allows CONNECT to the Cloud",
    "tls": "check --ca, this machine's clock, and whether something in between inspects TLS",
    "upgrade": "check that --cloud is a Cloud and that no proxy in between strips the WebSocket",
}

_PHASES: Final = {"address": "upgrade", "network": "connect", "time": "connect"}


@dataclass(frozen=True, slots=True)
class WebSocketUplink:
    """The address of the Cloud; `proxy` is a URL, None for a direct connection."""

    url: str
    tls: ssl.SSLContext
    proxy: str | None
    user_agent: str

    async def __call__(self) -> FrameTransport:
        """Open one connection; the name is resolved each time."""
        try:
            return await connect(
                self.url, user_agent=self.user_agent, ssl=self.tls, proxy=self.proxy
            )
        except ConnectError as error:
            phase = (
                "resolve"
                if isinstance(error.__cause__, socket.gaierror)
                else _PHASES.get(error.phase, error.phase)
            )
            raise UplinkError(phase, str(error), REMEDIES[phase], absent=error.absent) from error
        except OSError as error:  # the connection ended while it was set up
            raise UplinkError("connect", str(error), REMEDIES["connect"]) from error


def link_url(cloud: str) -> str:
    """Return the address of the WebSocket for that of the Cloud; raises SettingError.

    TLS is always used.
    """
    parts = urlsplit(cloud)
    try:
        port = parts.port
    except ValueError as error:
        raise SettingError(f"--cloud {cloud}: {error}") from error
    if (
        parts.scheme != "https"
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
        or parts.path.strip("/")
    ):
        raise SettingError(
            f"--cloud {cloud}: give the Cloud's address like https://cloud.example or"
            " https://cloud.example:8443"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"wss://{host}:{port or 443}/link"


def proxy_url(proxy: str | None) -> str | None:
    """Check a proxy's address; raises SettingError that does not repeat the password."""
    if proxy is None:
        return None
    parts = urlsplit(proxy)
    try:
        usable = parts.scheme == "http" and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise SettingError(
            "--proxy: give the proxy's address like http://proxy.example:3128 or"
            " http://user:password@proxy.example:3128"
        )
    return proxy


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return the TLS context that checks the Cloud's certificate.

    Against one authority, or against those that the operating system trusts.
    """
    if ca is None:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingError(
                f"--ca {ca}: not a readable PEM file with a certificate authority ({error})"
            ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # PS3.15 B.12: no fallback
    return context


def read_code(file: Path) -> str:
    """Read the security code; raises SettingError that does not repeat it."""
    try:
        with file.open(encoding="ascii") as opened:
            code = opened.read(MAX_CODE + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(
            f"--code-file {file} cannot be read: {what}; put the Link's security code into it"
        ) from error
    if not 0 < len(code) <= MAX_CODE or not re.fullmatch(r"[!-~]+", code):
        raise SettingError(
            f"--code-file {file}: it holds no security code; put the one line that the Cloud has"
            " shown into it"
        )
    return code
