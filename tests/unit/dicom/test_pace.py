"""The clock of an established association."""

from swallowtail.dicom.pace import Deadline, Limits, Pace, PacePhase

LIMITS = Limits(idle=300.0, rate=1024.0, window=30.0)


def test_silence_between_messages_is_idle() -> None:
    pace = Pace(LIMITS, 0.0)
    assert pace.deadline() == 300.0
    pace.on_received(1, 100.0)
    assert pace.deadline() == 400.0
    pace.spoke(150.0)
    assert pace.check(449.9) is None
    assert pace.check(450.0) is Deadline.IDLE


def test_nothing_is_due_while_we_owe_the_answer() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.enter(PacePhase.ANSWERING, 0.0)
    assert pace.deadline() is None
    pace.enter(PacePhase.IDLE, 100.0)
    assert pace.deadline() == 400.0


def test_a_message_must_come_at_the_minimum_rate() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.enter(PacePhase.RECEIVING, 10.0)
    pace.on_received(30 * 1024, 20.0)
    assert pace.check(40.0) is None, "a window with enough in it"
    assert pace.deadline() == 70.0
    pace.on_received(30 * 1024 - 1, 50.0)
    assert pace.check(69.0) is None
    assert pace.check(70.0) is Deadline.RATE


def test_dribbled_bytes_do_not_move_the_window() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.enter(PacePhase.RECEIVING, 0.0)
    for second in range(1, 30):
        pace.enter(PacePhase.RECEIVING, float(second))
        pace.on_received(1, float(second))
    assert pace.check(30.0) is Deadline.RATE


def test_time_that_we_do_not_read_is_not_the_peer_s() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.enter(PacePhase.RECEIVING, 0.0)
    pace.pause(10.0)
    pace.pause(50.0)
    assert pace.deadline() is None
    assert pace.check(1000.0) is None
    pace.resume(110.0)
    pace.resume(111.0)
    assert pace.deadline() == 130.0
    assert pace.check(130.0) is Deadline.RATE


def test_a_pause_that_spans_two_phases_counts_once() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.pause(10.0)
    pace.enter(PacePhase.RECEIVING, 20.0)
    pace.resume(50.0)
    assert pace.deadline() == 80.0
