"""A raw sender (PS3.8, PS3.7): objects of any size from a repeated piece of memory.

So 4 GB need no file.

Also a program: `python -m bench.stream PORT CALLED_AE SENDERS BYTES` sends one object of BYTES over
each of SENDERS associations.
"""

import secrets
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Final

from bench.sets import fresh_uid

ULTRASOUND_MULTIFRAME: Final = "1.2.840.10008.5.1.4.1.1.3.1"
# encapsulated, so the pixel data may be longer than 4 GiB
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
CONTEXT: Final = 1
FRAGMENT: Final = 1 << 20
DEADLINE: Final = 600.0


class StreamFailedError(Exception):
    """The receiver refused, aborted or sent another status than expected."""


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _associate_request(called_ae: str, calling_ae: str) -> bytes:
    context = (
        struct.pack(">BBBB", CONTEXT, 0, 0, 0)
        + _item(0x30, ULTRASOUND_MULTIFRAME.encode())
        + _item(0x40, JPEG_BASELINE.encode())
    )
    user = _item(0x51, struct.pack(">I", 16_384)) + _item(0x52, b"2.25.1")
    body = struct.pack(
        ">HH16s16s32x", 1, 0, called_ae.ljust(16).encode(), calling_ae.ljust(16).encode()
    )
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, tag, len(value)) + value


def _command(sop_instance: str) -> bytes:
    sop_class = ULTRASOUND_MULTIFRAME + "\0" * (len(ULTRASOUND_MULTIFRAME) % 2)
    rest = (
        _element(0x0002, sop_class.encode())
        + _element(0x0100, b"\x01\0")
        + _element(0x0110, b"\x01\0")
    )
    rest += (
        _element(0x0700, b"\0\0")
        + _element(0x0800, b"\x01\0")
        + _element(0x1000, sop_instance.encode())
    )
    return _element(0x0000, struct.pack("<I", len(rest))) + rest


def data_set(sop_instance: str, study: str, size: int) -> Iterator[bytes]:
    """Return a cine's data set of about `size` bytes in pieces.

    Explicit VR Little Endian, encapsulated (PS3.5 A.4).
    """

    def text(group: int, element: int, vr: str, value: str) -> bytes:
        padding = "\0" if vr == "UI" else " "
        padded = (value + padding * (len(value) % 2)).encode()
        return struct.pack("<HH2sH", group, element, vr.encode(), len(padded)) + padded

    yield b"".join(
        (
            text(0x0008, 0x0016, "UI", ULTRASOUND_MULTIFRAME),
            text(0x0008, 0x0018, "UI", sop_instance),
            text(0x0008, 0x0060, "CS", "US"),
            text(0x0010, 0x0010, "PN", "Heron^Ada"),
            text(0x0010, 0x0020, "LO", "BENCH-1"),
            text(0x0020, 0x000D, "UI", study),
            text(0x0020, 0x000E, "UI", fresh_uid()),
            b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0",
        )
    )
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, FRAGMENT) + secrets.token_bytes(FRAGMENT)
    for _ in range(size // FRAGMENT):
        yield fragment
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


class Stream:
    """One association; `store` may be called repeatedly; `close` releases."""

    def __init__(self, port: int, called_ae: str, calling_ae: str = "BENCH") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_associate_request(called_ae, calling_ae))
        kind, body = self._read()
        accepted = body.find(
            b"\x21\0", 68
        )  # PS3.8 9.3.3.2: the only presentation context, its result at the seventh byte
        if kind != 2 or accepted < 0 or body[accepted + 6] != 0:
            raise StreamFailedError(
                f"the association was not accepted: PDU type {kind}, {body[:80].hex()}"
            )
        at = body.index(b"\x51\0\0\x04")
        self._max_pdu = struct.unpack_from(">I", body, at + 4)[0] or 1 << 18

    def store(self, study: str, size: int) -> None:
        """Send one object of about `size` bytes.

        Raises StreamFailedError unless the answer is 0000.
        """
        instance = fresh_uid()
        self._pdv(_command(instance), control=3)
        limit = self._max_pdu - 6
        for piece in data_set(instance, study, size):
            view = memoryview(piece)
            for at in range(0, len(view), limit):
                self._pdv(view[at : at + limit], control=0)
        self._pdv(b"", control=2)
        kind, body = self._read()
        at = body.find(b"\0\0\0\x09\x02\0\0\0")
        if kind != 4 or at < 0 or body[at + 8 : at + 10] != b"\0\0":
            raise StreamFailedError(f"not 0000: PDU type {kind}, {body[:200].hex()}")

    def _pdv(self, data: bytes | memoryview, *, control: int) -> None:
        header = struct.pack(">BBIIBB", 4, 0, len(data) + 6, len(data) + 2, CONTEXT, control)
        sent = self._socket.sendmsg([header, data])
        if sent < len(header) + len(data):
            self._socket.sendall((header + bytes(data))[sent:])

    def _read(self) -> tuple[int, bytes]:
        header = self._exactly(6)
        return header[0], self._exactly(struct.unpack(">I", header[2:])[0])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := self._socket.recv(count - len(data))):
                raise StreamFailedError("the receiver has closed the connection")
            data += more
        return data

    def close(self) -> None:
        """Release the association (PS3.8 9.3.6) and close the connection."""
        self._socket.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        self._read()
        self._socket.close()


def main() -> None:
    """Send over several associations at once; end when all have ended."""
    port, called_ae, senders, size = (
        int(sys.argv[1]),
        sys.argv[2],
        int(sys.argv[3]),
        int(sys.argv[4]),
    )
    streams = [Stream(port, called_ae) for _ in range(senders)]
    print("associated", flush=True)
    threads = [
        threading.Thread(target=stream.store, args=(fresh_uid(), size), daemon=True)
        for stream in streams
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
