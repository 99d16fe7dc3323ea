"""Credit, and budgets in numbers."""

import pytest

from swallowtail.sansio.machine import CLOSED
from swallowtail.wire.channel import ChannelMachine, ChannelState, Data
from swallowtail.wire.frames import Credit
from swallowtail.wire.reasons import CloseCode, ResetReason, WireError
from swallowtail.wire.window import (
    FLOOR,
    INITIAL_LIMIT,
    KIB,
    MAX_BUDGET,
    MAX_CHANNEL_WINDOW,
    MIB,
    MIN_BUDGET,
    NodeBudget,
    ReceiveWindow,
    SendWindow,
    SessionBudget,
    allowance,
    opening_credit,
)
from tests.unit.wire.pair import Pair


def test_the_allowance_is_half_a_budget_and_eight_channels_find_a_part_of_it():
    assert [allowance(size) for size in (4 * MIB, 24 * MIB, 256 * KIB)] == [
        2 * MIB,
        2 * MIB,
        128 * KIB,
    ]
    left, taken = 2 * MIB, []
    while left:
        taken.append(opening_credit(left))
        left -= taken[-1]
    assert len(taken) >= 8
    assert min(taken[:8]) >= FLOOR
    assert opening_credit(100 * MIB) == MIB


def test_lower_credit_is_ignored_and_impossible_credit_is_a_violation():
    window = SendWindow(1000)
    window.send(500)
    assert window.credited(Credit(400, 2000))
    assert not window.credited(Credit(300, 1500))
    assert (window.received, window.limit, window.credit) == (400, 2000, 1500)
    for credit in (Credit(501, 3000), Credit(500, 501 + MAX_CHANNEL_WINDOW)):
        with pytest.raises(WireError):
            window.credited(credit)


def test_more_than_granted_closes_with_4429():
    window = ReceiveWindow(100, SessionBudget(), 0.0)
    window.arrive(100)
    with pytest.raises(WireError) as caught:
        window.arrive(1)
    assert caught.value.code == CloseCode.LIMIT


def receive(window: ReceiveWindow, size: int, now: float = 0.0) -> bool:
    window.receive_data()
    window.arrive(size)
    return window.consume(size, now)


def test_the_first_consumed_frame_of_a_lone_channel_raises_it_to_its_share():
    budget = SessionBudget()
    window = ReceiveWindow(MIB, budget, 0.0)
    assert receive(window, 64 * KIB)
    assert window.limit == 64 * KIB + 2 * MIB
    assert budget.held == window.held == 2 * MIB
    assert not receive(window, 64 * KIB)  # a quarter of the share has not been consumed yet
    assert receive(window, 448 * KIB)


def test_a_window_that_brings_messages_always_has_room_for_one_more():
    window = ReceiveWindow(INITIAL_LIMIT, SessionBudget(), 0.0)
    window.arrive(10)
    assert window.consume(10, 0.0)
    assert window.limit - window.consumed >= INITIAL_LIMIT


def test_shares_shrink_with_the_channels_and_the_room_but_never_below_the_floor():
    budget = SessionBudget()
    first = ReceiveWindow(MIB, budget, 0.0)
    receive(first, 64 * KIB)
    others = [ReceiveWindow(INITIAL_LIMIT, budget, 0.0) for _ in range(9)]
    for window in others:
        receive(window, 60 * KIB)
        assert window.limit - window.consumed == FLOOR  # the first one holds all there is
    assert budget.held == 2 * MIB + 9 * FLOOR
    first.drop()
    assert budget.held == 9 * FLOOR
    assert receive(others[0], FLOOR)
    assert FLOOR < others[0].limit - others[0].consumed == budget.share == 2 * MIB // 9


def test_a_node_at_its_limit_grants_the_floor_and_gets_everything_back():
    node = NodeBudget(MIB)
    one, two = SessionBudget(node), SessionBudget(node)
    first, second = ReceiveWindow(MIB, one, 0.0), ReceiveWindow(MIB, two, 0.0)
    receive(first, MIB)
    assert first.held == node.held == MIB
    receive(second, MIB)
    assert second.held == FLOOR
    assert node.held == MIB + FLOOR
    first.end()
    second.drop()
    assert node.held == one.held == two.held == one.receiving == two.receiving == 0
    assert not first.consume(0, 100.0)


def unread() -> tuple[NodeBudget, Pair, ChannelMachine]:
    """Link has sent 100 bytes and FIN.

    The Cloud read the first half, said FIN too, and owns a channel with the rest unread.
    """
    node = NodeBudget(8 * MIB)
    pair = Pair(node=node)
    ours, theirs = pair.open()
    assert ours.write(memoryview(bytes(50))) == 50
    ours.flush()
    pair.run()
    assert isinstance(theirs.next_event(0.0), Data)
    theirs.consumed(50, 0.0)
    assert ours.write(memoryview(bytes(50))) == 50
    ours.finish()
    theirs.finish()
    pair.run()
    assert (theirs.state, node.held) == (ChannelState.CLOSED, 50)
    return node, pair, theirs


def test_a_session_that_ends_gives_back_what_nobody_read():
    node, pair, theirs = unread()
    pair.cloud.receive_eof(1.0)
    assert node.held == pair.cloud.budget.held == 0
    assert isinstance(theirs.next_event(1.0), Data)
    theirs.consumed(50, 1.0)
    assert node.held == 0, "what is read later was given back already"


def test_a_reset_of_a_channel_that_ended_well_gives_back_what_nobody_read():
    node, pair, theirs = unread()
    theirs.reset(ResetReason.CANCELLED)
    assert node.held == 0
    assert theirs.next_event(1.0) is CLOSED
    assert not pair.cloud.data_to_send()


def test_a_slow_consumer_is_reported_every_two_seconds():
    budget = SessionBudget()
    window = ReceiveWindow(MIB, budget, 0.0)
    receive(window, 64 * KIB)
    window.arrive(300)
    assert not window.consume(100, 1.9)
    assert window.consume(100, 2.0)
    assert not window.consume(100, 2.1)


def test_the_budget_follows_the_rate_within_its_bounds():
    budget, now = SessionBudget(), 0.0
    assert budget.total == 4 * MIB
    for _ in range(150):  # 0.1 MB/s
        budget.arrived(1_000, now := now + 0.01)
    assert budget.total == pytest.approx(1_000_000, rel=0.05)
    for _ in range(1100):  # 100 MB/s
        budget.arrived(100_000, now := now + 0.001)
    assert budget.total == MAX_BUDGET
    for _ in range(60):
        budget.arrived(100, now := now + 0.9)
    assert budget.total == MIN_BUDGET


def test_a_pause_says_nothing_about_the_rate():
    budget, now = SessionBudget(), 0.0
    for _ in range(10):
        assert not budget.arrived(12_000, now := now + 4.0)
    assert budget.total == 4 * MIB
