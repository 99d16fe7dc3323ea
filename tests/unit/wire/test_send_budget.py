"""What a sender keeps: bounded by its own budget too, whatever the peer grants (wire §5)."""

from swallowtail.wire.channel import ChannelMachine
from swallowtail.wire.events import Writable
from swallowtail.wire.frames import ChannelPriority, Credit, credit_frame, reset_frame
from swallowtail.wire.reasons import ResetReason
from swallowtail.wire.window import FLOOR, MAX_BUDGET, MIB
from tests.unit.wire.pair import Pair, drain


def _pour(pair: Pair, channel: ChannelMachine) -> int:
    """Write as much as goes into a channel of the Link's; the wire takes it all."""
    total = 0
    while done := channel.write(memoryview(bytes(MIB))):
        total += done
    while pair.link.data_to_send():
        pass
    return total


def test_what_a_sender_keeps_has_a_bound_whatever_the_peer_grants():
    pair = Pair()
    channels = [pair.link.open("store", b"", ChannelPriority.BULK, now=0.0) for _ in range(40)]
    for channel in channels:
        pair.link.receive_data(credit_frame(channel.number, Credit(0, 4 * MIB)), 0.0)
    drain(pair.link)
    kept = [_pour(pair, channel) for channel in channels]
    assert MAX_BUDGET <= sum(kept) <= MAX_BUDGET + 40 * FLOOR
    assert min(kept) >= FLOOR, "none starves"
    assert channels[-1].sending.credit == 0

    # one that is consumed makes room for those that wait, which hear of it
    pair.link.receive_data(credit_frame(channels[0].number, Credit(kept[0], kept[0] + 1)), 9.0)
    woken = {event.channel.number for event in drain(pair.link) if isinstance(event, Writable)}
    assert channels[-1].number in woken
    assert channels[-1].sending.credit > 0
    assert 0 < _pour(pair, channels[-1]) <= kept[0]

    # and so does one that ends
    pair.link.receive_data(reset_frame(channels[1].number, ResetReason.UNAVAILABLE, ""), 9.0)
    assert channels[-1] in {
        event.channel for event in drain(pair.link) if isinstance(event, Writable)
    }
    assert _pour(pair, channels[-1])


def test_a_channel_without_credit_of_its_own_is_not_woken_by_that_of_others():
    pair = Pair()
    stuck, other = (pair.link.open("store", b"", ChannelPriority.BULK, now=0.0) for _ in range(2))
    for channel in (stuck, other):
        _pour(pair, channel)
    assert stuck.sending.credit == 0
    drain(pair.link)
    pair.link.receive_data(credit_frame(other.number, Credit(1000, 2 * MIB)), 5.0)
    assert [event.channel for event in drain(pair.link)] == [other]
    assert stuck.sending.credit == 0


def test_a_channel_below_its_floor_goes_on_though_others_hold_the_whole_budget():
    pair = Pair()
    channels = [pair.link.open("store", b"", ChannelPriority.BULK, now=0.0) for _ in range(20)]
    for channel in channels:
        pair.link.receive_data(credit_frame(channel.number, Credit(0, 4 * MIB)), 0.0)
    kept = [_pour(pair, channel) for channel in channels]
    last = channels[-1]
    assert kept[-1] == FLOOR
    drain(pair.link)
    pair.link.receive_data(
        credit_frame(last.number, Credit(FLOOR, 4 * MIB)), 1.0
    )  # consumed, and no further limit
    assert [event.channel for event in drain(pair.link) if isinstance(event, Writable)] == [last]
    assert last.sending.credit == FLOOR
    assert _pour(pair, last) == FLOOR
