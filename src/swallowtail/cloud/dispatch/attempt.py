"""One attempt.

The instance is read from the store, transcoded where the destination refuses its syntax, and sent
over a `Path`.
"""

import asyncio
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec

from swallowtail.calls.config import Destination, Transcoding
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    DeliveryPhase,
    Expected,
    NotDelivered,
)
from swallowtail.cloud.dispatch.planner import Culprit, LinkAway, Outcome, is_suspect
from swallowtail.cloud.model.delivery import INSTANCE, Lease
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.port_errors import NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.model.transcoding import (
    EXPLICIT,
    IMPLICIT,
    LOSSLESS_TARGETS,
    NotTranscoded,
    Transcoder,
)
from swallowtail.runtime.tasks import Tasks

MAX_EXPECTED: Final = 64
MAX_SYNTAXES: Final = 16
NOTED: Final = 5.0
"""Seconds between two notes that a transcoding goes on."""

T = TypeVar("T")


class Arrival(enum.Enum):
    """Whether a destination has an instance, as far as this attempt tells."""

    UNKNOWN = enum.auto()
    """Under way, or ended without the Link's answer."""
    ARRIVED = enum.auto()
    FAILED = enum.auto()
    """The Link has answered that the destination does not have it."""


class Progress:
    """How far an attempt is; times are the loop's."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        """Nothing more has to be sent: the next instance may be begun."""
        self.at = asyncio.get_running_loop().time()
        self.begun = False
        """Something of it was sent to the Link."""
        self.outcome = Arrival.UNKNOWN
        """Whether the destination has it: Link begins the one behind it only then."""

    def note(self) -> None:
        """Something was sent."""
        self.begun = True
        self.at = asyncio.get_running_loop().time()

    def restart(self) -> None:
        """Note that it is sent once more, in another form.

        The next instance has to wait for that.
        """
        self.sent.clear()
        self.note()


class Path(Protocol):
    """A live session of a Link, on which instances can be delivered."""

    @property
    def tenant(self) -> Tenant:
        """Whose Link this is."""

    @property
    def link(self) -> str:
        """The Link's id."""

    @property
    def epoch(self) -> int:
        """The session's number among the Link's."""

    @property
    def gone(self) -> bool:
        """Whether the session has ended."""

    async def deliver(
        self, request: DeliverRequest, pieces: AsyncIterator[bytes], progress: Progress
    ) -> DeliverAnswer:
        """Send one instance and give the Link's answer; raises LinkOfflineError.

        Cancelling it gives the delivery up.
        """

    async def echoes(self, destination: str) -> bool:
        """Have the Link try a destination, and say whether it answers a C-ECHO.

        Raises LinkOfflineError.
        """


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, how, and behind what on its connection."""

    lease: Lease
    destination: Destination
    configuration: int
    connection: int
    expected: tuple[tuple[str, str, str], ...] = ()
    behind: int = 0
    may_blame: bool = False
    """A cut may be found to be the instance's fault."""


@dataclass(frozen=True, slots=True)
class _Instead:
    """What instances are transcoded to where a destination refuses their transfer syntax."""

    syntax: str
    permanent: bool
    """Whether the refusal is permanent, so that there is no other way."""


