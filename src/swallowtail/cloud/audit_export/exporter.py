"""Exports each tenant's audit in order, from a durable place on.

What a receiver has taken is noted when it has, and not before.

An export that fails is tried again from the same place, so that nothing is lost or overtaken. A
crash between the receiver's end and the note repeats one batch. Memory holds one batch for each
export that runs.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from swallowtail.cloud.audit_export.message import AuditSource
from swallowtail.cloud.audit_export.syslog import frame
from swallowtail.cloud.audit_export.transmission import Send, SendError
from swallowtail.cloud.model.audit import AuditRecord
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver, key_purpose
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.port_errors import NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.ports.operations import Alarms, Audit, AuditExports
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.secrets.sealing import Seal, SealError
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.backoff import Backoff

T = TypeVar("T")
log = structlog.get_logger()

LOOK_EVERY: Final = 2.0
"""Seconds from a record's commit to its export, at most, while the receiver takes everything."""
BATCH: Final = 500
MAX_BATCH_BYTES: Final = 1024 * 1024
RETRY: Final = Backoff(first=5.0, last=300.0)
ALARM_AFTER: Final = 3
"""Failures in a row."""
AT_ONCE: Final = 8


@dataclass(slots=True)
class _Failures:
    receiver: AuditReceiver
    count: int = 0
    next_at: float = 0.0


class AuditExporter:
    """The loop that exports the audits of all tenants, each `send` in a thread."""

    def __init__(
        self,
        *,
        exports: AuditExports,
        audit: Audit,
        organisations: Organisations,
        alarms: Alarms,
        seal: Seal,
        send: Send,
        clock: Clock,
        random: Callable[[], float],
        node: str,
    ) -> None:
        self._exports, self._audit, self._organisations, self._alarms = (
            exports,
            audit,
            organisations,
            alarms,
        )
        self._seal, self._send = seal, send
        self._clock, self._random, self._node = clock, random, node
        self._failures: dict[Tenant, _Failures] = {}
        self._running: set[Tenant] = set()
        self._without_alarm: set[Tenant] = set()

    async def look(self, tasks: Tasks) -> None:
        """Start every export that is due and does not run."""
        exports = await self._exports.exports()
        receivers = {one.tenant: one.receiver for one in exports}
        self._failures = {
            tenant: kept
            for tenant, kept in self._failures.items()
            if receivers.get(tenant) == kept.receiver
        }
        for export in exports:
            failures = self._failures.get(export.tenant)
            due = failures is None or failures.next_at <= self._clock()
            if due and export.tenant not in self._running and len(self._running) < AT_ONCE:
                self._running.add(export.tenant)
                tasks.spawn(self._run(export), name=f"export {export.tenant or 'operator'}")

    async def _run(self, export: AuditExport) -> None:
        try:
            await self.export(export)
        except (StorageUnavailableError, NotFoundError) as error:  # the organisation was removed
            log.warning("audit export deferred", tenant=export.tenant or "operator", error=error)
            self._postpone(export)
        except (
            Exception
        ):  # a fault of ours: its task logs it, and it is not tried every two seconds
            self._postpone(export)
            raise
        finally:
            self._running.discard(export.tenant)

    async def export(self, export: AuditExport) -> None:
        """Send what is behind the export's place, in batches, until all is sent or one fails."""
        source, present = await self._source(export.tenant), export
        while records := await self._audit.after(present.tenant, present.sequence, BATCH):
            try:
                taken = await self._hand_over(present, source, records)
            except (SendError, SealError) as error:
                await self._failed(present, str(error))
                return
            moved = await self._exports.advance(
                present, records[taken - 1].sequence, now=self._clock()
            )
            if moved is None:  # it has another receiver by now, or none
                return
            present = moved
            await self._succeeded(present.tenant)

    async def _hand_over(
        self, export: AuditExport, source: AuditSource, records: Sequence[AuditRecord]
    ) -> int:
        """Send the first of the records, MAX_BATCH_BYTES at most; return how many.

        A thread makes the frames, which takes CPU.
        """
        receiver = export.receiver
        passphrase = (
            self._seal.passphrase(receiver.key, key_purpose(export.tenant))
            if receiver.key
            else None
        )

        def hand_over() -> int:
            frames = _frames(source, records)
            self._send(receiver, passphrase, frames)
            return len(frames)

        return await _in_thread(hand_over)

    async def _source(self, tenant: Tenant) -> AuditSource:
        if tenant == OPERATOR:
            return AuditSource(id=self._node, site="operator")
        return AuditSource(
            id=self._node, site=(await self._organisations.organisation(tenant)).name
        )

    async def _succeeded(self, tenant: Tenant) -> None:
        if self._failures.pop(tenant, None) is not None:
            log.info("audit export resumed", tenant=tenant or "operator")
        if tenant not in self._without_alarm:  # also one that was raised before a restart
            await self._keep_alarm(tenant, [])
            self._without_alarm.add(tenant)

    async def _failed(self, export: AuditExport, detail: str) -> None:
        failures = self._postpone(export)
        log.warning(
            "audit export failed",
            tenant=export.tenant or "operator",
            host=export.receiver.host,
            attempt=failures.count,
        )
        if (
            await self._exports.fail(export, detail, now=self._clock()) is None
            or failures.count < ALARM_AFTER
        ):
            return
        alarm = NewAlarm(
            condition=Condition.AUDIT_EXPORT,
            subject="receiver",
            severity=Severity.MAJOR,
            detail=(
                f"the audit is not exported: {detail}. Nothing is lost, it is sent from the same"
                " record on"
            ),
        )
        self._without_alarm.discard(export.tenant)
        await self._keep_alarm(export.tenant, [alarm])

    def _postpone(self, export: AuditExport) -> _Failures:
        failures = self._failures.setdefault(export.tenant, _Failures(export.receiver))
        wait = RETRY.ceiling(failures.count)
        failures.count += 1
        failures.next_at = self._clock() + wait * (0.8 + 0.4 * self._random())
        return failures

    async def _keep_alarm(self, tenant: Tenant, wanted: list[NewAlarm]) -> None:
        if tenant != OPERATOR:  # nobody reads alarms of the operator; its export reports it itself
            await self._alarms.keep(tenant, Condition.AUDIT_EXPORT, wanted, now=self._clock())


def _frames(source: AuditSource, records: Sequence[AuditRecord]) -> list[bytes]:
    frames: list[bytes] = []
    length = 0
    for record in records:
        frames.append(frame(record, source, os.getpid()))
        length += len(frames[-1])
        if length >= MAX_BATCH_BYTES:
            break
    return frames


async def _in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread of its own, which does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        settle: Callable[[], None]
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - its caller gets it
            failure = error
            settle = lambda: done.set_exception(failure)  # noqa: E731
        else:
            settle = lambda: done.set_result(result)  # noqa: E731
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())  # done: cancelled

    threading.Thread(target=run, name="audit-export", daemon=True).start()
    return await done
