"""Keeps one connected Link in sync with the Cloud.

Its configuration is pushed, its credentials are watched.

The bus wakes this on every change of the Link; since a wake-up may be lost it also looks by itself,
now and then.
"""

from typing import Final

import structlog

from swallowtail.calls.config import (
    Applied,
    ConfigurationRefused,
    ConfigureAnswer,
    InvalidConfigurationError,
    refusal,
    settings_for,
)
from swallowtail.calls.report import EndpointStates
from swallowtail.cloud.link_administration.session_watch import SessionWatch
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.operations import ConfigurationVersion
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import CodeState, Link
from swallowtail.wire.control import GoodbyeReason

log = structlog.get_logger()

LOOK_EVERY: Final = 30.0
"""Seconds between two periodic checks without a wake-up."""
RETRY_AFTER: Final = 2.0
"""Seconds after which a push that failed is tried again."""


class Desired:
    """The watch of the connected Links of a node."""

    def __init__(self, watch: SessionWatch, reports: Reports) -> None:
        self._watch, self._reports = watch, reports

    async def watch(self, live: LiveLink) -> None:
        """Run until the session ends; ends it when its credentials do not hold any more."""
        pushed = 0
        with self._watch.changes(live.link) as changes:
            while not live.session.closed.done():
                pushed, pause = await self._step(live, pushed)
                await changes.wait(pause)

    async def _step(self, live: LiveLink, pushed: int) -> tuple[int, float]:
        """Look once; gives the version that the Link has answered to, and when to look again."""
        try:
            reason = await self._end_of(live)
            if reason is not None:
                log.info("session closed", link=live.link, reason=reason)
                live.session.goodbye(reason)
                return pushed, LOOK_EVERY
            desired = await self._watch.desired(live.tenant, live.link)
            if desired is not None and desired.version > pushed:
                await self._push(live, desired)
                return desired.version, LOOK_EVERY
        except (StorageUnavailableError, LinkOfflineError):
            return pushed, RETRY_AFTER
        return pushed, LOOK_EVERY

    async def _end_of(self, live: LiveLink) -> GoodbyeReason | None:
        link = await self._watch.link(live.tenant, live.link)
        return GoodbyeReason.REVOKED if link is None else end_of(link, live.epoch)

    async def _push(self, live: LiveLink, desired: ConfigurationVersion) -> None:
        try:
            document = settings_for(desired.document, live.session.machine.peer_capabilities)
        except InvalidConfigurationError as error:
            await self._refused(live, refusal(desired.version, error.problems))
            return
        await self._note(live, await live.configure(desired.version, document))

    async def _note(self, live: LiveLink, answer: ConfigureAnswer) -> None:
        match answer:
            case Applied():
                endpoints = EndpointStates(version=answer.version, endpoints=answer.endpoints)
                await self._reports.note_running(live, endpoints)
                await self._watch.record_applied(live.tenant, live.link)
            case ConfigurationRefused():
                await self._refused(live, answer)

    async def _refused(self, live: LiveLink, answer: ConfigurationRefused) -> None:
        log.warning("Link configuration refused", link=live.link, version=answer.version)
        problems = tuple((problem.field, problem.message) for problem in answer.problems)
        await self._reports.note_problems(live, problems)
        await self._watch.record_refused(live.tenant, live.link, answer)


def end_of(link: Link, epoch: int) -> GoodbyeReason | None:
    """Return why a session of this epoch must end; None: it need not."""
    if link.code_state is CodeState.REVOKED:
        return GoodbyeReason.REVOKED
    if link.epoch <= epoch:
        return None
    if not link.key:
        return GoodbyeReason.REBOUND
    return GoodbyeReason.ROTATED
