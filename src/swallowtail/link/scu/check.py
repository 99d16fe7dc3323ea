"""The check of a destination step by step, up to a C-ECHO (PS3.7 9.1.5).

Each step is timed, and the one that fails has the remedy.
"""

import asyncio
from typing import Final

import msgspec

from swallowtail.calls.config import Destination, DestinationTimeouts
from swallowtail.calls.deliver import DeliveryPhase
from swallowtail.calls.diagnostics import Checked, CheckStep
from swallowtail.dicom import uids
from swallowtail.dicom.commands import echo_request
from swallowtail.dicom.net import Connection
from swallowtail.dicom.status import describe
from swallowtail.link.scu.connecting import Reach
from swallowtail.link.scu.outcomes import NotDeliveredError
from swallowtail.link.scu.requestor import Ended, OutboundAssociation
from swallowtail.runtime.tasks import Tasks

STEP_LIMIT: Final = 9.0
"""Seconds that a step may take at most: the call has 60 s in all."""
MAX_ADDRESSES: Final = 2
PAIR: Final = (uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)
_BUSY: Final = (
    "; Link delivers to it at this moment, and it may serve one association at a time: pause it,"
    " then check again"
)


class DestinationCheck:
    """One check of one destination; `delivering`: instances are being sent to it meanwhile."""

    def __init__(
        self, destination: Destination, reach: Reach, tasks: Tasks, *, delivering: bool = False
    ) -> None:
        self._delivering = delivering
        self._destination = _with_short_timeouts(destination)
        self._reach = reach
        self._tasks = tasks
        self._steps: list[CheckStep] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def run(self) -> Checked:
        """Return the steps in their order, none after one that failed."""
        try:
            await self._check()
        except NotDeliveredError as error:
            busy = self._delivering and error.answer.phase in {
                DeliveryPhase.CONNECT,
                DeliveryPhase.ASSOCIATE,
            }
            self._step(
                _STEPS[error.answer.phase], error.answer.detail + (_BUSY if busy else ""), ok=False
            )
        return Checked(steps=tuple(self._steps))

    async def _check(self) -> None:
        destination = self._destination
        addresses = await self._reach.resolve(destination)
        self._step("resolve", f"{destination.host} is {', '.join(addresses)}")
        allowed = self._reach.judge(destination, addresses)
        self._step("policy", f"the hospital's policy allows {allowed[0]} port {destination.port}")
        connection = await self._associate(allowed[:MAX_ADDRESSES])
        try:
            await self._echo(connection)
        finally:
            await connection.close()

    async def _associate(self, addresses: tuple[str, ...]) -> Connection:
        for address in addresses[:-1]:
            try:
                return await self._associate_at(address)
            except NotDeliveredError as error:
                if error.answer.phase is not DeliveryPhase.CONNECT:
                    raise
        return await self._associate_at(addresses[-1])

    async def _associate_at(self, address: str) -> Connection:
        destination = self._destination

        def connected(at: float) -> None:
            self._step("connect", f"{address} port {destination.port} accepts connections", now=at)

        connection = await self._reach.associate(
            destination, address, (PAIR,), on_connected=connected
        )
        self._step(
            "associate",
            f"{destination.ae_title} accepts associations from {destination.calling_ae}",
        )
        return connection

    async def _echo(self, connection: Connection) -> None:
        name = self._destination.name
        association = OutboundAssociation(connection, (PAIR,), self._destination, self._tasks)
        try:
            context = association.context(PAIR)
            if context is None:
                self._step(
                    "echo",
                    f"{name} accepts the association but not Verification; storing may work all the"
                    " same",
                    ok=False,
                )
                return
            number = association.new_message_id()
            result = association.request(context, echo_request(number, uids.VERIFICATION))
            association.sent(number)
            await asyncio.wait([result])
            answer = result.result()
            if isinstance(answer, Ended):
                self._step("echo", answer.detail, ok=False)
            elif answer.status:
                self._step(
                    "echo",
                    f"{name} answered C-ECHO with {describe(answer.status)}; see its log",
                    ok=False,
                )
            else:
                self._step("echo", f"{name} answered C-ECHO with success")
        finally:
            await association.release()

    def _step(self, name: str, detail: str, *, ok: bool = True, now: float | None = None) -> None:
        now = self._loop.time() if now is None else now
        self._steps.append(
            CheckStep(name=name, ok=ok, seconds=round(now - self._began, 6), detail=detail)
        )
        self._began = now


_STEPS: Final = {
    DeliveryPhase.RESOLVE: "resolve",
    DeliveryPhase.POLICY: "policy",
    DeliveryPhase.LIMIT: "policy",
    DeliveryPhase.CONNECT: "connect",
    DeliveryPhase.ASSOCIATE: "associate",
}


def _with_short_timeouts(destination: Destination) -> Destination:
    timeouts = destination.timeouts
    return msgspec.structs.replace(
        destination,
        timeouts=DestinationTimeouts(
            connect=min(timeouts.connect, STEP_LIMIT),
            associate=min(timeouts.associate, STEP_LIMIT),
            response=min(timeouts.response, STEP_LIMIT),
            idle=timeouts.idle,
        ),
    )
