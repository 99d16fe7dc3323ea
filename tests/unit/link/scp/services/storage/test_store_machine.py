"""One store's fate, deadline by deadline."""

import zlib

import pytest

from swallowtail.calls.dimse_services.storage import NOT_STORED, STORED
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import (
    Committed,
    NotStored,
    NotStoredReason,
    Stored,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.link.scp.services.storage.store_machine import (
    ANSWER_LIMIT,
    DISCARD_LIMIT,
    NO_CREDIT_LIMIT,
    Phase,
    StoreRelay,
)

BODY = b"not a real data set"
COMMITTED = Committed(length=len(BODY), crc32=zlib.crc32(BODY), stored=Stored.NEW)


def relay(limit: int = 1000) -> StoreRelay:
    return StoreRelay(limit)


def awaiting(now: float = 100.0) -> StoreRelay:
    store = relay()
    assert store.fragment(BODY[:5])
    assert store.fragment(memoryview(BODY)[5:])
    store.whole(now)
    assert store.transfer.end() == TransferEnd(length=len(BODY), crc32=zlib.crc32(BODY))
    store.sent()
    assert store.phase is Phase.AWAITING
    return store


@pytest.mark.parametrize("stored", Stored)
def test_a_commit_with_the_right_numbers_is_believed(stored):
    store = awaiting()
    store.answered(Committed(length=len(BODY), crc32=zlib.crc32(BODY), stored=stored), 101.0)
    assert store.verdict is STORED[stored]
    assert store.next_timeout() is None


@pytest.mark.parametrize(
    ("length", "crc32"),
    [(len(BODY) - 1, zlib.crc32(BODY)), (len(BODY), zlib.crc32(BODY) ^ 1), (0, 0)],
)
def test_a_commit_with_other_numbers_is_not(length, crc32):
    store = awaiting()
    store.answered(Committed(length=length, crc32=crc32, stored=Stored.NEW), 101.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_a_commit_may_arrive_before_the_task_that_sent_the_end_runs_again():
    store = relay()
    assert store.fragment(BODY)
    store.whole(100.0)
    store.transfer.end()  # written; `sent` follows when the task runs
    store.answered(COMMITTED, 100.1)
    assert store.verdict is STORED[Stored.NEW]
    store.sent()
    assert store.phase is Phase.OVER


def test_a_commit_before_everything_was_sent_is_not():
    store = relay()
    store.fragment(BODY)
    store.whole(100.0)
    store.answered(COMMITTED, 100.0)
    store.sent()
    assert store.verdict is Situation.CLOUD_LOST


@pytest.mark.parametrize("reason", NotStoredReason)
def test_every_reason_not_to_store_becomes_its_situation(reason):
    store = awaiting()
    store.answered(NotStored(reason=reason), 101.0)
    assert store.verdict is NOT_STORED[reason]


def test_an_early_refusal_is_told_when_the_message_is_whole():
    store = relay()
    store.fragment(BODY)
    store.answered(NotStored(reason=NotStoredReason.TOO_LARGE), 100.0)
    assert store.phase is Phase.DISCARDING
    assert not store.fragment(BODY)
    assert store.verdict is None
    store.whole(105.0)
    assert store.verdict is Situation.TOO_LARGE


def test_without_an_answer_the_sender_hears_of_it_within_25_seconds_of_its_last_byte():
    store = awaiting(now=100.0)
    assert store.next_timeout() == 100.0 + ANSWER_LIMIT < 125.0
    store.handle_timeout(123.9)
    assert store.verdict is None
    store.handle_timeout(124.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_a_session_that_ends_fails_a_whole_message_at_once():
    store = awaiting()
    store.lost(101.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_a_session_that_ends_during_the_message_discards_what_follows_for_ten_seconds():
    store = relay()
    store.fragment(BODY)
    store.lost(100.0)
    assert not store.fragment(BODY)
    assert store.next_timeout() == 100.0 + DISCARD_LIMIT
    store.whole(109.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_a_message_that_is_not_whole_by_then_is_aborted():
    store = relay()
    store.lost(100.0)
    store.handle_timeout(110.0)
    assert store.verdict is Situation.CLOUD_LOST_INCOMPLETE


def test_no_credit_for_fifteen_seconds_has_failed():
    store = relay()
    store.no_credit(100.0)
    store.no_credit(107.0)
    assert store.next_timeout() == 100.0 + NO_CREDIT_LIMIT
    store.handle_timeout(115.0)
    assert store.phase is Phase.DISCARDING
    assert store.next_timeout() == 125.0


def test_credit_in_between_starts_the_fifteen_seconds_anew():
    store = relay()
    store.no_credit(100.0)
    store.credit()
    assert store.next_timeout() is None
    store.no_credit(114.0)
    store.handle_timeout(115.0)
    assert store.phase is Phase.RELAYING


def test_trickling_credit_does_not_postpone_the_answer():
    store = relay()
    store.fragment(BODY)
    store.whole(100.0)
    for now in range(100, 124, 4):
        store.no_credit(float(now))
        store.credit()
    store.handle_timeout(124.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_what_waits_in_links_buffers_may_hold_the_last_byte_so_the_answer_counts_from_the_read():
    store = relay()
    store.no_credit(120.0, 100.0)
    assert store.next_timeout() == 100.0 + ANSWER_LIMIT


def test_a_tail_without_credit_fails_as_a_whole_message():
    store = relay()
    store.fragment(BODY)
    store.whole(100.0)
    store.no_credit(100.0)
    store.handle_timeout(115.0)
    assert store.verdict is Situation.CLOUD_LOST


def test_an_object_over_the_cap_is_over_with_the_byte_that_exceeds_it():
    store = relay(limit=len(BODY))
    assert store.fragment(BODY)
    assert not store.fragment(b"!")
    assert store.verdict is Situation.TOO_LARGE
    assert store.phase is Phase.OVER


def test_what_link_itself_refuses_is_read_to_its_end_and_told():
    store = relay()
    store.refused(Situation.MALFORMED, 100.0)
    assert not store.fragment(BODY)
    store.whole(101.0)
    assert store.verdict is Situation.MALFORMED


def test_a_modality_that_goes_away_ends_the_store():
    store = relay()
    store.fragment(BODY)
    store.abandoned()
    assert store.verdict is Situation.INVALID_PDU


@pytest.mark.parametrize("after", ["lost", "answered", "whole", "timeout", "abandoned"])
def test_a_verdict_never_changes(after):
    store = awaiting()
    store.answered(COMMITTED, 101.0)
    match after:
        case "lost":
            store.lost(102.0)
        case "answered":
            store.answered(NotStored(reason=NotStoredReason.FENCED), 102.0)
        case "whole":
            store.whole(102.0)
        case "timeout":
            store.handle_timeout(999.0)
        case "abandoned":
            store.abandoned()
    assert store.verdict is Situation.STORED
