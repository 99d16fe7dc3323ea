"""The calls that a Link makes, by name; one task for each channel."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from swallowtail.calls.net import ServedCall, call_capability, serve_calls
from swallowtail.calls.report import REPORT
from swallowtail.calls.store import STORE
from swallowtail.calls.transfer import TransferDamagedError
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.links.store_call import Stores
from swallowtail.cloud.model.port_errors import CloudError, FencedError, StorageUnavailableError
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

Serve = Callable[[LiveLink, Channel], Awaitable[None]]

RESETS: Final[Mapping[type[Exception], ResetReason]] = {
    TransferDamagedError: ResetReason.MALFORMED,
    FencedError: ResetReason.FENCED,
    StorageUnavailableError: ResetReason.UNAVAILABLE,
    CloudError: ResetReason.INTERNAL,
}


class Calls:
    """The server of the channels that Links open."""

    def __init__(self, stores: Stores, reports: Reports) -> None:
        self._calls: Mapping[str, Serve] = {STORE: stores.serve, REPORT: reports.serve}

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Return what the Cloud announces to Links (wire §3)."""
        return tuple(call_capability(name) for name in self._calls)

    async def serve(self, live: LiveLink, tasks: Tasks) -> None:
        """Serve every channel that the Link opens, until the session ends."""
        calls = {name: ServedCall(partial(serve, live)) for name, serve in self._calls.items()}
        await serve_calls(live.session, calls, tasks, resets=RESETS)
