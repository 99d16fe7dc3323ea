"""Every rule for deliveries finds what it is for, and finds nothing where nothing is wrong."""

from dataclasses import replace

import pytest

from swallowtail.calls.config import Destination
from tests.world.arrivals import PROMPT, Arrivals, Queued, Recorded
from tests.world.loop import WorldLoop
from tests.world.network import SimulatedNetwork
from tests.world.oracle import Instance, Oracle, Rule, Sending
from tests.world.pacs import ABORT, Attempt

EXPLICIT = "1.2.840.10008.1.2.1"
RESPONSE = 120.0
"""How long the destination may be without an answer, by its configuration."""
FIRST, SECOND = (
    Instance("1.2.840.10008.5.1.4.1.1.6.1", f"1.2.{number}", EXPLICIT, b"Heron^Ada")
    for number in (1, 2)
)


class End:
    """What an attempt asks of its socket."""

    def __init__(self):
        self.peer, self.session_ended, self.is_hopeless, self.last_words = self, False, False, b""
        self.last_wrote_at, self.last_wrote_in_vain = 0.0, False
        self.host = SimulatedNetwork(WorldLoop(0)).host("link", "10.0.0.2")

    def is_closing(self):
        return self.session_ended


class Hospital:
    """Arrivals at one destination, with a queue that the test writes and a clock that it sets."""

    def __init__(self):
        self.rows, self.states = {}, {"pacs0": "closed"}
        self.history = []
        self.loop = WorldLoop(0)
        self.oracle = Oracle(None)
        self.arrivals = Arrivals(self.oracle, self, self.loop)
        self.arrivals.destinations["pacs0"] = Destination(
            name="pacs0", host="10.0.0.20", port=104, ae_title="PACS0", attempts=2
        )
        for place, instance in enumerate((FIRST, SECOND)):
            self.oracle.sends(Sending("US1", "store", 0.0, instance))
            row = Queued("pacs0", instance.sop_instance, EXPLICIT, "", (0, place), "pending", 0.0)
            self.rows[instance] = row

    def queued(self):
        return list(self.rows.values())

    def breakers(self):
        return self.states

    def recorded(self):
        return self.history

    def at(self, now):
        self.loop._now = now

    def settle(self, instance, state="delivered"):
        self.rows[instance] = replace(self.rows[instance], state=state)
        self.arrivals.committed()

    def attempt(self, instance, *, status=0, keeps=True, responses=True, recorded=True):
        now = self.loop.time()
        made = Attempt(
            "pacs0", End(), now, now, instance.sop_instance, EXPLICIT, bytearray(instance.data)
        )
        self.arrivals.begun(made)
        if keeps:
            self.arrivals.kept(made)
        if status is not None:
            made.status = status
            self.arrivals.answered(made)
        if responses:
            made.responses(now)
        if recorded:
            self.history.append(Recorded(("pacs0", instance.sop_instance, EXPLICIT), now, now))
        return made

    @property
    def rules(self):
        return [finding.rule for finding in self.oracle.findings]


@pytest.fixture
def hospital():
    return Hospital()


def test_what_arrives_in_order_and_is_settled_leaves_no_finding(hospital):
    for instance in (FIRST, SECOND):
        hospital.attempt(instance)
        hospital.settle(instance)
    hospital.arrivals.judge_end([FIRST, SECOND])
    assert hospital.rules == []


def test_what_never_arrives(hospital):
    hospital.attempt(FIRST)
    hospital.settle(FIRST)
    hospital.settle(SECOND)  # the Cloud believes that it did
    hospital.arrivals.judge_end([FIRST, SECOND])
    assert hospital.rules == [Rule.UNDELIVERED]


def test_what_arrived_and_is_not_known_to_have(hospital):
    hospital.attempt(FIRST)
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == [Rule.UNDELIVERED]


@pytest.mark.parametrize(("refusals", "rules"), [(2, []), (1, [Rule.UNDELIVERED])])
def test_a_dead_letter_needs_as_many_refusals_as_there_are_attempts(hospital, refusals, rules):
    for _ in range(refusals):
        hospital.attempt(FIRST, status=0xC000, keeps=False)
    hospital.settle(FIRST, "dead-letter")
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == rules


def test_what_is_sent_again_without_a_reason(hospital):
    hospital.attempt(FIRST)
    hospital.attempt(FIRST)
    assert hospital.rules == [Rule.DELIVERED_TWICE]


def test_two_at_once(hospital):
    hospital.attempt(FIRST, status=None, keeps=False, responses=False)
    hospital.attempt(FIRST)
    assert hospital.rules == [Rule.DELIVERED_TWICE]


