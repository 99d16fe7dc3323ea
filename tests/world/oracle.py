"""The oracle.

It knows what the senders were told, asks the archive what a restart would find, and says what does
not fit.

It never looks into a program. It judges what a hospital could judge: what went out, what was heard
and when, and what is in the archive after everything that happened. A finding names its rule, so
that a planted fault can be told from a chance failure.
"""

import enum
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

ANSWER_LIMIT: Final = 25.0
"""Design, Deadlines.

Any sender is answered at most 25 s after the last byte of its message was read.
"""
DISCARD_LIMIT: Final = 15.0 + 10.0
"""Design, Deadlines: 15 s without credit, then at most 10 s of reading on and discarding."""
ECHO_TRUTH: Final = 45.0 + 1.0
"""Design, Deadlines: a silent session is dead after 45 s; until then an echo may believe in it."""
SLACK: Final = 1.0
"""What the way back to the sender may take."""

SUCCESS: Final = 0x0000


class Rule(enum.StrEnum):
    """What the oracle holds the product to."""

    LOST = "an acknowledged object is not in the archive"
    FALSE_SUCCESS = "an object was acknowledged before a crash could no longer undo it"
    TWICE = "an instance is visible more than once"
    STRANGE = "the archive shows what nobody sent"
    ORPHAN = "a row has no blob, or another one"
    LATE = "a sender heard too late"
    SILENT = "a sender heard nothing at all"
    WRONG_MESSAGE = "an answer names another message than the one it answers"
    ECHO = "an echo was answered although the way to the Cloud was dead"
    FENCE = "an old session committed after a newer one had begun"
    STUCK = "after all was repaired the system did not come back by itself"
    UNDELIVERED = "a destination has not got what was to be sent there"
    DELIVERED_TWICE = (
        "a destination got again what it had neither failed nor left unanswered, and no session was"
        " lost"
    )
    OUT_OF_ORDER = "a delivery has overtaken one of its lane"
    UNRECORDED = "a destination saw an attempt that the delivery's history leaves out"
    BREAKER_STUCK = "a destination that answers again is not sent to as before"
    DELAYED_BY_ANOTHER = "a destination waited for the trouble of another"
    ERROR = "a program logged an error, or an exception got lost"


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.rule.value}: {self.text}"


