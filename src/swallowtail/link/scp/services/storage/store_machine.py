"""One C-STORE on its way through Link.

What is counted, what is accepted, and when it has failed (design, Deadlines).

A machine without I/O: the shell reports to it what happens and asks for the verdict. It never
touches the bytes, but for their checksum.

    RELAYING    fragments go to the Cloud as they arrive
       │ lost, or no credit for 15 s, or refused early          every byte and the end are sent
       ▼                                                           ▼
    DISCARDING  read on, at most 10 s: an answer can be  AWAITING  the answer, at most 24 s after
       │        received only after a whole message                   │   the last byte was read
       ▼                                                           ▼
    OVER        `verdict` is the situation that the table answers
"""

import enum
from typing import Final

from swallowtail.calls.dimse_services.storage import NOT_STORED, STORED
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import Committed, StoreAnswer
from swallowtail.calls.transfer import OutgoingTransfer
from swallowtail.sansio.machine import Bytes

NO_CREDIT_LIMIT: Final = 15.0
DISCARD_LIMIT: Final = 10.0
ANSWER_LIMIT: Final = 24.0
"""One second less than the sender is promised: the answer has a way to go too."""


class Phase(enum.Enum):
    """The phase of a store."""

    RELAYING = "relaying"
    DISCARDING = "discarding"
    AWAITING = "awaiting the answer"
    OVER = "over"


class StoreRelay:
    """The machine that decides one store; `verdict` is None until it is over."""

    def __init__(self, max_object: int) -> None:
        self.phase = Phase.RELAYING
        self.verdict: Situation | None = None
        self.transfer = OutgoingTransfer()
        self._max_object = max_object
        self._failure = Situation.CLOUD_LOST
        self._deadline: float | None = None  # of the phase: credit, or discarding
        self._answer_by: float | None = None  # from the last byte on, whatever the phase

    def fragment(self, data: Bytes) -> bool:
        """Count bytes of the data set; True means: they go to the Cloud."""
        if self.phase is not Phase.RELAYING:
            return False
        if self.length + len(data) > self._max_object:
            self._over(Situation.TOO_LARGE)
            return False
        self.transfer.update(data)
        return True

    def no_credit(self, now: float, read_at: float | None = None) -> None:
        """Handle that the Cloud takes no more for now.

        `read_at` is when the modality's socket was read last, None: now.

        What waits in Link's buffers may hold the last byte: its sender's time runs from then,
        however the credit trickles.
        """
        if self.phase is Phase.RELAYING and self._deadline is None:
            self._deadline = min(
                now + NO_CREDIT_LIMIT, (now if read_at is None else read_at) + ANSWER_LIMIT
            )

    def credit(self) -> None:
        """Handle that the Cloud takes bytes again."""
        if self.phase is Phase.RELAYING:
            self._deadline = None

    def whole(self, now: float) -> None:
        """Handle that the last byte of the message was read, `now`."""
        if self.phase is Phase.DISCARDING:
            self._over(self._failure)
        elif self.phase is Phase.RELAYING:
            self._answer_by = now + ANSWER_LIMIT

    @property
    def length(self) -> int:
        """Return the bytes that went to the Cloud."""
        return self.transfer.length

    def sent(self) -> None:
        """Handle that every byte and the last word went to the Cloud."""
        if self.phase is Phase.RELAYING:
            self.phase = Phase.AWAITING
            self._deadline = None

    def lost(self, now: float) -> None:
        """Handle that no answer will come: the session or the channel has ended."""
        self._failed(Situation.CLOUD_LOST, now)

    def refused(self, situation: Situation, now: float) -> None:
        """Record from Link itself that this store is not requested."""
        self._failed(situation, now)

    def abandoned(self) -> None:
        """Handle that the modality has ended: nobody is left to receive an answer."""
        if self.phase is not Phase.OVER:
            self._over(Situation.INVALID_PDU)

    def answered(self, answer: StoreAnswer, now: float) -> None:
        """Record what the Cloud states.

        A commit is accepted only with this store's own numbers (wire §8). It may arrive before
        `sent`: the last message has left, and the task that sent it has not run since.
        """
        relayed = self.phase in (Phase.RELAYING, Phase.AWAITING)
        if not isinstance(answer, Committed):
            self._failed(NOT_STORED[answer.reason], now)
        elif relayed and self.transfer.is_confirmed_by(answer):
            self._over(STORED[answer.stored])
        else:
            self._failed(Situation.CLOUD_LOST, now)

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is due."""
        return min(
            (due for due in (self._deadline, self._answer_by) if due is not None), default=None
        )

    def handle_timeout(self, now: float) -> None:
        """Handle every deadline that `now` has reached."""
        due = self.next_timeout()
        if due is None or now < due:
            return
        if self.phase is Phase.DISCARDING:
            self._over(Situation.CLOUD_LOST_INCOMPLETE)
        else:
            self._failed(Situation.CLOUD_LOST, now)

    def _failed(self, situation: Situation, now: float) -> None:
        if self.phase is Phase.AWAITING or (
            self.phase is Phase.RELAYING and self._answer_by is not None
        ):
            self._over(situation)
        elif self.phase is Phase.RELAYING:
            self.phase = Phase.DISCARDING
            self._failure = situation
            self._deadline = now + DISCARD_LIMIT

    def _over(self, situation: Situation) -> None:
        self.phase = Phase.OVER
        self.verdict = situation
        self._deadline = self._answer_by = None
