"""The pool bounds what associations hold together."""

from swallowtail.dicom.buffers import BufferPool


def test_what_comes_back_is_used_first() -> None:
    pool = BufferPool(64, kept=2)
    first, second = pool.take(), pool.take()
    pool.give(first)
    pool.give(second)
    assert pool.take() is second
    assert pool.take() is first


def test_large_buffers_are_bounded_and_small_ones_serve_the_rest() -> None:
    pool = BufferPool(64, small=8, lent=2, kept=1)
    taken = [pool.take() for _ in range(4)]
    assert [len(buffer) for buffer in taken] == [64, 64, 8, 8]
    for buffer in taken:
        pool.give(buffer)
    assert pool.lent == 0
    assert pool.take() is taken[0]
    assert pool.take() is not taken[1], "one is kept"


def test_a_stranger_s_buffer_is_left_alone() -> None:
    pool = BufferPool(64)
    pool.give(bytearray(64))
    lost = pool.take()
    pool.withdraw(lost)
    pool.give(lost)
    assert pool.lent == 0
    assert pool.take() is not lost
