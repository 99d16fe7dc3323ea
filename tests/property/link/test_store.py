"""Whatever happens to a store in whatever order.

Success is never made up, and a verdict comes in time and stays.
"""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.dimse_services.storage import STORED
from swallowtail.calls.store import Committed, NotStored, NotStoredReason, Stored
from swallowtail.link.scp.services.storage.store_machine import (
    ANSWER_LIMIT,
    DISCARD_LIMIT,
    NO_CREDIT_LIMIT,
    Phase,
    StoreRelay,
)

LIMIT = 40
names = [
    "fragment",
    "no credit",
    "credit",
    "whole",
    "sent",
    "lost",
    "commit",
    "lie",
    "refuse",
    "time",
    "abandoned",
]
steps = st.tuples(st.sampled_from(names), st.floats(0, 12), st.binary(max_size=12))
quiet = st.tuples(st.sampled_from(["no credit", "credit", "time"]), st.floats(0, 12), st.just(b""))
beginnings = st.sampled_from([(), ("fragment", "whole"), ("fragment", "whole", "sent")])
happenings = st.builds(
    lambda begun, waits, rest: [*((name, 0.5, b"begun") for name in begun), *waits, *rest],
    beginnings,
    st.lists(quiet, max_size=4),
    st.lists(steps, max_size=20),
)
"""Half-way stories, some waiting, then anything."""


class Played:
    """A store and what an honest observer knows of it."""

    def __init__(self) -> None:
        self.store = StoreRelay(LIMIT)
        self.now = 100.0
        self.sent = b""
        self.whole_at: float | None = None
        self.all_sent = False
        self.honest_commit = False
        self.blocked = False

    def play(self, what: str, wait: float, data: bytes) -> None:
        self.wait(wait)
        store = self.store
        match what:
            case "fragment" if self.whole_at is None:
                if store.fragment(data):
                    self.sent += data
            case "no credit":
                store.no_credit(self.now)
                self.blocked = True
            case "credit":
                store.credit()
                self.blocked = False
            case "whole" if self.whole_at is None:
                self.whole_at = self.now
                store.whole(self.now)
            case "sent" if self.whole_at is not None:
                self.all_sent |= store.phase is Phase.RELAYING
                store.transfer.end()
                store.sent()
            case "lost":
                store.lost(self.now)
            case "commit":
                self.honest_commit |= self.all_sent and store.phase is Phase.AWAITING
                store.answered(
                    Committed(
                        length=len(self.sent), crc32=zlib.crc32(self.sent), stored=Stored.NEW
                    ),
                    self.now,
                )
            case "lie":
                store.answered(
                    Committed(
                        length=len(self.sent) + 1, crc32=zlib.crc32(self.sent), stored=Stored.NEW
                    ),
                    self.now,
                )
            case "refuse":
                store.answered(NotStored(reason=NotStoredReason.FENCED), self.now)
            case "abandoned":
                store.abandoned()

    def wait(self, seconds: float) -> None:
        """Let time pass, with the deadlines handled when they are due."""
        end = self.now + seconds
        while (due := self.store.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.store.handle_timeout(self.now)
        self.now = end


@given(happenings)
def test_success_is_sent_only_for_a_valid_commit_of_the_complete_data_set(steps):
    played = Played()
    for step in steps:
        before = played.store.verdict
        played.play(*step)
        assert before is None or played.store.verdict is before, "a verdict never changes"
    assert (played.store.verdict in STORED.values()) <= played.honest_commit
    assert played.store.transfer.crc32 == zlib.crc32(played.sent)
    assert played.store.length == len(played.sent)
    assert len(played.sent) <= LIMIT


@given(happenings)
def test_the_sender_gets_its_response_in_time_after_its_last_byte(steps):
    played = Played()
    for step in steps:
        played.play(*step)
        if played.whole_at is not None and played.store.verdict is None:
            assert played.now - played.whole_at <= ANSWER_LIMIT


@given(happenings)
def test_after_a_failure_link_reads_on_for_ten_seconds_at_most(steps):
    played = Played()
    for step in steps:
        played.play(*step)
    discarding = played.store.phase is Phase.DISCARDING
    blocked = played.store.phase is Phase.RELAYING and played.blocked
    played.wait(DISCARD_LIMIT if discarding else NO_CREDIT_LIMIT + DISCARD_LIMIT)
    if discarding or blocked:
        assert played.store.verdict is not None
