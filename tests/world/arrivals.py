"""What the destinations got, held against what was to be sent there.

The oracle's rules for deliveries.

It knows what each destination saw, what is committed of the queues (the archive that a restart
would find), and when each connection of a Link to the Cloud began. Such a connection is the only
thing after which a delivery may be under way a second time although the destination answered the
first, or would have: the Cloud, Link or session that was lost left it open. A destination that
fails an instance, or ends the association or lets it time out without an answer, gets it again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from swallowtail.calls.config import Destination
from swallowtail.cloud.model.delivery import MAX_ATTEMPTS
from tests.world.loop import WorldLoop
from tests.world.oracle import Instance, Oracle, Rule
from tests.world.pacs import REFUSALS, Attempt

PROMPT: Final = 30.0
"""Seconds within which a destination that is well has what was stored, while nothing but another
destination is in trouble.
"""
ON_ITS_WAY: Final = 60.0
"""Seconds that a delivery may take over a slow uplink, to a Link whose session has been replaced by
that of its twin.
"""
CUTS_PER_ATTEMPT: Final = 2
SET_ASIDE: Final = frozenset({"dead-letter", "skipped", "parked"})
DELIVERED: Final = frozenset({"delivered", "warned"})
Key = tuple[str, str, str]
"""Destination, SOP instance, transfer syntax: there is one delivery of each."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An attempt as it is committed in the history of its delivery; times are the loop's."""

    key: Key
    began: float
    ended: float
    is_cut: bool = False
    """The association ended, or its time, without an answer while the instance was under way."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A delivery as it is committed."""

    destination: str
    sop_instance: str
    transfer_syntax: str
    lane: str
    place: tuple[int, int]
    state: str
    received: float
    """When the instance was stored, on the loop's clock."""

    @property
    def key(self) -> Key:
        return self.destination, self.sop_instance, self.transfer_syntax


class Queues(Protocol):
    """What is committed of the queues."""

    def queued(self) -> list[Queued]:
        """Give all deliveries."""

    def breakers(self) -> Mapping[str, str]:
        """Give each destination's breaker."""

    def recorded(self) -> list[Recorded]:
        """Return the attempts of all deliveries, the oldest first."""