@dataclass(frozen=True)
class Instance:
    """What a modality has to send.

    Identified as the design does, by UID, transfer syntax and bytes.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.sop_instance, self.transfer_syntax, self.digest


class Outcome(enum.StrEnum):
    """How a message of a sender ended, from where the sender stands."""

    ANSWERED = "answered"
    REJECTED = "association rejected"
    ABORTED = "aborted"
    LOST = "connection lost"
    UNREACHABLE = "no connection"
    GAVE_UP = "nothing heard"


@dataclass(eq=False)
class Sending:
    """One message of one modality that wants an answer."""

    modality: str
    what: str
    """`associate`, `echo` or `store`."""
    began: float
    instance: Instance | None = None
    read_at: float | None = None
    """When the last byte of the message was read at the other end."""
    progress_at: float = 0.0
    """When the other end last read anything of it."""
    heard_at: float | None = None
    outcome: Outcome | None = None
    status: int | None = None
    excused: str = ""
    """Why nothing can be expected any more.

    The way between sender and Link broke, or Link lost its power.
    """

    @property
    def succeeded(self) -> bool:
        return self.outcome is Outcome.ANSWERED and self.status == SUCCESS

    def __str__(self) -> str:
        which = "" if self.instance is None else f" {self.instance.sop_instance}"
        return f"{self.modality} {self.what}{which} begun at {self.began:.3f}"


@dataclass(frozen=True)
class Row:
    """What the archive says of one instance."""

    sop_instance: str
    transfer_syntax: str
    digest: str
    visible: bool


class Archive(Protocol):
    """What a restart of the Cloud would find at this moment.

    Rows that are committed, blobs that are fsynced.
    """

    def rows(self) -> list[Row]:
        """Give all rows."""

    def blob(self, digest: str) -> bytes | None:
        """Give the bytes of a blob, None when it is not there, or not whole."""


class Oracle:
    """Collects what was said, and what it finds wrong with it."""

    def __init__(self, archive: Archive) -> None:
        self.findings: list[Finding] = []
        self.acknowledged: dict[tuple[str, str, str], Instance] = {}
        self.counts: Counter[str] = Counter()
        """How the attempts ended: a world in which everything is refused proves nothing."""
        self._archive = archive
        self._sent: dict[tuple[str, str, str], Instance] = {}
        self._open: dict[Sending, None] = {}

    def find(self, rule: Rule, text: str) -> None:
        """Note that something does not fit."""
        self.findings.append(Finding(rule, text))

    # what senders do and hear

    def sends(self, sending: Sending) -> None:
        """Learn that an attempt begins."""
        self._open[sending] = None
        sending.progress_at = sending.began
        if sending.instance is not None:
            self._sent[sending.instance.identity] = sending.instance

    def responses(
        self, sending: Sending, outcome: Outcome, now: float, *, status: int | None = None
    ) -> None:
        """Learn how an attempt ended.

        What was acknowledged must be beyond the reach of any crash at this very moment.
        """
        self._open.pop(sending)
        sending.outcome, sending.status, sending.heard_at = outcome, status, now
        self.counts[f"{sending.what} {outcome}{'' if status is None else f' {status:04X}'}"] += 1
        self._judge_time(sending, now)
        if sending.succeeded and sending.instance is not None:
            self.acknowledged[sending.instance.identity] = sending.instance
            if (why := self._missing(sending.instance)) is not None:
                self.find(Rule.FALSE_SUCCESS, f"{sending} was told 0000 at {now:.3f}: {why}")

    def echoed(self, sending: Sending, uplink_heard_at: float) -> None:
        """Learn when Link had last heard the Cloud as it answered an echo with success."""
        assert sending.heard_at is not None
        if sending.heard_at - uplink_heard_at > ECHO_TRUTH + SLACK:
            self.find(
                Rule.ECHO,
                f"{sending}: the Cloud was last heard at {uplink_heard_at:.3f}, the echo answered"
                f" at {sending.heard_at:.3f}",
            )

    def excuse(self, sendings: Iterable[Sending], why: str) -> None:
        """Record that nothing can reach these senders in time any more, for no fault of Link's."""
        for sending in sendings:
            sending.excused = sending.excused or why

    def open_sendings(self, modality: str | None = None) -> list[Sending]:
        """Give the attempts that have not ended."""
        return [sending for sending in self._open if modality in {None, sending.modality}]

    def _judge_time(self, sending: Sending, now: float) -> None:
        if sending.excused or sending.outcome is Outcome.UNREACHABLE:
            return
        if sending.outcome is Outcome.GAVE_UP:
            self.find(
                Rule.SILENT,
                f"{sending}: read until {sending.progress_at:.3f}, nothing heard until {now:.3f}",
            )
        elif sending.read_at is not None and now - sending.read_at > ANSWER_LIMIT + SLACK:
            self.find(
                Rule.LATE,
                f"{sending}: last byte read at {sending.read_at:.3f}, {sending.outcome} at"
                f" {now:.3f}",
            )
        elif sending.read_at is None and now - sending.progress_at > DISCARD_LIMIT + SLACK:
            self.find(
                Rule.LATE,
                f"{sending}: nothing was read after {sending.progress_at:.3f}, {sending.outcome} at"
                f" {now:.3f}",
            )

    # what is in the archive

    def sent(self, sop_instance: str, transfer_syntax: str) -> Instance | None:
        """Give what was sent under this UID.

        For worlds whose modalities never send other bytes under the same.
        """
        found = [
            one
            for one in self._sent.values()
            if (one.sop_instance, one.transfer_syntax) == (sop_instance, transfer_syntax)
        ]
        return found[0] if found else None

    def _missing(self, instance: Instance) -> str | None:
        if not any(
            (row.sop_instance, row.transfer_syntax, row.digest) == instance.identity
            for row in self._archive.rows()
        ):
            return "a crash now would leave no row"
        if self._archive.blob(instance.digest) != instance.data:
            return "a crash now would leave no blob"
        return None

    def judge_archive(self) -> None:
        """Compare the archive with everything that was sent and acknowledged."""
        rows = self._archive.rows()
        for instance in self.acknowledged.values():
            if (why := self._missing(instance)) is not None:
                self.find(Rule.LOST, f"{instance}: {why}")
        for uid, count in Counter(row.sop_instance for row in rows if row.visible).items():
            if count > 1:
                self.find(Rule.TWICE, f"{uid} is visible {count} times")
        for identity, count in Counter(
            (row.sop_instance, row.transfer_syntax, row.digest) for row in rows
        ).items():
            if count > 1:
                self.find(Rule.TWICE, f"{identity} has {count} rows")
        for row in rows:
            self._judge_row(row)

    def _judge_row(self, row: Row) -> None:
        sent = self._sent.get((row.sop_instance, row.transfer_syntax, row.digest))
        blob = self._archive.blob(row.digest)
        if sent is None:
            self.find(Rule.STRANGE, f"{row} was never sent")
        elif blob != sent.data:
            self.find(
                Rule.ORPHAN,
                f"{row}: the blob has {len(blob or b'')} of {len(sent.data)} bytes",
            )

    def judge_end(self, expected: Iterable[Instance]) -> None:
        """Check the end of a run, after every repair and a last attempt for each instance."""
        for sending in self._open:
            if not sending.excused:
                self.find(Rule.SILENT, f"{sending} is still waiting")
        for instance in expected:
            if instance.identity not in self.acknowledged:
                self.find(Rule.STUCK, f"{instance} could not be stored after all was repaired")
        self.judge_archive()
