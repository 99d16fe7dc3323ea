"""Sends instances through a Link.

The instance is read from the store, and transcoded where the destination refuses its syntax.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

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
from swallowtail.cloud.dispatch.attempt import AttemptRequest, AttemptResult, Progress
from swallowtail.cloud.dispatch.link_route import LinkPath
from swallowtail.cloud.dispatch.outcomes import (
    Failure,
    Outcome,
    PayloadSuspected,
    RouteLost,
    Success,
)
from swallowtail.cloud.dispatch.planner import is_suspect
from swallowtail.cloud.model.delivery import INSTANCE, FailureSubject
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.port_errors import NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.instances import Instances
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


@dataclass(frozen=True, slots=True)
class _Instead:
    """The replacement of a transfer syntax that a destination refuses."""

    syntax: str
    permanent: bool
    """Whether the refusal is permanent, so that there is no other way."""


class InstanceSender:
    """Attempts over one session.

    Keeps which transfer syntaxes destinations have refused, so as to transcode at once.
    """

    def __init__(
        self, path: LinkPath, instances: Instances, blobs: Blobs, transcoder: Transcoder | None
    ) -> None:
        self._path, self._instances, self._blobs, self._transcoder = (
            path,
            instances,
            blobs,
            transcoder,
        )
        self._refused: dict[tuple[str, str, str], _Instead] = {}

    async def attempt(
        self, request: AttemptRequest[Destination], progress: Progress
    ) -> tuple[Outcome, str]:
        """Make one attempt; return its outcome and the transfer syntax that was sent."""
        answer, syntax = await self._try(request, progress)
        outcome = answer if isinstance(answer, RouteLost) else outcome_of(answer)
        progress.result = _result(outcome)
        if (
            request.may_suspect
            and isinstance(outcome, Failure)
            and is_suspect(request.lease, request.destination, outcome)
        ):
            progress.note()
            try:
                if await self._path.echoes(request.destination.name):
                    return PayloadSuspected(outcome, "a C-ECHO"), syntax
            except LinkOfflineError as error:
                return RouteLost(str(error), session_ended=self._path.session_ended), syntax
        return outcome, syntax

    async def _try(
        self, request: AttemptRequest[Destination], progress: Progress
    ) -> tuple[DeliverAnswer | RouteLost, str]:
        delivery = request.lease.delivery
        key = (request.destination.name, delivery.payload.type, delivery.payload.format)
        try:
            instance = await self._instances.instance(
                request.lease.tenant, delivery.payload.reference
            )
            if key in self._refused and request.destination.transcoding is not Transcoding.NEVER:
                return await self._transcoded(request, instance, self._refused[key], progress)
            answer = await self._stored(request, instance, progress)
            instead = self._instead(request.destination, answer)
            if instead is None:
                return answer, delivery.payload.format
            self._refused[key] = instead
            progress.restart()
            return await self._transcoded(request, instance, instead, progress)
        except LinkOfflineError as error:
            return RouteLost(
                str(error), session_ended=self._path.session_ended
            ), delivery.payload.format
        except NotFoundError:
            return _unreadable(), delivery.payload.format
        except StorageUnavailableError as error:
            return (
                NotDelivered(about=About.LINK, phase=DeliveryPhase.TRANSFER, detail=str(error)),
                delivery.payload.format,
            )

    async def _stored(
        self, request: AttemptRequest[Destination], instance: Instance, progress: Progress
    ) -> DeliverAnswer:
        call = _request(request, instance.identity.transfer_syntax, instance.length)
        async with aclosing(
            _pieces(self._blobs.read(request.lease.tenant, instance.identity.sha256))
        ) as pieces:
            return await self._path.deliver(call, pieces, progress)

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
        self,
        request: AttemptRequest[Destination],
        instance: Instance,
        instead: _Instead,
        progress: Progress,
    ) -> tuple[DeliverAnswer, str]:
        """Send it in another syntax; return the answer and that syntax."""
        answer = await self._sent_in(request, instance, instead, progress)
        if isinstance(answer, NotDelivered) and answer.phase is DeliveryPhase.CONTEXT:
            delivery = (
                request.lease.delivery
            )  # the next attempt negotiates again what the destination accepts
            self._refused.pop(
                (request.destination.name, delivery.payload.type, delivery.payload.format), None
            )
        return answer, instead.syntax

    async def _sent_in(
        self,
        request: AttemptRequest[Destination],
        instance: Instance,
        instead: _Instead,
        progress: Progress,
    ) -> DeliverAnswer:
        assert self._transcoder is not None
        syntax = instead.syntax
        made = await _noting(
            self._transcoder.transcode(request.lease.tenant, instance, syntax), progress
        )
        if isinstance(made, NotTranscoded):
            about = About.LINK if made.transient else About.INSTANCE
            what = (
                f"{request.destination.name} refuses its transfer syntax, and it cannot be"
                f" transcoded: {made.reason}"
            )
            detail = f"{what}; enable the syntax there, or send it elsewhere"
            permanent = instead.permanent and not made.transient
            return NotDelivered(
                about=about, phase=DeliveryPhase.CONTEXT, detail=detail, permanent=permanent
            )
        async with made, aclosing(_pieces(made.pieces())) as pieces:
            return await self._path.deliver(
                _request(request, syntax, made.length), pieces, progress
            )


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


def _request(request: AttemptRequest[Destination], syntax: str, length: int) -> DeliverRequest:
    delivery = request.lease.delivery
    return DeliverRequest(
        destination=request.destination.name,
        configuration=request.configuration,
        connection=request.connection,
        delivery=delivery.id,
        attempt=delivery.tries,
        behind=request.behind,
        sop_class=delivery.payload.type,
        sop_instance=delivery.payload.identifier,
        transfer_syntax=syntax,
        length=length,
        expected=_expected(request.expected),
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


SUBJECTS: Final = {
    About.DESTINATION: FailureSubject.DESTINATION,
    About.INSTANCE: FailureSubject.PAYLOAD,
    About.LINK: FailureSubject.ROUTE,
}


def outcome_of(answer: DeliverAnswer) -> Success | Failure:
    """Return what a Link's answer means."""
    if isinstance(answer, Delivered):
        return Success(
            status=answer.status,
            warned=bool(answer.status),  # PS3.4 B.2.3
            comment=answer.comment,
            seconds=answer.seconds,
        )
    transferring = answer.phase in {DeliveryPhase.SEND, DeliveryPhase.RESPONSE}
    return Failure(
        about=SUBJECTS[answer.about],
        phase=answer.phase,
        detail=answer.detail,
        status=answer.status,
        permanent=answer.permanent,
        comment=answer.comment,
        after=answer.after,
        begun=answer.phase not in {DeliveryPhase.QUEUE, DeliveryPhase.LIMIT},
        behind=answer.phase is DeliveryPhase.QUEUE,
        interrupted=transferring and answer.about is About.DESTINATION and answer.status is None,
    )


def _result(outcome: Outcome) -> AttemptResult:
    match outcome:
        case Success():
            return AttemptResult.DELIVERED
        case Failure():
            return AttemptResult.FAILED
    return AttemptResult.UNKNOWN


def _unreadable() -> NotDelivered:
    detail = (
        "the Cloud's own copy cannot be read; look for alarms of its storage, then have the"
        " instance sent to it again"
    )
    return NotDelivered(about=About.INSTANCE, phase=DeliveryPhase.TRANSFER, detail=detail)
