"""Delayed ACKs are off, and stay off."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from swallowtail.runtime.quickack import quick_ack


class Wrapped(asyncio.BaseTransport):
    """A transport of a socket, or of none."""

    def __init__(self, sock: Any) -> None:
        super().__init__({"socket": sock} if sock is not None else None)


def test_a_transport_without_a_socket_needs_nothing() -> None:
    assert quick_ack(Wrapped(None)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_QUICKACK is Linux's")
def test_the_option_is_set_again_and_again() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        rearm = quick_ack(Wrapped(sock))
        assert rearm is not None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        rearm()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
