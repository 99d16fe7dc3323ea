"""The multipart reader against any body in any pieces.

The same parts, or an error of its own, in bounded memory.
"""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.web.dicomweb.multipart import MAX_HEAD, MalformedMultipartError, Parts

TOKENS = (
    b"\r\n",
    b"--edge",
    b"--",
    b"\r\n--edge",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" ",
    b"edge",
    b"Content-Type: a/b",
    b"x" * 20_000,
)
texts = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=40), max_size=30).map(b"".join)
cuts = st.lists(st.integers(1, 30_000) | st.integers(1, 9), min_size=1, max_size=8)


async def in_pieces(content: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    at, number = 0, 0
    while at < len(content):
        size = sizes[number % len(sizes)]
        yield content[at : at + size]
        at, number = at + size, number + 1


def read(content: bytes, sizes: list[int]) -> tuple[list[tuple[str, bytes]], str]:
    """All parts, and what was wrong after them.

    Checks that never more than a head and a piece is held.
    """

    async def reading() -> tuple[list[tuple[str, bytes]], str]:
        parts, found = Parts(in_pieces(content, sizes), "edge"), list[tuple[str, bytes]]()
        most = MAX_HEAD + max(sizes) + 16
        try:
            while (media := await parts.head()) is not None:
                assert len(parts._rest) <= most
                found.append((media, b""))
                async for piece in parts.data():
                    assert len(parts._rest) <= most
                    found[-1] = media, found[-1][1] + piece
        except MalformedMultipartError as error:
            return found, str(error)
        return found, ""

    return asyncio.run(reading())


@given(st.lists(texts.filter(lambda one: b"--edge" not in one), max_size=6), cuts, st.booleans())
def test_any_parts_come_out_as_they_went_in(
    contents: list[bytes], sizes: list[int], preamble: bool
) -> None:
    made = (
        b"".join(b"--edge\r\nContent-Type: a/b\r\n\r\n" + one + b"\r\n" for one in contents)
        + b"--edge--\r\n"
    )
    assert read((b"preamble\r\n" if preamble else b"") + made, sizes) == (
        [("a/b", one) for one in contents],
        "",
    )


@given(texts, cuts)
def test_whatever_comes_is_the_same_in_any_pieces_and_stays_bounded(
    content: bytes, sizes: list[int]
) -> None:
    assert read(content, sizes) == read(content, [len(content) or 1])