def test_a_failure_a_lost_answer_or_a_new_session_are_reasons(hospital):
    hospital.attempt(FIRST, status=0xA700, keeps=False)
    hospital.attempt(FIRST, responses=False).socket.session_ended = True
    hospital.at(5.0)
    hospital.attempt(FIRST)
    hospital.at(6.0)
    hospital.arrivals.connected()
    hospital.at(7.0)
    hospital.attempt(FIRST)
    assert hospital.rules == []


def test_an_answer_that_comes_after_the_abort_was_not_heard(hospital):
    attempt = hospital.attempt(FIRST, responses=False)
    attempt.socket.last_words = ABORT + bytes(4)
    attempt.socket.last_wrote_at = RESPONSE
    attempt.responses(RESPONSE + 1.0)
    hospital.attempt(FIRST)
    assert hospital.rules == []


@pytest.mark.parametrize(
    ("early", "in_vain", "rules"),
    [(1.0, False, [Rule.DELIVERED_TWICE]), (1.0, True, []), (0.0, False, [])],
)
def test_an_abort_of_links_own_choice_is_no_reason(hospital, early, in_vain, rules):
    end = hospital.attempt(FIRST, responses=False).socket
    end.last_words, end.last_wrote_at, end.last_wrote_in_vain = (
        ABORT + bytes(4),
        RESPONSE - early,
        in_vain,
    )
    hospital.attempt(FIRST)
    assert hospital.rules == rules


def test_an_attempt_that_the_history_leaves_out(hospital):
    hospital.attempt(FIRST, recorded=False, status=0xA700, keeps=False)
    hospital.at(1.0)
    hospital.attempt(FIRST)
    hospital.settle(FIRST)
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == [Rule.UNRECORDED]


def test_a_session_that_is_lost_may_take_an_attempt_with_it(hospital):
    hospital.attempt(FIRST, recorded=False)
    hospital.at(1.0)
    hospital.arrivals.connected()
    hospital.at(2.0)
    hospital.attempt(FIRST)
    hospital.settle(FIRST)
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == []


@pytest.mark.parametrize(("why", "rules"), [(True, []), (False, [Rule.UNRECORDED])])
def test_what_the_destination_refuses_a_context_for_is_set_aside_with_its_reason(
    hospital, why, rules
):
    hospital.arrivals.accepts = lambda key: False
    if why:
        hospital.history.append(Recorded(hospital.rows[FIRST].key, 0.0, 0.0))
    hospital.settle(FIRST, "dead-letter")
    del hospital.rows[SECOND]
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == rules


def test_a_new_session_is_no_reason_for_what_was_settled_before_it(hospital):
    hospital.attempt(FIRST)
    hospital.at(1.0)
    hospital.settle(FIRST)
    hospital.at(2.0)
    hospital.arrivals.connected()
    hospital.at(3.0)
    hospital.attempt(FIRST)
    assert hospital.rules == [Rule.DELIVERED_TWICE]


def test_what_was_on_its_way_to_a_replaced_twin_may_come_again(hospital):
    hospital.arrivals.connected()
    hospital.at(10.0)
    hospital.attempt(FIRST).socket.host.name = "twin"
    hospital.attempt(FIRST)
    assert hospital.rules == []
    hospital.attempt(FIRST)
    assert hospital.rules == [Rule.DELIVERED_TWICE]


def test_an_overtaker(hospital):
    hospital.attempt(SECOND)
    assert hospital.rules == [Rule.OUT_OF_ORDER]


@pytest.mark.parametrize("change", [{"state": "dead-letter"}, {"lane": "another"}])
def test_what_is_set_aside_or_in_another_lane_is_not_overtaken(hospital, change):
    hospital.rows[FIRST] = replace(hospital.rows[FIRST], **change)
    hospital.attempt(SECOND)
    assert hospital.rules == []


def test_other_bytes_than_were_sent(hospital):
    hospital.attempt(replace(FIRST, data=b"Heron"))
    assert hospital.rules == [Rule.STRANGE]


def test_a_breaker_that_stays_open(hospital):
    hospital.attempt(FIRST)
    hospital.settle(FIRST)
    hospital.states["pacs0"] = "open"
    hospital.arrivals.judge_end([FIRST])
    hospital.arrivals.judge_end([FIRST, SECOND])
    assert hospital.rules == [Rule.BREAKER_STUCK, Rule.BREAKER_STUCK]


@pytest.mark.parametrize(
    ("seconds", "rules"), [(PROMPT, []), (PROMPT + 1, [Rule.DELAYED_BY_ANOTHER])]
)
def test_a_destination_that_is_well_and_waits(hospital, seconds, rules):
    hospital.arrivals.undisturbed.add("pacs0")
    hospital.at(seconds)
    hospital.attempt(FIRST)
    hospital.settle(FIRST)
    hospital.arrivals.judge_end([FIRST])
    assert hospital.rules == rules
