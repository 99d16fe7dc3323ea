"""A multipart body as it comes in (RFC 2046 5.1, RFC 2387).

Part after part, never one of them whole in memory.
"""

from collections.abc import AsyncIterator
from email.message import Message
from typing import Final

MAX_HEAD: Final = 16 * 1024
MAX_PARTS: Final = 100_000
MAX_BOUNDARY: Final = 70
"""RFC 2046 5.1.1."""
MAX_PADDING: Final = 256
"""White space behind a boundary."""


class MalformedMultipartError(Exception):
    """The body does not match its boundary; the message is for a person."""


class Parts:
    """A reader of a body's parts: `head` returns the next one's media type, `data` its bytes."""

    def __init__(self, body: AsyncIterator[bytes], boundary: str) -> None:
        if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
            raise MalformedMultipartError(
                f"the boundary has not 1 to {MAX_BOUNDARY} characters of ASCII"
            )
        self._body = body
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._rest = b"\r\n"  # the first delimiter may be at the very beginning
        self._inside = True  # of the preamble at first
        self._count = 0

    async def head(self) -> str | None:
        """Skip what is left of this part and give the next one's media type, in small letters.

        None after the last.
        """
        async for _ in self.data():
            pass
        mark = await self._take(2)
        if mark == b"--":
            return None
        padding = 0
        while mark != b"\r\n":  # RFC 2046 5.1.1: a delimiter may be padded with white space
            padding += 1
            if mark[:1] not in {b" ", b"\t"} or padding > MAX_PADDING:
                raise MalformedMultipartError(
                    "a boundary is followed by neither a line's end nor two dashes"
                )
            mark = mark[1:] + await self._take(1)
        self._count += 1
        if self._count > MAX_PARTS:
            raise MalformedMultipartError(f"it has more than {MAX_PARTS} parts")
        self._rest = b"\r\n" + self._rest
        head = await self._head()
        self._inside = True
        return _media_type(head)

    async def data(self) -> AsyncIterator[bytes]:
        """Return the bytes of this part, as they arrive."""
        keep = len(self._delimiter) - 1
        while self._inside:
            at = self._rest.find(self._delimiter)
            if at >= 0:
                piece, self._rest = self._rest[:at], self._rest[at + len(self._delimiter) :]
                self._inside = False
                if piece:
                    yield piece
                return
            if len(self._rest) > keep:
                piece, self._rest = self._rest[:-keep], self._rest[-keep:]
                yield piece
            await self._more()

    async def _head(self) -> bytes:
        while (at := self._rest.find(b"\r\n\r\n", 0, MAX_HEAD)) < 0:
            if len(self._rest) >= MAX_HEAD:
                raise MalformedMultipartError(f"a part's head is longer than {MAX_HEAD} bytes")
            await self._more()
        head, self._rest = self._rest[2:at], self._rest[at + 4 :]
        return head

    async def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            await self._more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    async def _more(self) -> None:
        try:
            self._rest += await anext(self._body)
        except StopAsyncIteration:
            raise MalformedMultipartError("it ends before its last boundary") from None


def _media_type(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""


def parameters_of(content_type: str) -> tuple[str, dict[str, str]]:
    """Return media type and parameters of a Content-Type; the first of two equal names counts."""
    message = Message()
    message["Content-Type"] = content_type
    found = message.get_params(failobj=[], unquote=True)
    return message.get_content_type(), {name.lower(): value for name, value in found[1:]}
