"""The calls that a Link makes, by name; one task for each channel."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from swallowtail.calls.codec import MalformedCallError
from swallowtail.calls.report import REPORT
from swallowtail.calls.store import STORE
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.links.store_call import Stores
from swallowtail.cloud.model.port_errors import CloudError, FencedError, StorageUnavailableError
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

log = structlog.get_logger()

Serve = Callable[[LiveLink, Channel], Awaitable[None]]

RESETS: Final[Mapping[type[CloudError], ResetReason]] = {
    FencedError: ResetReason.FENCED,
    StorageUnavailableError: ResetReason.UNAVAILABLE,
}


class Calls:
    """Serves the channels that Links open."""

    def __init__(self, stores: Stores, reports: Reports) -> None:
        self._calls: Mapping[str, Serve] = {STORE: stores.serve, REPORT: reports.serve}

    async def serve(self, live: LiveLink, tasks: Tasks) -> None:
        """Take every channel that the Link opens, until the session ends."""
        async for channel in live.session.opened():
            serve = self._calls.get(channel.opening.call)
            if serve is None:
                channel.reset(
                    ResetReason.UNKNOWN_CALL, f"this Cloud knows no call {channel.opening.call!r}"
                )
            else:
                tasks.spawn(self._one(serve, live, channel), name=channel.opening.call)

    async def _one(self, serve: Serve, live: LiveLink, channel: Channel) -> None:
        """Serve one channel; whatever happens, the Link is told."""
        try:
            await serve(live, channel)
        except ChannelResetError:
            return  # the Link gave it up, or the session has ended: nobody is left to be told
        except MalformedCallError as error:
            channel.reset(ResetReason.MALFORMED, str(error))
        except TimeoutError:
            channel.reset(ResetReason.DEADLINE, "nothing came for too long")
        except CloudError as error:
            kind = next((kind for kind in type(error).__mro__ if kind in RESETS), None)
            channel.reset(RESETS[kind] if kind else ResetReason.INTERNAL, str(error))
        except BaseException:
            channel.reset(ResetReason.INTERNAL, "a fault of the Cloud; its log says more")
            raise
