"""A transfer at both ends, whatever its pieces are and whatever happens to them."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.codec import encode
from swallowtail.calls.transfer import (
    Confirmation,
    IncomingTransfer,
    OutgoingTransfer,
    TransferDamagedError,
    TransferEnd,
    read_end,
)
from swallowtail.sansio.errors import LocalProtocolError

PIECES = st.lists(st.binary(max_size=300), max_size=12)


def outgoing(pieces: list[bytes]) -> OutgoingTransfer:
    transfer = OutgoingTransfer()
    for piece in pieces:
        transfer.update(memoryview(piece))
    return transfer


def cut(body: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(body[start : start + size])
        start += size
    return [*pieces, body[start:]]


@given(PIECES, st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_a_body_is_whole_however_it_is_cut(
    sent: list[bytes], sizes: list[int], announced: bool
) -> None:
    body = b"".join(sent)
    end = outgoing(sent).end()
    assert end == TransferEnd(length=len(body), crc32=zlib.crc32(body))
    incoming = IncomingTransfer(len(body) if announced else None)
    for piece in cut(body, sizes):
        incoming.update(piece)
    assert incoming.finish(read_end(encode(end))) == end


@given(
    PIECES.filter(lambda pieces: bool(b"".join(pieces))),
    st.sampled_from(["shorter", "longer", "changed", "length", "checksum", "no end"]),
    st.booleans(),
    st.data(),
)
def test_no_damaged_body_is_taken_for_whole(
    sent: list[bytes], damage: str, announced: bool, data: st.DataObject
) -> None:
    body = b"".join(sent)
    end: TransferEnd | None = outgoing(sent).end()
    assert end is not None
    arrived = bytearray(body)
    at = data.draw(st.integers(0, len(body) - 1))
    match damage:
        case "shorter":
            del arrived[at]
        case "longer":
            arrived.insert(at, 0)
        case "changed":
            arrived[at] ^= data.draw(st.integers(1, 255))
        case "length":
            end = msgspec.structs.replace(end, length=end.length + 1)
        case "checksum":
            end = msgspec.structs.replace(end, crc32=end.crc32 ^ 1)
        case _:
            end = None
    incoming = IncomingTransfer(len(body) if announced else None)

    def receive() -> None:
        incoming.update(arrived)
        incoming.finish(end)

    with pytest.raises(TransferDamagedError):
        receive()


@given(PIECES, st.integers(0, 2**40), st.integers(0, 2**32 - 1))
def test_a_response_confirms_nothing_but_this_body_and_only_after_its_end(
    sent: list[bytes], length: int, crc32: int
) -> None:
    body, transfer = b"".join(sent), outgoing(sent)
    honest = Confirmation(length=len(body), crc32=zlib.crc32(body))
    assert not transfer.is_confirmed_by(honest), "a response before the end"
    transfer.end()
    assert transfer.is_confirmed_by(honest)
    other = Confirmation(length=length, crc32=crc32)
    assert transfer.is_confirmed_by(other) == (other == honest)


def test_nothing_follows_the_end() -> None:
    transfer = outgoing([b"body"])
    transfer.end()
    with pytest.raises(LocalProtocolError):
        transfer.update(b"more")


@given(st.binary(max_size=40))
def test_an_end_is_read_or_the_body_is_damaged(message: bytes) -> None:
    try:
        end = read_end(message)
    except TransferDamagedError:
        return
    assert read_end(encode(end)) == end
