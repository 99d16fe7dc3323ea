"""The calls `deliver` and `check`.

Which the Cloud makes on a live session (calls.deliver, calls.diagnostics).
"""

from collections.abc import AsyncIterator
from typing import Final

from swallowtail.calls.deliver import (
    DELIVER,
    About,
    DeliverAnswer,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
    read_deliver_answer,
)
from swallowtail.calls.diagnostics import CHECK, Checked, CheckRequest, read_checked
from swallowtail.calls.net import FAILURES, exchange, open_call, send_body
from swallowtail.calls.transfer import OutgoingTransfer
from swallowtail.cloud.dispatch.attempt import Progress
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

CHECK_SECONDS: Final = 60.0
"""A check tries policy, name, connection, association and echo, each within its own deadline."""


class Outbound:
    """One live session as the dispatch sees it (`dispatch.link_route.LinkPath`)."""

    def __init__(self, live: LiveLink) -> None:
        self._live = live

    @property
    def tenant(self) -> Tenant:
        """Whose Link this is."""
        return self._live.tenant

    @property
    def link(self) -> str:
        """The Link's id."""
        return self._live.link

    @property
    def epoch(self) -> int:
        """The session's number among the Link's."""
        return self._live.epoch

    @property
    def session_ended(self) -> bool:
        """Return whether the session has ended."""
        return self._live.session.closed.done()

    async def deliver(
        self, request: DeliverRequest, pieces: AsyncIterator[bytes], progress: Progress
    ) -> DeliverAnswer:
        """Send one instance and give Link's answer; raises LinkOfflineError.

        Cancelling it gives the channel up.
        """
        try:
            channel = await open_call(self._live.session, DELIVER, request, ChannelPriority.BULK)
        except FAILURES as error:
            raise LinkOfflineError(f"nothing can be sent to the Link: {error}") from error
        try:
            return await _exchange(channel, pieces, progress)
        except FAILURES as error:
            raise LinkOfflineError(f"the Link gave the delivery up: {error}") from error
        finally:
            channel.reset(
                ResetReason.CANCELLED, "the Cloud no longer waits for this delivery"
            )  # harmless once it is over

    async def echoes(self, destination: str) -> bool:
        """Return whether a destination responds to a C-ECHO of the Link.

        Raises LinkOfflineError.
        """
        steps = (await check(self._live, destination)).steps
        return bool(steps) and all(step.ok for step in steps) and steps[-1].name == "echo"


async def _exchange(
    channel: Channel, pieces: AsyncIterator[bytes], progress: Progress
) -> DeliverAnswer:
    """Send the body and return Link's response.

    A destination that cannot be reached is answered before the body has found any credit.
    """
    transfer = OutgoingTransfer()

    async def send() -> None:
        await send_body(channel, pieces, transfer, on_progress=progress.note)
        progress.sent.set()

    answer = await exchange(channel, send, read_deliver_answer)
    if isinstance(answer, NotDelivered) or transfer.is_confirmed_by(answer):
        return answer
    text = "the Link reports other bytes than were sent; it is sent again"
    return NotDelivered(about=About.LINK, phase=DeliveryPhase.TRANSFER, detail=text)


async def check(live: LiveLink, destination: str) -> Checked:
    """Check a destination step by step through the Link; raises LinkOfflineError."""
    return await live.ask(
        CHECK, CheckRequest(destination=destination), read_checked, seconds=CHECK_SECONDS
    )
