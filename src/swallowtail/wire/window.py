"""Credit (wire §5): what a sender may send, and what a receiver grants out of which budget.

ADR 0027 lists the accounts and the reasons.

Every number is an offset from 0 in one direction of one channel. `held` is what a receiver has
granted and its owner has not consumed yet; budgets bound it.
"""

from typing import Final

from swallowtail.wire.frames import MAX_OPENING_CREDIT, MAX_PAYLOAD, Credit
from swallowtail.wire.reasons import CloseCode, WireError

KIB: Final = 1 << 10
MIB: Final = 1 << 20
FLOOR: Final = 64 * KIB  # a channel is never granted less, whatever the budgets are
MAX_CHANNEL_WINDOW: Final = 4 * MIB
MAX_ALLOWANCE: Final = 2 * MIB
MIN_BUDGET: Final = 256 * KIB
START_BUDGET: Final = 4 * MIB
MAX_BUDGET: Final = 24 * MIB
BUDGET_SECONDS: Final = 10.0
CREDIT_INTERVAL: Final = 2.0
MEASURE_GAP: Final = 3.0
INITIAL_LIMIT: Final = MAX_PAYLOAD  # the opener's receiving direction


def allowance(budget: int) -> int:
    """Return the bytes that openers may grant themselves, of the acceptor's `budget` (wire §5)."""
    return min(budget // 2, MAX_ALLOWANCE)


def opening_credit(left: int) -> int:
    """Return how much of what is left of the allowance the next channel takes.

    A third, so that several can open at once.
    """
    return min(left, max(left // 3, FLOOR), MAX_OPENING_CREDIT)


class SendBudget:
    """The bytes that a session has sent and its peer has not consumed.

    The sender bounds them too: a peer that grants more than a budget must not make it keep more
    (wire §5).
    """

    def __init__(self, total: int = MAX_BUDGET) -> None:
        self.capacity = total
        self.waiting = 0
        """How many channels wait for this budget and not for their own limit."""


class SendWindow:
    """The bytes that this side may send on a channel."""

    def __init__(self, limit: int, budget: SendBudget | None = None) -> None:
        self.limit = limit
        self.sent = 0
        self.received = 0
        self._budget = SendBudget() if budget is None else budget
        self._waits = False

    @property
    def credit(self) -> int:
        """Return how many bytes may be sent now."""
        granted = self.limit - self.sent
        return (
            granted
            if granted <= self._budget.capacity
            else min(granted, max(self._budget.capacity, self._floor, 0))
        )

    @property
    def _floor(self) -> int:
        return FLOOR - (self.sent - self.received)

    def send(self, size: int) -> None:
        """Count bytes that are sent."""
        self.sent += size
        self._budget.capacity -= size

    def block(self, need: int = 1) -> None:
        """Record that `need` more bytes would be sent if there were credit for them."""
        self._wait(self.limit - self.sent >= need)

    def wake(self) -> bool:
        """Stop waiting for the session's budget if it covers bytes of this channel again."""
        if not self._waits or not self.credit:
            return False
        self._wait(False)
        return True

    def _wait(self, waits: bool) -> None:
        self._budget.waiting += waits - self._waits
        self._waits = waits

    def credited(self, credit: Credit) -> bool:
        """Apply the peer's CREDIT; return whether `limit` rose.

        Lower numbers are ignored; impossible ones are a violation (wire §5).
        """
        if credit.received > self.sent or credit.limit > credit.received + MAX_CHANNEL_WINDOW:
            raise WireError(
                "CREDIT for bytes that were never sent, or beyond the largest window (wire §5)"
            )
        raised = credit.limit > self.limit
        self.limit = max(self.limit, credit.limit)
        self._budget.capacity += max(0, credit.received - self.received)
        self.received = max(self.received, credit.received)
        return raised

    def end(self) -> None:
        """Discard the window: the channel has ended."""
        self._wait(False)
        self._budget.capacity += self.sent - self.received
        self.received = self.sent


class NodeBudget:
    """The bytes that all sessions of a process together may hold.

    It reduces grants and revokes none (wire §5).
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0

    @property
    def capacity(self) -> int:
        return max(0, self.total - self.held)


class SessionBudget:
    """The credit of one receiver on all channels of a session, by its measured rate (wire §5)."""

    def __init__(self, node: NodeBudget | None = None) -> None:
        self.total = START_BUDGET
        self.share = 0
        # on channels that a CREDIT has raised, without opening credit and initial limits
        self.held = 0
        self.receiving = 0  # channels on which DATA arrives
        self._node = node
        self._closed = False
        self._rate = 0.0
        self._since: float | None = None
        self._arrived = 0
        self._last = 0.0
        self._divide()

    def _divide(self) -> None:
        """Compute what one channel may hold: its part of what is not reserved for openers."""
        self._granted = self.total - allowance(self.total)
        self.share = max(FLOOR, min(self._granted // max(1, self.receiving), MAX_CHANNEL_WINDOW))

    def receive_on(self, change: int) -> None:
        """Record that one channel more (1) or less (-1) receives a body."""
        self.receiving += change
        self._divide()

    def target(self, held: int) -> int:
        """Return the bytes that a channel with `held` may hold after its next grant."""
        capacity = self._granted - self.held
        if self._node is not None:
            capacity = min(capacity, self._node.capacity)
        return max(FLOOR, min(self.share, max(0, capacity) + held))

    def hold(self, change: int) -> None:
        """Count bytes granted (positive), or consumed or discarded (negative)."""
        if self._closed:
            return
        self.held += change
        if self._node is not None:
            self._node.held += change

    def close(self) -> None:
        """Release what is held: the session has ended.

        Owners may still read what arrived on channels that ended normally.
        """
        self.hold(-self.held)
        self._closed = True

    def arrived(self, size: int, now: float) -> bool:
        """Measure the rate, at most once a second; return whether the budget changed.

        A gap of three seconds is a pause of the sender, not a slow connection: measuring starts
        again after it.
        """
        if self._since is None or now - self._last > MEASURE_GAP:
            self._since, self._arrived, self._last = now, 0, now
            return False
        self._arrived += size
        self._last = now
        elapsed = now - self._since
        if elapsed < 1.0:
            return False
        # one slow second halves it at most
        self._rate = max(self._arrived / elapsed, self._rate / 2)
        self._since, self._arrived = now, 0
        before = self.total
        self.total = int(min(max(self._rate * BUDGET_SECONDS, MIN_BUDGET), MAX_BUDGET))
        self._divide()
        return self.total != before


class ReceiveWindow:
    """The granted, received and consumed bytes of one direction of one channel."""

    def __init__(self, limit: int, budget: SessionBudget, now: float) -> None:
        self.limit = limit
        self.arrived = 0
        self.consumed = 0
        self.raised = False  # once it is, what it holds counts in the session's budget
        self._budget = budget
        self._credited_at = now
        self._ended = False
        self._receiving = False

    @property
    def held(self) -> int:
        return (self.arrived if self._ended else self.limit) - self.consumed

    def arrive(self, size: int) -> None:
        """Reserve `size` payload bytes."""
        self.arrived += size
        if self.arrived > self.limit:
            raise WireError(
                f"{self.arrived - self.limit} bytes more than granted (wire §5)", CloseCode.LIMIT
            )

    def receive_data(self) -> None:
        """Count this channel among those that receive a body."""
        if not self._receiving and not self._ended:
            self._receiving = True
            self._budget.receive_on(1)

    def consume(self, size: int, now: float) -> bool:
        """Count `size` more bytes as consumed; return whether CREDIT is due (wire §5)."""
        self.consumed += size
        if self.raised:
            self._budget.hold(-size)
        if self._ended:
            return False
        target = self._budget.target(self.held if self.raised else 0)
        rise = self.consumed + target - self.limit
        quarter = rise >= self._budget.share // 4
        # the peer may lack credit for a whole message
        short = rise > 0 and self.limit - self.arrived < MAX_PAYLOAD
        if not (quarter or short or now - self._credited_at >= CREDIT_INTERVAL):
            return False
        self._credited_at = now
        if rise > 0:
            self._raise(self.consumed + target)
        return True

    def _raise(self, limit: int) -> None:
        before = self.held if self.raised else 0
        self.raised, self.limit = True, limit
        self._budget.hold(self.held - before)

    def end(self) -> None:
        """Release the credit that was granted and not used: nothing more arrives."""
        if self._ended:
            return
        if self.raised:
            self._budget.hold(self.arrived - self.limit)
        self._ended = True
        if self._receiving:
            self._budget.receive_on(-1)

    def drop(self) -> None:
        """Discard what arrived and was not consumed."""
        self.end()
        if self.raised:
            self._budget.hold(self.consumed - self.arrived)
        self.consumed = self.arrived
