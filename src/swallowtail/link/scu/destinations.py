"""The systems of the hospital that Link stores to.

The calls `deliver` and `check` for the destinations of its configuration.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.config import Configuration, Destination, EndpointKind, EndpointState
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    NotDelivered,
    read_deliver_request,
)
from swallowtail.calls.diagnostics import read_check_request
from swallowtail.calls.net import discard_body
from swallowtail.dicom import uids
from swallowtail.link.scu.check import DestinationCheck
from swallowtail.link.scu.connecting import Reach
from swallowtail.link.scu.connection import Line, not_started
from swallowtail.link.state import LinkState
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

log = structlog.get_logger()

RECENT: Final = 3600.0
"""Seconds for which the last answer of a destination is reported; afterwards it is `unused`."""
ANSWERED_BODY_LIMIT: Final = 10.0
"""Seconds that the Cloud gets to stop a body whose answer it has."""


@dataclass(slots=True)
class _Use:
    """The last use of a destination."""

    state: str
    detail: str
    since: float
    """UTC."""
    at: float
    """Loop time."""


_UNUSED: Final = _Use("unused", "", since=0.0, at=0.0)


class Destinations:
    """Every destination of the running configuration, with the associations that are open."""

    def __init__(
        self, reach: Reach, state: LinkState, tasks: Tasks, changed: Callable[[], None]
    ) -> None:
        self._reach = reach
        self._state = state
        self._tasks = tasks
        self._changed = changed
        self._stopping = False
        self._destinations: dict[str, Destination] = {}
        self._lines: dict[tuple[str, int], Line] = {}
        self._uses: dict[str, _Use] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def states(self) -> tuple[EndpointState, ...]:
        """Return the state of every configured destination: by its last answer, or `unused`."""
        return tuple(self._state_of(name) for name in self._destinations)

    def _state_of(self, name: str) -> EndpointState:
        use = self._uses.get(name)
        if use is None or use.at < self._loop.time() - RECENT:
            use = _UNUSED
        return EndpointState(
            name=name,
            state=use.state,
            detail=use.detail,
            since=use.since,
            connections=sum(
                line.associated for (owner, _), line in self._lines.items() if owner == name
            ),
            kind=EndpointKind.DESTINATION,
        )

    def apply(self, configuration: Configuration) -> None:
        """Use the destinations of this configuration, from the next instance on."""
        self._destinations = {one.name: one for one in configuration.destinations}
        for (name, number), line in list(self._lines.items()):
            destination = self._destinations.get(name)
            if destination is not None and number < destination.connections:
                line.update(destination)
            elif line.over:
                del self._lines[name, number]
            else:
                line.remove()
        self._uses = {name: use for name, use in self._uses.items() if name in self._destinations}

    async def drain(self, limit: float) -> None:
        """Stop: no delivery starts any more.

        Returns when what runs has ended and every association is released, after `limit` seconds at
        most.
        """
        self._stopping = True
        async with Tasks("destinations") as tasks:
            running = [
                tasks.spawn(line.drain(limit), name=name) for (name, _), line in self._lines.items()
            ]
            if running:
                await asyncio.wait(running)

    # Calls

    async def deliver(self, channel: Channel) -> None:
        """Serve one `deliver`.

        Raises MalformedCallError, and ChannelResetError when the Cloud gives it up.
        """
        request = read_deliver_request(channel.opening.body)
        _check(request)
        answer = await self._deliver(request, channel)
        await channel.message(encode(answer), fin=True)
        await discard_body(channel, seconds=ANSWERED_BODY_LIMIT)

    async def _deliver(self, request: DeliverRequest, channel: Channel) -> DeliverAnswer:
        name, number = request.destination, request.connection
        if self._stopping:
            return not_started("Link stops; it is tried again")
        if request.configuration > self._state.version:
            text = (
                f"Link runs version {self._state.version} of its configuration and was asked to run"
                f" {request.configuration}"
            )
            return not_started(f"{text}; it is tried again")
        destination = self._destinations.get(name)
        if destination is None or not 0 <= number < destination.connections:
            return not_started(
                f"there is no destination {name!r} with connection {number} in the configuration of"
                " this Link"
            )
        line = self._lines.get((name, number))
        if line is None:
            line = self._lines[name, number] = Line(
                destination, self._reach, self._tasks, lambda answer: self._note(name, answer)
            )
        return await line.deliver(request, channel)

    async def check(self, channel: Channel) -> None:
        """Serve one `check`; raises MalformedCallError."""
        name = read_check_request(channel.opening.body).destination
        destination = self._destinations.get(name)
        if destination is None:
            channel.reset(
                ResetReason.REFUSED,
                f"there is no destination {name!r} in the configuration that this Link runs",
            )
            return
        # Many a PACS serves one association at a time: ours must not be the one that its check
        # waits for.
        rested = [
            await line.rest() for (owner, _), line in list(self._lines.items()) if owner == name
        ]
        checked = await DestinationCheck(
            destination, self._reach, self._tasks, delivering=not all(rested)
        ).run()
        await channel.message(encode(checked), fin=True)

    def _note(self, name: str, answer: DeliverAnswer) -> None:
        """Handle the end of a delivery.

        A failure of the instance shows that the destination responds.
        """
        if not isinstance(answer, Delivered):
            log.info(
                "delivery failed",
                destination=name,
                phase=answer.phase,
                reason=answer.about,
                status=answer.status,
            )
            if answer.about is About.LINK:
                return
        failed = isinstance(answer, NotDelivered) and answer.about is About.DESTINATION
        state, detail = (
            ("failed", answer.detail)
            if failed and isinstance(answer, NotDelivered)
            else ("reached", "")
        )
        use = self._uses.get(name)
        if use is None or (use.state, use.detail) != (state, detail):
            since = use.since if use is not None and use.state == state else self._state.wall()
            self._uses[name] = _Use(state, detail, since, self._loop.time())
            self._changed()
        else:
            use.at = self._loop.time()


def _check(request: DeliverRequest) -> None:
    """Refuse what no command set and no presentation context can carry."""
    pairs = (
        (request.sop_class, request.transfer_syntax),
        *((each.sop_class, *each.transfer_syntaxes) for each in request.expected),
    )
    if not uids.is_valid(request.sop_instance) or not all(
        uids.is_valid(uid) for pair in pairs for uid in pair
    ):
        raise MalformedCallError("a UID of the request is none (PS3.5 9.1)")
    if not (
        request.originator_ae.isascii()
        and len(request.originator_ae) <= 16
        and 0 <= request.originator_id <= 0xFFFF
    ):
        raise MalformedCallError("the move originator of the request is none (PS3.7 9.1.1.1)")
