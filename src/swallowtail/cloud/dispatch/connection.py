"""One connection of a destination.

Leases are claimed, sent and settled in order, the next one while the last awaits its response.

While an outcome is kept, the one after those under way is claimed: both are one commit, and it is
there when it may begin.

What follows in a lane is asked for `behind` the one that is under way: Link begins it when that one
has arrived, and returns it otherwise, so a retry is overtaken by nothing. Its answer is waited for
also when the head has failed: only Link can state whether it was begun, and what was sent must not
be sent again as if it had not been.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic

import msgspec
import structlog
from prometheus_client import Counter

from swallowtail.cloud.dispatch.alarms import DestinationAlarm
from swallowtail.cloud.dispatch.attempt import (
    AttemptRequest,
    AttemptResult,
    D,
    Progress,
    RouteSession,
)
from swallowtail.cloud.dispatch.outcomes import (
    Failure,
    NotBegun,
    Outcome,
    PayloadSuspected,
    RouteLost,
    Success,
)
from swallowtail.cloud.dispatch.planner import MAX_SUSPECTED, Plan, plan
from swallowtail.cloud.model.delivery import (
    AttemptFacts,
    Claim,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Lease,
    Target,
)
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.deliveries import Deliveries
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()

LEASE: Final = 25.0
"""Seconds after which what a killed node had under way is sent by the next session.

Re-homing takes at most 30 s (design).
"""
EXTEND_EVERY: Final = 8.0
DEPTH: Final = 2
"""Deliveries under way on one connection: one that is sent or awaits its response, and the next."""
SETTLE_PAUSE: Final = 1.0
ABANDON: Final = 2.0
MARGIN: Final = 30.0
"""Seconds beyond all of the destination's deadlines after which an attempt is cancelled."""
ATTEMPTS: Final = Counter(
    "swallowtail_delivery_attempts", "Attempts to deliver, by the state that they left", ["state"]
)
SUSPECTED_STATES: Final = frozenset({DeliveryState.DEAD_LETTER, DeliveryState.STOPPED})
LOOK_BACK: Final = 20
"""The newest dead letters among which those caused by cuts are counted."""


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """A delivery that is being sent."""

    lease: Lease
    progress: Progress
    before: Progress | None
    """Of the one that must arrive before this one is begun, or await its response."""
    overlaps: bool
    """Whether it may be begun while the one before it awaits its response."""
    began: float
    task: "asyncio.Task[tuple[Outcome, str]]"


@dataclass(frozen=True, slots=True)
class DispatchContext(Generic[D]):
    """The context that every connection of a session uses."""

    route: RouteSession[D]
    deliveries: Deliveries
    alarm: DestinationAlarm
    clock: Clock
    random: Callable[[], float]