class Arrivals:
    """Collects what arrives at the destinations, and finds what is wrong with it."""

    def __init__(self, oracle: Oracle, queues: Queues, loop: WorldLoop) -> None:
        self.destinations: dict[str, Destination] = {}
        self.undisturbed: set[str] = set()
        """Destinations to which nothing happened, nor to what lies on the way there."""
        self.accepts: Callable[[Key], bool] = lambda key: True
        """Whether the destination accepts a presentation context for an instance."""
        self._oracle, self._queues, self._loop = oracle, queues, loop
        self._attempts: dict[Key, list[Attempt]] = {}
        self._kept: dict[Key, float] = {}
        self._settled: dict[Key, float] = {}
        self._sessions: list[float] = []

    # what is heard of

    def connected(self) -> None:
        """Learn that a connection from a Link to the Cloud has begun."""
        self._sessions.append(self._loop.time())

    def committed(self) -> None:
        """Learn that something was committed."""
        for one in self._queues.queued():
            if one.state in DELIVERED:
                self._settled.setdefault(one.key, self._loop.time())

    def begun(self, attempt: Attempt) -> None:
        """Learn that a destination was asked to store an instance."""
        key = self._key(attempt)
        self._judge_again(key, attempt)
        self._attempts.setdefault(key, []).append(attempt)

    def kept(self, attempt: Attempt) -> None:
        """Learn that a destination has an instance, whatever it answers."""
        attempt.kept_at = self._loop.time()
        key = self._key(attempt)
        self._loop.trace(f"{attempt} is kept")
        self._oracle.counts[f"{'delivered again' if key in self._kept else 'delivered'}"] += 1
        self._judge_content(attempt)
        if key not in self._kept:
            self._kept[key] = self._loop.time()
            self._judge_order(key)

    def answered(self, attempt: Attempt) -> None:
        """Learn what a destination answered."""
        self._loop.trace(f"{attempt} is answered {attempt.status:04X}")
        self._oracle.counts[f"delivery answered {attempt.status:04X}"] += 1

    def _key(self, attempt: Attempt) -> Key:
        return attempt.destination, attempt.sop_instance, attempt.transfer_syntax

    # what is judged at once

    def _judge_again(self, key: Key, attempt: Attempt) -> None:
        """A destination that has an instance may be sent it again when nobody can know that it has
        it.
        """
        for earlier in self._attempts.get(key, ()):
            if not earlier.failed and not self._may_repeat(key, earlier, attempt):
                text = (
                    f"{attempt}, though {earlier} has not failed: kept at {earlier.kept_at},"
                    f" received at {earlier.heard_at}"
                )
                self._oracle.find(Rule.DELIVERED_TWICE, text)

    def _may_repeat(self, key: Key, earlier: Attempt, attempt: Attempt) -> bool:
        patience = self.destinations[key[0]].timeouts.response
        if any(one.is_unanswered(patience) for one in (earlier, attempt)):
            return True  # of the latter: it was sent before the earlier one, and read after it
        since = earlier.free_at
        if (
            earlier.source != attempt.source
        ):  # what the Cloud had sent to the one before it served the other still arrives there
            since -= ON_ITS_WAY
        return self._was_session_lost(key, since, attempt.began)

    def _was_session_lost(self, key: Key, since: float, until: float) -> bool:
        """Return whether a connection of a Link to the Cloud began then, before the delivery was
        settled.
        """
        settled = self._settled.get(key, until)
        return any(since <= at <= min(until, settled) for at in self._sessions)

    def _judge_content(self, attempt: Attempt) -> None:
        sent = self._oracle.sent(attempt.sop_instance, attempt.transfer_syntax)
        if sent is None or sent.data != bytes(attempt.data):
            self._oracle.find(
                Rule.STRANGE,
                f"{attempt}: the {len(attempt.data)} bytes are not those that were sent",
            )

    def _judge_order(self, key: Key) -> None:
        queued = {one.key: one for one in self._queues.queued()}
        mine = queued.get(key)
        if mine is None:
            self._oracle.find(Rule.STRANGE, f"{key} was not queued")
            return
        for one in queued.values():
            if (one.destination, one.lane) != (
                mine.destination,
                mine.lane,
            ) or one.place >= mine.place:
                continue
            if one.key not in self._kept and one.state not in SET_ASIDE:
                self._oracle.find(
                    Rule.OUT_OF_ORDER, f"{key} came at {self._loop.time():.3f} before {one.key}"
                )

    # the end

    def missing(self, expected: Iterable[Instance]) -> list[Key]:
        """Give what was stored and has neither arrived nor been set aside with a reason."""
        aside = {
            one.key
            for one in self._queues.queued()
            if one.state in SET_ASIDE and self._was_refused(one.key)
        }
        settled = {one.key for one in self._queues.queued() if one.state in DELIVERED}
        keys = [
            (name, one.sop_instance, one.transfer_syntax)
            for name in self.destinations
            for one in expected
        ]
        return [
            key for key in keys if key not in aside and not (key in self._kept and key in settled)
        ]

    def _was_refused(self, key: Key) -> bool:
        """A dead letter is right when the instance was refused as often as it is tried, or cut off
        twice as often.

        A destination that crashes may not have seen what was cut off; the history has that too.
        What the destination refuses a presentation context for is right at once.
        """
        if not self.accepts(key):
            return True
        attempts, allowed = self._attempts.get(key, ()), self.destinations[key[0]].attempts
        refused = sum(one.status in REFUSALS for one in attempts)
        cuts = sum(one.is_cut for one in self._queues.recorded() if one.key == key)
        return refused >= allowed or cuts >= CUTS_PER_ATTEMPT * allowed

    def judge_end(self, expected: Iterable[Instance]) -> None:
        """Judge the end of a run, long after every repair."""
        breakers = self._queues.breakers()
        stuck = {name for name, breaker in breakers.items() if breaker != "closed"}
        for key in self.missing(expected):
            why = "it was never kept" if key not in self._kept else "it is not known to be kept"
            self._oracle.find(
                Rule.BREAKER_STUCK if key[0] in stuck else Rule.UNDELIVERED, f"{key}: {why}"
            )
            stuck.discard(key[0])
        for name in sorted(stuck):
            self._oracle.find(
                Rule.BREAKER_STUCK,
                f"the breaker of {name} is {breakers[name]} although nothing waits there",
            )
        self._judge_history()
        for one in self._queues.queued():
            kept = self._kept.get(one.key)
            if (
                one.destination in self.undisturbed
                and kept is not None
                and kept - one.received > PROMPT
            ):
                text = f"{one.key} was stored at {one.received:.3f} and came at {kept:.3f}"
                self._oracle.find(Rule.DELAYED_BY_ANOTHER, text)

    def _judge_history(self) -> None:
        """Find attempts that destinations saw and no history has, but for those under which a
        session was lost.
        """
        history: dict[Key, list[Recorded]] = {}
        for one in self._queues.recorded():
            history.setdefault(one.key, []).append(one)
        for key in (one.key for one in self._queues.queued()):
            known = history.get(key, [])
            if len(known) < MAX_ATTEMPTS:  # no more are kept
                self._judge_attempts(key, known)

    def _judge_attempts(self, key: Key, known: list[Recorded]) -> None:
        now = self._loop.time()
        if not known and not self.accepts(key) and not self._was_session_lost(key, 0.0, now):
            self._oracle.find(Rule.UNRECORDED, f"{key}: nothing says why it was refused")
        for attempt in self._attempts.get(key, ()):
            rows = (
                one for one in known if one.began <= attempt.began and attempt.free_at <= one.ended
            )
            if (row := next(rows, None)) is not None:
                known.remove(row)
            elif not self._was_session_lost(key, attempt.free_at, now):
                self._oracle.find(Rule.UNRECORDED, f"{attempt}, answered {attempt.status}")
