import io
import zlib

import pytest

from swallowtail.cloud.data_set.elements import MalformedDataSetError
from swallowtail.cloud.index.source import FileSource, inflated


def deflated(content: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(content) + compress.flush()


def test_pieces_come_from_anywhere_and_never_from_beyond() -> None:
    content = bytes(range(256)) * 1000
    source = FileSource(io.BytesIO(content), len(content))
    for offset, size in ((0, 4), (255_000, 1000), (70_000, 70_000), (3, 0), (1, 8)):
        assert source.take(offset, size) == content[offset : offset + size]
    with pytest.raises(MalformedDataSetError, match="ends at 256000"):
        source.take(255_999, 2)


def test_a_file_shorter_than_its_row_says_is_named() -> None:
    with pytest.raises(MalformedDataSetError, match="before its length of 9"):
        FileSource(io.BytesIO(b"abc"), 9).take(0, 4)


@pytest.mark.parametrize(
    "tail",
    [b"", b"\0", zlib.crc32(b"ada" * 99).to_bytes(4, "little") + (297).to_bytes(4, "little")],
)
def test_a_deflated_data_set_is_inflated(tail: bytes) -> None:
    packed = deflated(b"ada" * 99) + tail
    assert inflated(io.BytesIO(packed), len(packed)) == b"ada" * 99


@pytest.mark.parametrize(
    "packed", [deflated(b"ada" * 99)[:-2], b"", b"\xff\xff\xff", deflated(b"ada") + b"12345678"]
)
def test_a_damaged_one_is_malformed(packed: bytes) -> None:
    with pytest.raises(MalformedDataSetError):
        inflated(io.BytesIO(packed), len(packed))


def test_a_bomb_stops_at_its_ratio() -> None:
    packed = deflated(bytes(64 * 1024 * 1024))
    with pytest.raises(MalformedDataSetError, match="200 times"):
        inflated(io.BytesIO(packed), len(packed))
