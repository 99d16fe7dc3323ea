"""The reader's limits and its buffers."""

import struct

import pytest

from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import Abort, ReleaseRQ
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.pdu_reader import Fragment, PduReader
from swallowtail.dicom.violations import AbortReason, ViolationError

LIMITS = Limits(max_pdu=1000, tiny_count=10, tiny_bytes=4)


def _pdv(data: bytes, *, context: int = 1, control: int = 0) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def _data_tf(*pdvs: bytes) -> bytes:
    body = b"".join(pdvs)
    return struct.pack(">BxI", 4, len(body)) + body


def _reader(raw: bytes = b"", size: int = 256) -> PduReader:
    reader = PduReader(LIMITS, BufferPool(size))
    reader.offer(LIMITS.max_pdu)
    reader.feed(raw)
    return reader


def _fragments(reader: PduReader) -> list[tuple[int, bool, bool, bytes]]:
    found = []
    while (item := reader.next_item()) is not None:
        assert isinstance(item, Fragment)
        found.append((item.context_id, item.command, item.last, bytes(item.data)))
    return found


def test_fragments_pass_before_the_pdu_is_complete() -> None:
    raw = _data_tf(_pdv(b"abcdefgh", control=2))
    reader = _reader(raw[:14])
    assert _fragments(reader) == [(1, False, False, b"ab")]
    assert reader.inside
    reader.feed(raw[14:])
    assert _fragments(reader) == [(1, False, True, b"cdefgh")]
    assert not reader.inside


def test_many_pdvs_in_one_pdu() -> None:
    raw = _data_tf(_pdv(b"co", control=3), _pdv(b"da", control=0), _pdv(b"", context=3, control=2))
    assert _fragments(_reader(raw)) == [
        (1, True, True, b"co"),
        (1, False, False, b"da"),
        (3, False, True, b""),
    ]


def test_an_idle_reader_holds_no_buffer() -> None:
    pool = BufferPool(64)
    reader = PduReader(LIMITS, pool)
    reader.offer(LIMITS.max_pdu)
    raw = encode_pdu(ReleaseRQ()) + encode_pdu(Abort(0, 0))[:7]
    reader.feed(raw)
    assert pool.lent == 1
    assert reader.next_item() == ReleaseRQ()
    assert reader.next_item() is None
    assert pool.lent == 0
    assert reader.inside, "seven bytes are kept aside"
    reader.feed(encode_pdu(Abort(0, 0))[7:])
    assert reader.next_item() == Abort(0, 0)
    assert reader.next_item() is None
    assert pool.lent == 0


def test_a_view_cannot_be_used_for_too_long() -> None:
    reader = _reader(_data_tf(_pdv(b"heron")))
    item = reader.next_item()
    assert isinstance(item, Fragment)
    assert reader.next_item() is None
    with pytest.raises(ValueError, match="released"):
        bytes(item.data)


def test_a_read_ahead_does_not_move_what_was_handed_out() -> None:
    reader = _reader(size=16)
    raw = _data_tf(_pdv(b"heron!", control=2)) + _data_tf(_pdv(b"kite", control=2))
    reader.feed(raw[:16])
    item = reader.next_item()
    assert isinstance(item, Fragment)
    reader.feed(raw[16:])
    assert bytes(item.data) == raw[12:16]
    assert _fragments(reader) == [(1, False, True, b"n!"), (1, False, True, b"kite")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x04\0" + b"\xff\xff\xff\xff", AbortReason.INVALID_PARAMETER),  # 4 GiB
        (struct.pack(">BxI", 4, 1001), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxI", 1, 65_537), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxI", 5, 5), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxI", 4, 0), AbortReason.INVALID_PARAMETER),
        (b"GET / ", AbortReason.UNRECOGNIZED_PDU),
        (struct.pack(">BxI", 4, 20) + struct.pack(">IBB", 1, 1, 0), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxI", 4, 20) + struct.pack(">IBB", 17, 1, 0), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxI", 4, 20) + struct.pack(">IBB", 14, 1, 0), AbortReason.INVALID_PARAMETER),
    ],
    ids=[
        "4 GiB",
        "above the offer",
        "associate",
        "control",
        "no PDV",
        "HTTP",
        "PDV of 1",
        "PDV too long",
        "half a header left",
    ],
)
def test_a_length_is_judged_before_its_bytes_are_read(raw: bytes, reason: AbortReason) -> None:
    with pytest.raises(ViolationError) as caught:
        _reader(raw).next_item()
    assert caught.value.reason is reason


def test_the_advertised_length_is_taken() -> None:
    assert sum(len(data) for *_, data in _fragments(_reader(_data_tf(_pdv(b"x" * 994))))) == 994


def test_tiny_fragments_are_counted() -> None:
    with pytest.raises(ViolationError, match="10 PDVs carried 30 bytes"):
        _fragments(_reader(_data_tf(*[_pdv(b"abc")] * 10)))
    assert len(_fragments(_reader(_data_tf(*[_pdv(b"abcd")] * 30)))) == 30