class Sender:
    """Makes attempts over one session.

    Remembers for its time what destinations would not take, so as to transcode at once.
    """

    def __init__(
        self, path: Path, instances: Instances, blobs: Blobs, transcoder: Transcoder | None
    ) -> None:
        self._path, self._instances, self._blobs, self._transcoder = (
            path,
            instances,
            blobs,
            transcoder,
        )
        self._refused: dict[tuple[str, str, str], _Instead] = {}

    async def attempt(self, order: Order, progress: Progress) -> tuple[Outcome, str]:
        """Try once; gives the outcome and the transfer syntax that was sent.

        Never raises for what can be expected.
        """
        outcome, syntax = await self._try(order, progress)
        progress.outcome = _arrival(outcome)
        if (
            order.may_blame
            and isinstance(outcome, NotDelivered)
            and is_suspect(order.lease, order.destination, outcome)
        ):
            progress.note()
            try:
                if await self._path.echoes(order.destination.name):
                    return Culprit(outcome), syntax
            except LinkOfflineError as error:
                return LinkAway(str(error), gone=self._path.gone), syntax
        return outcome, syntax

    async def _try(self, order: Order, progress: Progress) -> tuple[DeliverAnswer | LinkAway, str]:
        delivery = order.lease.delivery
        key = (order.destination.name, delivery.payload.type, delivery.payload.format)
        try:
            instance = await self._instances.instance(
                order.lease.tenant, delivery.payload.reference
            )
            if key in self._refused and order.destination.transcoding is not Transcoding.NEVER:
                return await self._transcoded(order, instance, self._refused[key], progress)
            answer = await self._stored(order, instance, progress)
            instead = self._instead(order.destination, answer)
            if instead is None:
                return answer, delivery.payload.format
            self._refused[key] = instead
            progress.restart()
            return await self._transcoded(order, instance, instead, progress)
        except LinkOfflineError as error:
            return LinkAway(str(error), gone=self._path.gone), delivery.payload.format
        except NotFoundError:
            return _unreadable(), delivery.payload.format
        except StorageUnavailableError as error:
            return (
                NotDelivered(about=About.LINK, phase=DeliveryPhase.TRANSFER, detail=str(error)),
                delivery.payload.format,
            )

    async def _stored(self, order: Order, instance: Instance, progress: Progress) -> DeliverAnswer:
        request = _request(order, instance.identity.transfer_syntax, instance.length)
        async with aclosing(
            _pieces(self._blobs.read(order.lease.tenant, instance.identity.sha256))
        ) as pieces:
            return await self._path.deliver(request, pieces, progress)

    def _instead(self, destination: Destination, answer: DeliverAnswer) -> _Instead | None:
        """Return what to transcode to; None: the answer stands."""
        if (
            not isinstance(answer, NotDelivered)
            or answer.phase is not DeliveryPhase.CONTEXT
            or self._transcoder is None
        ):
            return None
        if destination.transcoding is Transcoding.NEVER:
            return None
        usable = [syntax for syntax in answer.accepted if syntax in LOSSLESS_TARGETS]
        plain = [
            syntax for syntax in (EXPLICIT, IMPLICIT) if syntax in usable
        ]  # cheaper to make, and every system reads it
        syntax = next(iter([*plain, *usable]), None)
        return None if syntax is None else _Instead(syntax, answer.permanent)

    async def _transcoded(
        self, order: Order, instance: Instance, instead: _Instead, progress: Progress
    ) -> tuple[DeliverAnswer, str]:
        """Send it in another syntax; return the answer and that syntax."""
        answer = await self._sent_in(order, instance, instead, progress)
        if isinstance(answer, NotDelivered) and answer.phase is DeliveryPhase.CONTEXT:
            delivery = (
                order.lease.delivery
            )  # the next try finds out anew what the destination takes
            self._refused.pop(
                (order.destination.name, delivery.payload.type, delivery.payload.format), None
            )
        return answer, instead.syntax

    async def _sent_in(
        self, order: Order, instance: Instance, instead: _Instead, progress: Progress
    ) -> DeliverAnswer:
        assert self._transcoder is not None
        syntax = instead.syntax
        made = await _noting(
            self._transcoder.transcode(order.lease.tenant, instance, syntax), progress
        )
        if isinstance(made, NotTranscoded):
            about = About.LINK if made.transient else About.INSTANCE
            what = (
                f"{order.destination.name} refuses its transfer syntax, and it cannot be"
                f" transcoded: {made.reason}"
            )
            detail = f"{what}; enable the syntax there, or send it elsewhere"
            permanent = instead.permanent and not made.transient
            return NotDelivered(
                about=about, phase=DeliveryPhase.CONTEXT, detail=detail, permanent=permanent
            )
        async with made, aclosing(_pieces(made.pieces())) as pieces:
            return await self._path.deliver(_request(order, syntax, made.length), pieces, progress)


async def _noting(work: Coroutine[Any, Any, T], progress: Progress) -> T:
    """Await work that sends nothing yet but is no standstill: a worker's own limits end it."""
    async with Tasks("transcoding") as tasks:
        task = tasks.spawn(work, name="transcode")
        while not task.done():
            await asyncio.wait([task], timeout=NOTED)
            progress.note()
        return task.result()


async def _pieces(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in source:
        yield piece


def _request(order: Order, syntax: str, length: int) -> DeliverRequest:
    delivery = order.lease.delivery
    return DeliverRequest(
        destination=order.destination.name,
        configuration=order.configuration,
        connection=order.connection,
        delivery=delivery.id,
        attempt=delivery.tries,
        behind=order.behind,
        sop_class=delivery.payload.type,
        sop_instance=delivery.payload.identifier,
        transfer_syntax=syntax,
        length=length,
        expected=_expected(order.expected),
    )


def _expected(found: tuple[tuple[str, str, str], ...]) -> tuple[Expected, ...]:
    syntaxes: dict[str, list[str]] = {}
    for kind, sop_class, syntax in found:
        if kind != INSTANCE:
            continue
        syntaxes.setdefault(sop_class, []).append(syntax)
    contexts = [
        Expected(sop_class=name, transfer_syntaxes=tuple(many[:MAX_SYNTAXES]))
        for name, many in syntaxes.items()
    ]
    return tuple(contexts[:MAX_EXPECTED])


def _arrival(outcome: Outcome) -> Arrival:
    match outcome:
        case Delivered():
            return Arrival.ARRIVED
        case NotDelivered():
            return Arrival.FAILED
    return Arrival.UNKNOWN


def _unreadable() -> NotDelivered:
    detail = (
        "the Cloud's own copy cannot be read; look for alarms of its storage, then have the"
        " instance sent to it again"
    )
    return NotDelivered(about=About.INSTANCE, phase=DeliveryPhase.TRANSFER, detail=detail)
