"""The reports of Links.

Endpoint states, unknown devices, associations that ended (calls.report).
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import Counter

from swallowtail.calls.codec import encode
from swallowtail.calls.report import (
    AssociationEnded,
    EndpointStates,
    Noted,
    Observation,
    UnmatchedDevice,
    read_report,
)
from swallowtail.cloud.auditing.tally import MAX_TEXT, AuditTally
from swallowtail.cloud.link_administration.reported_states import ReportedStates
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.model import operations
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId, EventOutcome
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.wire.net import Channel

log = structlog.get_logger()

ASSOCIATIONS: Final = Counter(
    "swallowtail_associations", "Associations of Links that ended", ["outcome"]
)
OUTCOMES: Final = frozenset({"released", "aborted", "rejected", "lost"})
ID_LENGTH: Final = 16
"""Bytes of an association's id (calls.store)."""
DROPPED: Final = Counter(
    "swallowtail_reports_dropped", "Observations that Links could not keep until the Cloud was back"
)


Ended = Callable[[Tenant, str, Collection[bytes]], Awaitable[None]]
"""Receives which associations of a Link are over."""


class Reports:
    """The handler of the call `report`, which stores what Links report."""

    def __init__(self, states: ReportedStates, *, ended: Ended, tally: AuditTally) -> None:
        self._states, self._ended, self._tally = states, ended, tally

    async def serve(self, live: LiveLink, channel: Channel) -> None:
        """Store a batch, then confirm it."""
        report = read_report(channel.opening.body)
        DROPPED.inc(report.dropped)
        devices = [
            _device(live.link, seen)
            for seen in report.observations
            if isinstance(seen, UnmatchedDevice)
        ]
        self._audit_rejections(live, report.observations)
        if devices:
            await self._states.record_unknown(live.tenant, devices)
        endpoints = [seen for seen in report.observations if isinstance(seen, EndpointStates)]
        if endpoints:
            await self.note_running(live, endpoints[-1])
        over = [seen for seen in report.observations if isinstance(seen, AssociationEnded)]
        for seen in over:
            ASSOCIATIONS.labels(seen.outcome if seen.outcome in OUTCOMES else "other").inc(
                max(1, seen.count)
            )
        brought = [
            seen.association
            for seen in over
            if len(seen.association) == ID_LENGTH and seen.instances + seen.failed
        ]
        if brought:  # one that Link counts as failed may have been committed all the same
            await self._ended(live.tenant, live.link, brought)
        await channel.message(encode(Noted()), fin=True)

    def _audit_rejections(self, live: LiveLink, observations: Iterable[Observation]) -> None:
        for seen in observations:
            match seen:
                case UnmatchedDevice():
                    self._tally.note(
                        live.tenant,
                        rejected(live.link, seen),
                        seen.count,
                        first=seen.first,
                        last=seen.last,
                    )
                case AssociationEnded(outcome="rejected"):
                    self._tally.note(live.tenant, rejected(live.link, seen), seen.count)

    async def note_running(
        self, live: LiveLink, endpoints: EndpointStates, problems: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Store what a connected Link runs."""
        session_state = live.link_session
        running = operations.Running(
            link=live.link,
            connected=True,
            since=live.since,
            seen=session_state.proven,
            epoch=live.epoch,
            version=endpoints.version,
            release=live.release,
            address=live.address,
            report=msgspec.msgpack.encode(endpoints.endpoints),
            problems=problems,
        )
        await self._states.record(live.tenant, running)

    async def note_connected(self, live: LiveLink) -> None:
        """Record that a session has begun; what runs is known with the first report."""
        await self._change(
            live,
            connected=True,
            since=live.since,
            epoch=live.epoch,
            release=live.release,
            address=live.address,
        )

    async def note_problems(self, live: LiveLink, problems: tuple[tuple[str, str], ...]) -> None:
        """Record why the Link has refused its configuration; what it ran before still runs."""
        await self._change(live, problems=problems)

    async def note_offline(self, live: LiveLink, now: float) -> None:
        """Record that the session has ended."""
        await self._change(live, connected=False, since=now)

    async def _change(self, live: LiveLink, **values: Any) -> None:
        """Change what is kept of a Link, unless a newer session has begun."""
        reported = operations.Running(
            link=live.link,
            connected=True,
            since=live.since,
            seen=live.link_session.proven,
            epoch=live.epoch,
        )
        await self._states.change(live.tenant, reported, **values)


def rejected(link: str, seen: UnmatchedDevice | AssociationEnded) -> AuditEvent:
    """Return the audit event of a rejected association: Security Alert (PS3.15 A.5.3.10)."""
    known = isinstance(seen, AssociationEnded)
    return AuditEvent(
        event=EventId.SECURITY_ALERT,
        action=EventAction.EXECUTE,
        outcome=EventOutcome.MINOR_FAILURE if known else EventOutcome.SERIOUS_FAILURE,
        type="association.rejected",
        actor=seen.calling_ae[:MAX_TEXT],
        role="device",
        address=seen.address[:MAX_TEXT],
        objects=(("link", link), ("listener", seen.listener[:MAX_TEXT])),
        detail=f"{seen.reason[:MAX_TEXT]}, called {seen.called_ae[:MAX_TEXT]}",
    )


def _device(link: str, seen: UnmatchedDevice) -> operations.UnknownDevice:
    return operations.UnknownDevice(
        link=link, **{name: getattr(seen, name) for name in seen.__struct_fields__}
    )
