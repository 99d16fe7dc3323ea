"""The deadlines and rates of a peer.

The limits of an association and the clock of an established one.
"""

import enum
from dataclasses import dataclass

from swallowtail.dicom.pdu import DEFAULT_MAX_PDU


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a peer, in seconds and bytes.

    Seconds and bytes.
    """

    # largest P-DATA-TF that we take until we have advertised a length; then that one counts
    max_pdu: int = DEFAULT_MAX_PDU
    artim: float = (
        30.0  # from the open transport to the whole A-ASSOCIATE-RQ, however the bytes come
    )
    # ARTIM in Sta13: how long the peer may take to close before we do, within a second in all
    linger: float = 0.8
    connect: float = 30.0  # for the transport to open
    answer: float = 30.0  # for the peer's answer to our A-ASSOCIATE-RQ or A-RELEASE-RQ
    idle: float = 300.0  # silence between messages while we owe no response
    rate: float = 1024.0  # bytes per second inside a message, averaged over `window`, while we read
    window: float = 30.0
    stall: float = 60.0  # in which the peer takes nothing of what we send
    tiny_count: int = 1_000  # so many PDVs in a row …
    tiny_bytes: int = 32  # … must carry this many bytes each on average


class Deadline(enum.Enum):
    """The deadline that a peer let pass, in words for people."""

    REQUEST = "no complete A-ASSOCIATE-RQ arrived in time"
    ANSWER = "the A-ASSOCIATE-RQ was not answered in time"
    RELEASE = "the A-RELEASE-RQ was not answered in time"
    IDLE = "the association was idle for too long"
    RATE = "a message came in too slowly"


class PacePhase(enum.Enum):
    """The side that has to send next on an established association."""

    IDLE = "between messages"
    RECEIVING = "inside a message of the peer"
    ANSWERING = "we owe a response"


class Pace:
    """Silence and slowness of an established association.

    Time that we spend not reading is not held against the peer.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._phase = PacePhase.IDLE
        self._since = now  # start of the silence, or of the current window of a message
        self._bytes = 0
        self._paused_at: float | None = None

    def enter(self, phase: PacePhase, now: float) -> None:
        """Record what the association does now."""
        if phase is not self._phase:
            self._phase = phase
            self._restart(now)

    def on_received(self, nbytes: int, now: float) -> None:
        """Count bytes from the peer."""
        self._bytes += nbytes
        if self._phase is not PacePhase.RECEIVING:
            self._since = now

    def spoke(self, now: float) -> None:
        """Record that this side sent something."""
        if self._phase is not PacePhase.RECEIVING:
            self._since = now

    def pause(self, now: float) -> None:
        """Stop the clock: we do not read."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Start the clock again."""
        if self._paused_at is not None:
            self._since += now - self._paused_at
            self._paused_at = None

    def deadline(self) -> float | None:
        """Return when to call `check`.

        None while the clock stands or nothing is expected of the peer.
        """
        if self._paused_at is not None or self._phase is PacePhase.ANSWERING:
            return None
        return self._since + (
            self._limits.window if self._phase is PacePhase.RECEIVING else self._limits.idle
        )

    def check(self, now: float) -> Deadline | None:
        """Name the deadline that has passed.

        A window with enough bytes in it is followed by the next.
        """
        due = self.deadline()
        if due is None or now < due:
            return None
        if self._phase is PacePhase.IDLE:
            return Deadline.IDLE
        if self._bytes < self._limits.rate * self._limits.window:
            return Deadline.RATE
        self._restart(now)
        return None

    def _restart(self, now: float) -> None:
        self._since = now
        self._bytes = 0
        if self._paused_at is not None:
            self._paused_at = now
