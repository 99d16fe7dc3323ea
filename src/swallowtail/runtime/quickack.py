"""Acknowledge received TCP segments at once.

Most modalities leave Nagle on, and then a delayed ACK costs 44 ms per object.
"""

import asyncio
import functools
import socket
import sys
from collections.abc import Callable

import structlog

log = structlog.get_logger()

if sys.platform == "win32":
    import ctypes

    _SIO_TCP_SET_ACK_FREQUENCY = 0x98000017  # _WSAIOW(IOC_VENDOR, 23)

    def _ack_every_segment(handle: int) -> None:
        frequency, returned = ctypes.c_int(1), ctypes.c_ulong()
        code = ctypes.windll.ws2_32.WSAIoctl(
            ctypes.c_void_p(handle),
            ctypes.c_ulong(_SIO_TCP_SET_ACK_FREQUENCY),
            ctypes.byref(frequency),
            ctypes.sizeof(frequency),
            None,
            0,
            ctypes.byref(returned),
            None,
            None,
        )
        if code != 0:
            _log_once(ctypes.windll.ws2_32.WSAGetLastError())

    @functools.cache
    def _log_once(error: int) -> None:
        """Log once that small objects are slow without it; connections are not refused."""
        log.warning("delayed acknowledgements not disabled", error=error)


def quick_ack(transport: asyncio.BaseTransport) -> Callable[[], None] | None:
    """Disable delayed ACKs; call what is returned, if anything, after every read.

    Linux resumes delaying by itself, so the option is set after every read; on Windows once is
    enough.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:  # a simulated transport
        return None
    rearm: Callable[[], None] | None = None
    if sys.platform == "win32":
        _ack_every_segment(sock.fileno())
    elif sys.platform == "linux":
        rearm = functools.partial(sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        rearm()
    return rearm