class DestinationConnection(Generic[D]):
    """A connection that sends what is due at one destination, then ends.

    `run` again when there is more.
    """

    def __init__(
        self,
        context: DispatchContext[D],
        target: Target,
        destination: D,
        configuration: int,
        number: int,
    ) -> None:
        self._context, self._target, self._destination = context, target, destination
        self._configuration, self._number = configuration, number
        self._line: deque[RunningAttempt] = deque()
        self._expected: tuple[tuple[str, str, str], ...] = ()
        self._state = DestinationState(target=target)
        self._since = 0.0
        self._claiming: asyncio.Task[Claim | StorageUnavailableError] | None = None
        self._ahead: Claim | None = None
        self._retired = False

    def retire(self) -> None:
        """Start no more attempts, because the settings of the destination have changed.

        Another connection continues with the queue.
        """
        self._retired = True

    async def run(self) -> int:
        """Send until nothing is due; return the number of attempts.

        Cancellation returns the leases.
        """
        count = 0
        async with Tasks(f"connection {self._number}") as tasks:
            try:
                while not self._context.route.session_ended and (self._line or not self._retired):
                    if not self._line and not await self._begin(tasks, None):
                        break
                    await self._go_on(tasks)
                    count += 1
            finally:
                await self._abandon()
        return count

    async def _begin(self, tasks: Tasks, after: Lease | None) -> bool:
        """Start the attempt that was claimed ahead, or claim one, behind `after` if given."""
        if self._ahead is None:
            claim = await self._claimed(tasks, after)
            if (
                isinstance(claim, StorageUnavailableError) and not self._line
            ):  # else what is under way has to be settled first
                raise claim
            self._keep(claim)
        if self._ahead is None:
            return False
        (lease,) = self._ahead.leases
        may_suspect = await self._may_suspect(lease)
        if self._line and self._line[-1].progress.result is AttemptResult.FAILED:
            return False  # it failed meanwhile, so Link would return this one
        self._ahead = None
        progress = Progress()
        request = AttemptRequest(
            lease=lease,
            destination=self._destination,
            configuration=self._configuration,
            connection=self._number,
            expected=self._expected,
            behind=self._line[-1].lease.delivery.id if self._line else 0,
            may_suspect=may_suspect,
        )
        before = self._line[-1].progress if self._line else None
        overlaps = self._destination.outstanding > 1
        sender = self._context.route.sender(lease.delivery.payload.kind)
        task = tasks.spawn(sender.attempt(request, progress), name="attempt")
        self._line.append(
            RunningAttempt(lease, progress, before, overlaps, self._context.clock(), task)
        )
        return True

    async def _claimed(self, tasks: Tasks, after: Lease | None) -> Claim | StorageUnavailableError:
        """Claim one more; if cancelled meanwhile, `_abandon` returns it."""
        self._claiming = tasks.spawn(self._claim(after), name="claim")
        return await asyncio.shield(self._claiming)

    def _keep(self, claim: Claim | StorageUnavailableError) -> None:
        self._claiming = None
        if isinstance(claim, Claim) and claim.leases:
            self._ahead, self._state, self._expected = claim, claim.state, claim.expected

    async def _claim(self, after: Lease | None) -> Claim | StorageUnavailableError:
        now = self._context.clock()
        tenant = self._context.route.tenant
        try:
            return await self._context.deliveries.claim(
                tenant, self._target, 1, now=now, until=now + LEASE, after=after
            )
        except StorageUnavailableError as error:
            return error

    async def _may_suspect(self, lease: Lease) -> bool:
        """Return whether a cut may be caused by this payload.

        At most MAX_SUSPECTED in a row may, without one that is delivered.
        """
        if not lease.delivery.cuts:
            return False
        search = DeliverySearch(
            link=self._target.link, destination=self._target.destination, states=SUSPECTED_STATES
        )
        page = await self._context.deliveries.deliveries(
            self._context.route.tenant, search, PageRequest(LOOK_BACK)
        )
        suspected = [
            one
            for one in page.items
            if one.cuts and one.changed > (self._state.delivered_at or 0.0)
        ]
        return len(suspected) < MAX_SUSPECTED

    async def _go_on(self, tasks: Tasks) -> None:
        """Wait for the head's outcome and settle it.

        Meanwhile begin the next one once the head is sent.
        """
        head = self._line[0]
        self._since = asyncio.get_running_loop().time()
        if len(self._line) < DEPTH and not self._retired:
            sent = tasks.spawn(head.progress.sent.wait(), name="sent")
            await self._wait(head, sent)
            sent.cancel()
            if (
                self._may_begin(head)
                and not await self._begin(tasks, head.lease)
                and self._begins_others(head)
            ):
                await self._begin(tasks, None)
        await self._wait(head)
        goes_on = await self._settle_and_claim(tasks, head)
        self._line.popleft()
        if not goes_on:
            await self._give_back()

    def _begins_others(self, head: RunningAttempt) -> bool:
        """Return whether another lane may start on this connection.

        The lane of the head has nothing to start.
        """
        return (
            self._destination.connections > 1
            and self._ahead is None
            and head.progress.result is not AttemptResult.FAILED
        )

    def _may_begin(self, head: RunningAttempt) -> bool:
        """Return whether the next attempt may start.

        It may during the commit of a delivered head, if it is claimed already.
        """
        if self._retired or not head.task.done():
            return not self._retired
        return (
            self._ahead is not None
            and not head.task.cancelled()
            and head.progress.result is AttemptResult.DELIVERED
        )

    async def _wait(self, head: RunningAttempt, *others: "asyncio.Task[bool]") -> None:
        """Wait until something ends, extending the leases.

        The head is cancelled when nothing happens beyond every deadline.
        """
        while True:
            awaited = [head.task, *others]
            done, _ = await asyncio.wait(
                awaited, timeout=EXTEND_EVERY, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return
            await self._extend()
            if self._silent(head):
                head.task.cancel()
                await asyncio.wait([head.task])

    def _silent(self, head: RunningAttempt) -> bool:
        patience = self._destination.patience + MARGIN
        return asyncio.get_running_loop().time() - max(head.progress.at, self._since) > patience

    async def _extend(self) -> None:
        try:
            leases = [one.lease for one in self._line] + [
                *(self._ahead.leases if self._ahead else ())
            ]
            await self._context.deliveries.extend(leases, until=self._context.clock() + LEASE)
        except StorageUnavailableError:
            log.warning(
                "lease extension failed",
                link=self._target.link,
                destination=self._target.destination,
            )

    async def _settle(self, attempt: RunningAttempt, tries: int | None = None) -> Plan | None:
        """Settle an attempt and return its plan.

        None: the lease was lost, or the storage was unavailable `tries` times. Without a limit it
        waits for the storage, because a lost outcome means to send again.
        """
        outcome, syntax = _outcome(attempt, session_ended=self._context.route.session_ended)
        facts = self._facts(attempt, outcome, syntax) if _has_begun(attempt, outcome) else None
        for _ in itertools.count() if tries is None else range(tries):
            now = self._context.clock()
            planned = plan(
                attempt.lease,
                self._state,
                self._destination,
                outcome,
                sent_format=syntax,
                now=now,
                random=self._context.random(),
            )
            settlement = msgspec.structs.replace(planned.settlement, attempt=facts)
            changed = planned.state if planned.state != self._state else None
            try:
                kept = await self._context.deliveries.settle([settlement], changed, now=now)
            except StorageUnavailableError:
                await asyncio.sleep(SETTLE_PAUSE)
                continue
            self._state = planned.state
            if kept:
                ATTEMPTS.labels(planned.settlement.state.value).inc()
            await self._context.alarm.report(self._context.route.tenant, planned)
            return planned if kept else None
        return None

    async def _settle_and_claim(self, tasks: Tasks, head: RunningAttempt) -> bool:
        """Settle the head and return whether its lane continues.

        After a success the same commit claims the next one.
        """
        outcome, _ = _outcome(head, session_ended=self._context.route.session_ended)
        if not isinstance(outcome, Success) or self._ahead is not None or self._retired:
            planned = await self._settle(head)
            return planned is not None and planned.done
        settling = tasks.spawn(
            self._settle(head), name="settle"
        )  # is the first to be written, so a free lane's next is its head
        claim = await self._claimed(tasks, self._line[-1].lease if len(self._line) > 1 else None)
        planned = await settling
        self._keep(claim)
        return planned is not None

    def _facts(self, attempt: RunningAttempt, outcome: Outcome, syntax: str) -> AttemptFacts:
        answer = outcome.failure if isinstance(outcome, PayloadSuspected) else outcome
        return AttemptFacts(
            began=attempt.began,
            ended=self._context.clock(),
            epoch=self._context.route.epoch,
            configuration=self._configuration,
            connection=self._number,
            sent_format=syntax or attempt.lease.delivery.payload.format,
            seconds=outcome.seconds if isinstance(outcome, Success) else None,
            comment=answer.comment if isinstance(answer, Success | Failure) else "",
        )

    async def _give_back(self) -> None:
        """Settle the running attempts by their answers, and start no more."""
        await self._return_ahead()
        while self._line:
            attempt = self._line[0]
            self._since = asyncio.get_running_loop().time()
            await self._wait(attempt)
            await self._settle(attempt)
            self._line.popleft()

    async def _give_up(self) -> None:
        """Cancel the running attempts, last one first.

        One that already has its answer is settled by it.
        """
        await self._return_ahead()
        while self._line:
            attempt = self._line.pop()
            if not attempt.task.done():
                attempt.task.cancel()
                await asyncio.wait([attempt.task])
            await self._settle(attempt, tries=1)

    async def _return_ahead(self) -> None:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            await self._return(ahead)

    async def _abandon(self) -> None:
        """Return the leases within ABANDON seconds; others expire."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABANDON):
                if (
                    self._claiming is not None
                ):  # its commit may be under way: what it gives would be leased to nobody
                    await self._return(await self._claiming)
                await self._give_up()

    async def _return(self, claim: Claim | StorageUnavailableError) -> None:
        """Return the leases of attempts that did not start."""
        if isinstance(claim, Claim):
            now, offline = (
                self._context.clock(),
                RouteLost(
                    "cancelled by the Cloud before it began; it is sent again", session_ended=True
                ),
            )
            plans = [
                plan(lease, claim.state, self._destination, offline, now=now, random=0.0)
                for lease in claim.leases
            ]
            with contextlib.suppress(StorageUnavailableError):
                await self._context.deliveries.settle(
                    [one.settlement for one in plans], None, now=now
                )


def _has_begun(attempt: RunningAttempt, outcome: Outcome) -> bool:
    """Return whether an attempt belongs into the history.

    All but those that nothing outside the Cloud and Link can have seen.

    Link reports those that it did not begin. One without an answer may have been begun as soon
    as something of it was sent, unless the one before it is known to have failed: that one may have
    arrived although its answer was lost too.
    """
    match outcome:
        case NotBegun() | Failure(begun=False):
            return False
        case RouteLost():
            broke = not attempt.task.cancelled() and attempt.task.exception() is not None
            return broke or (attempt.progress.begun and not _waited_in_vain(attempt))
    return True


def _waited_in_vain(attempt: RunningAttempt) -> bool:
    """Return whether Link cannot have begun an attempt, because the one before it failed."""
    return (
        attempt.before is not None
        and not attempt.overlaps
        and attempt.before.result is AttemptResult.FAILED
    )


def _outcome(attempt: RunningAttempt, *, session_ended: bool) -> tuple[Outcome, str]:
    task = attempt.task
    if task.cancelled():
        return RouteLost(
            "cancelled by the Cloud; it is sent again in its order", session_ended=session_ended
        ), ""
    if (
        error := task.exception()
    ) is not None:  # a bug, which the task's owner has logged; the delivery must not hang on it
        return RouteLost(
            f"the Cloud failed to send it ({type(error).__name__}); its log has the details",
            session_ended=session_ended,
        ), ""
    outcome, syntax = task.result()
    match outcome:
        case Failure(behind=True, detail=detail) if attempt.before is not None:
            if attempt.before.result is not AttemptResult.DELIVERED:
                return NotBegun(detail), syntax
    return outcome, syntax
