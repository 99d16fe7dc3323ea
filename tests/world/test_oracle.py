"""Every rule of the oracle finds what it is for, and finds nothing where nothing is wrong."""

from dataclasses import replace

import pytest

from tests.world.oracle import Instance, Oracle, Outcome, Row, Rule, Sending

HERON = Instance("1.2.840.10008.5.1.4.1.1.6.1", "1.2.3", "1.2.840.10008.1.2.1", b"Heron^Ada")


class Shelf:
    """An archive in a dict."""

    def __init__(self, *rows):
        self.stored = list(rows)
        self.blobs = {}

    def rows(self):
        return self.stored

    def blob(self, digest):
        return self.blobs.get(digest)

    def put(self, instance, *, visible=True):
        self.stored.append(Row(*instance.identity, visible))
        self.blobs[instance.digest] = instance.data


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def oracle(shelf):
    return Oracle(shelf)


def send(oracle, instance=HERON, *, began=0.0):
    sending = Sending("US1", "echo" if instance is None else "store", began, instance)
    oracle.sends(sending)
    return sending


def rules(oracle):
    return [finding.rule for finding in oracle.findings]


def test_a_store_that_went_well_leaves_no_finding(oracle, shelf):
    sending = send(oracle)
    shelf.put(HERON)
    sending.read_at = 1.0
    oracle.responses(sending, Outcome.ANSWERED, 26.0, status=0)
    oracle.judge_end([HERON])
    assert oracle.findings == []
    assert oracle.counts == {"store answered 0000": 1}


def test_success_before_the_archive_has_it(oracle, shelf):
    oracle.responses(send(oracle), Outcome.ANSWERED, 1.0, status=0)
    shelf.put(HERON)
    oracle.judge_end([HERON])
    assert rules(oracle) == [Rule.FALSE_SUCCESS]


@pytest.mark.parametrize("loss", ["rows", "blobs"])
def test_what_was_acknowledged_and_is_gone_later(oracle, shelf, loss):
    shelf.put(HERON)
    oracle.responses(send(oracle), Outcome.ANSWERED, 1.0, status=0)
    getattr(shelf, "stored" if loss == "rows" else "blobs").clear()
    oracle.judge_end([HERON])
    assert Rule.LOST in rules(oracle)


def test_an_instance_that_shows_twice(oracle, shelf):
    conflict = replace(HERON, data=b"other bytes")
    for instance in (HERON, conflict):
        shelf.put(instance)
        oracle.responses(send(oracle, instance), Outcome.ANSWERED, 1.0, status=0)
    oracle.judge_end([])
    assert rules(oracle) == [Rule.TWICE]


def test_the_same_row_twice_even_when_one_shows(oracle, shelf):
    oracle.responses(send(oracle), Outcome.ABORTED, 1.0)
    shelf.put(HERON)
    shelf.put(HERON, visible=False)
    oracle.judge_end([])
    assert rules(oracle) == [Rule.TWICE]


def test_what_nobody_sent(oracle, shelf):
    shelf.put(HERON)
    oracle.judge_end([])
    assert rules(oracle) == [Rule.STRANGE]


@pytest.mark.parametrize("blob", [None, b"Her"])
def test_a_row_whose_blob_is_missing_or_partial(oracle, shelf, blob):
    oracle.responses(send(oracle), Outcome.LOST, 1.0)
    shelf.put(HERON)
    shelf.blobs[HERON.digest] = blob
    oracle.judge_end([])
    assert rules(oracle) == [Rule.ORPHAN]


def test_an_answer_after_more_than_25_seconds(oracle):
    sending = send(oracle)
    sending.read_at = 1.0
    oracle.responses(sending, Outcome.ANSWERED, 27.1, status=0xA700)
    assert rules(oracle) == [Rule.LATE]


def test_a_sender_that_is_not_read_from_for_too_long(oracle):
    sending = send(oracle)
    sending.progress_at = 5.0
    oracle.responses(sending, Outcome.ABORTED, 31.5)
    assert rules(oracle) == [Rule.LATE]


def test_a_sender_that_heard_nothing(oracle):
    oracle.responses(send(oracle), Outcome.GAVE_UP, 60.0)
    send(oracle)
    oracle.judge_end([])
    assert rules(oracle) == [Rule.SILENT, Rule.SILENT]


def test_who_cannot_be_reached_is_excused(oracle):
    send(oracle)
    oracle.excuse(oracle.open_sendings("US1"), "partition")
    oracle.responses(oracle.open_sendings()[0], Outcome.GAVE_UP, 60.0)
    assert oracle.findings == []


def test_a_store_that_never_succeeds_although_all_was_repaired(oracle):
    oracle.responses(send(oracle), Outcome.ANSWERED, 1.0, status=0xA700)
    oracle.judge_end([HERON])
    assert rules(oracle) == [Rule.STUCK]


def test_an_echo_that_believes_in_a_dead_uplink(oracle):
    for responses, expected in ((100.0, []), (102.5, [Rule.ECHO])):
        sending = send(oracle, None, began=responses - 0.1)
        oracle.responses(sending, Outcome.ANSWERED, responses, status=0)
        oracle.echoed(sending, 55.0)
        assert rules(oracle) == expected
