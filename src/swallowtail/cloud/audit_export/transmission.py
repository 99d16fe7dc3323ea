"""Sends frames to a receiver over TLS, in a thread: returns when the receiver has read all of them.

Syslog has no acknowledgements. Each batch has a connection of its own, which is closed as RFC 5425
4.4 asks for: after close_notify and the end of our bytes, the receiver ends the connection too. It
does so when it has read everything; a connection that is reset, since the receiver ended with bytes
unread, has failed. The receiver's certificate is always verified: there is no switch for it.
"""

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Final

from swallowtail.cloud.audit_export.egress import Network, may_reach
from swallowtail.cloud.model.exporting import AuditReceiver

CONNECT_DEADLINE: Final = 10.0
IDLE_DEADLINE: Final = 20.0
"""Seconds that the receiver may take for the next bytes."""
MAX_ADDRESSES: Final = 4
MAX_ANSWER: Final = 64 * 1024
"""Bytes that a receiver may state, which has nothing to state."""

Send = Callable[[AuditReceiver, bytes | None, Sequence[bytes]], None]
"""Sends frames to a receiver whose key the passphrase opens; raises SendError."""


class SendError(Exception):
    """The receiver has not taken the frames; the message states what failed and what to do."""


class TlsSender:
    """The port `Send` over the machine's network.

    `allowed` are the networks that receivers may be in, empty: see `may_reach`.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        connect: float = CONNECT_DEADLINE,
        idle: float = IDLE_DEADLINE,
    ) -> None:
        self._allowed, self._connect, self._idle = allowed, connect, idle

    def __call__(
        self, receiver: AuditReceiver, passphrase: bytes | None, frames: Sequence[bytes]
    ) -> None:
        """Send the frames over one connection (`Send`)."""
        where = f"{receiver.host}:{receiver.port}"
        context = context_of(receiver, passphrase)
        with closing(self._open(receiver, where)) as plain:
            plain.settimeout(self._connect)
            try:
                tls = context.wrap_socket(plain, server_hostname=receiver.host)
            except (OSError, ValueError) as error:
                raise SendError(
                    f"TLS with {where} failed: {_reason(error)}; check its certificate and"
                    " `authorities`"
                ) from error
            with closing(tls):
                tls.settimeout(self._idle)
                try:
                    for frame in frames:
                        tls.sendall(frame)
                    _end(tls)
                except OSError as error:
                    raise SendError(
                        f"{where} did not take the records: {_reason(error)}; look at its log"
                    ) from error

    def _open(self, receiver: AuditReceiver, where: str) -> socket.socket:
        try:
            found = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SendError(
                f"{receiver.host} has no address: {_reason(error)}; check its name"
            ) from error
        places = [place for *_, place in found if may_reach(str(place[0]), self._allowed)]
        if not places:
            raise SendError(
                f"{receiver.host} is at {found[0][4][0]}, where no audit may be sent; ask the"
                " operator"
            )
        failure: OSError = OSError("no address")
        for place in places[:MAX_ADDRESSES]:  # the address that was evaluated, not the name again
            try:
                return socket.create_connection(
                    (str(place[0]), receiver.port), timeout=self._connect
                )
            except OSError as error:
                failure = error
        raise SendError(
            f"cannot connect to {where}: {_reason(failure)}; check that it runs and is reached from"
            " here"
        ) from failure


def context_of(receiver: AuditReceiver, passphrase: bytes | None) -> ssl.SSLContext:
    """Return the TLS settings for a receiver.

    Raises SendError when its certificates cannot be used.
    """
    try:
        context = ssl.create_default_context(cadata=receiver.authorities or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if receiver.certificate:
            _load(context, receiver.certificate.encode() + b"\n" + receiver.key, passphrase or b"")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise SendError(
            f"the certificates for {receiver.host} cannot be used: {_reason(error)}; set them again"
        ) from error
    return context


def _load(context: ssl.SSLContext, pem: bytes, passphrase: bytes) -> None:
    """Load certificate and key from memory.

    OpenSSL takes files alone, and this one has no name in any folder.
    """
    descriptor = os.memfd_create("audit-export")
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: passphrase)


def _end(tls: ssl.SSLSocket) -> None:
    """End our side, and return when the receiver has ended its own after reading all.

    Raises OSError.
    """
    with suppress(
        ssl.SSLEOFError, ssl.SSLZeroReturnError
    ):  # an end without close_notify is one too
        plain = tls.unwrap()
        with closing(plain):
            _read_to_end(plain)


def _read_to_end(plain: socket.socket) -> None:
    with suppress(OSError):
        plain.shutdown(socket.SHUT_WR)
    read = 0
    while answer := plain.recv(4096):
        read += len(answer)
        if read > MAX_ANSWER:
            raise OSError("it sends data without end")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return getattr(error, "verify_message", "") or getattr(error, "strerror", None) or str(error)
