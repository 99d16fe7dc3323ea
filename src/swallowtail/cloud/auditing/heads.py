"""Heads of the audit chains, exported to a file and to the log, and chains compared with them.

A chain whose newest records were cut off is complete in itself. It differs from the head that was
exported before. The file may lie on another disk (`--audit-heads`), the log usually leaves the
machine, and `GET /audit/head` is for whoever keeps a head elsewhere.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from swallowtail.cloud.model.audit import (
    AuditEvent,
    AuditKeys,
    ChainHead,
    ChainVerdict,
    EventAction,
    EventId,
)
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant, Value
from swallowtail.cloud.secrets.private_files import write_private

log = structlog.get_logger()

EXPORT_EVERY: Final = 60.0
"""Seconds between exports: so many of the newest records can be cut off unnoticed."""
LOG_EVERY: Final = 3600.0
MAX_FILE: Final = 64 * 1024 * 1024
_PURPOSE: Final = "exported heads"
_ALTERED: Final = (
    "the file of exported audit heads was altered: keep it and find out who changed it, compare the"
    " newest heads in the Cloud's log with GET /audit/verify; move the file elsewhere and restart"
    " the Cloud to begin a new one"
)


class HeadFileError(Exception):
    """The file of exported heads cannot be read, or is not as the Cloud wrote it."""


class ExportedHead(Value, frozen=True, kw_only=True):
    """A head and when it was exported."""

    head: ChainHead
    at: float


class HeadFile:
    """Exported heads as JSON, authenticated with the audit key.

    An altered file is thereby distinguished from an altered chain.
    """

    def __init__(self, path: Path, keys: AuditKeys) -> None:
        self._path, self._keys = path, keys

    def read(self) -> dict[Tenant, ExportedHead] | None:
        """Return the heads by tenant, None where there is no file; raises HeadFileError."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HeadFileError(f"cannot read {self._path}: {error.strerror}") from error
        try:
            document = json.loads(content)
            rows, key, mac = document["heads"], document["key"], bytes.fromhex(document["mac"])
            heads = [_head(row) for row in rows]
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            raise HeadFileError(f"{self._path} holds no exported heads") from error
        if key not in self._keys or not key or self._mac(key, rows) != mac:
            raise HeadFileError(f"{self._path} is not as the Cloud wrote it")
        return {one.head.tenant: one for one in heads}

    def write(self, heads: Iterable[ExportedHead]) -> None:
        """Replace the file; raises OSError."""
        rows = [
            {
                "tenant": one.head.tenant,
                "sequence": one.head.sequence,
                "digest": one.head.digest.hex(),
                "at": one.at,
            }
            for one in heads
        ]
        key = self._keys.current
        document = {"key": key, "mac": self._mac(key, rows).hex(), "heads": rows}
        write_private(self._path, json.dumps(document, indent=1).encode())

    def _mac(self, key: int, rows: list[Any]) -> bytes:
        return self._keys.authenticate(key, _PURPOSE, json.dumps(rows, sort_keys=True).encode())


def _head(row: Mapping[str, Any]) -> ExportedHead:
    tenant, digest = Tenant(row["tenant"]), bytes.fromhex(row["digest"])
    return msgspec.convert(
        {
            "head": {"tenant": tenant, "sequence": row["sequence"], "digest": digest},
            "at": row["at"],
        },
        ExportedHead,
    )


class ChainGuard:
    """Exports the heads of all chains.

    Compares chains with the heads that were exported of them.
    """

    def __init__(
        self,
        file: HeadFile,
        *,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._file, self._audit, self._clock = file, audit, clock
        self._broken: set[Tenant] = set()
        self._exported: dict[Tenant, ExportedHead] = {}
        self._logged: dict[Tenant, ExportedHead] = {}
        self._altered = False
        self._unwritten = ""

    async def open(self) -> None:
        """Read what was exported before.

        Where nothing was, the operator's chain states that a new file is begun.
        """
        try:
            found = await asyncio.to_thread(self._file.read)
        except HeadFileError as error:
            self._altered = True
            log.warning("exported audit heads unusable", error=error)
            return
        self._exported = found or {}
        if found is None:
            begun = AuditEvent(
                event=EventId.SECURITY_ALERT,
                action=EventAction.CREATE,
                type="audit.heads",
                actor="cloud",
            )
            await self._audit.append(OPERATOR, [begun], now=self._clock())

    def exported(self, tenant: Tenant) -> ExportedHead | None:
        """Return the head of a chain that was exported last."""
        return self._exported.get(tenant)

    async def head(self, tenant: Tenant) -> ChainHead:
        """Return the head of a chain as it is now."""
        return await self._audit.head(tenant)

    async def verify(self, tenant: Tenant, kept: ChainHead | None = None) -> ChainVerdict:
        """Check the chain against the head that was exported last and one from the caller."""
        exported = self._exported.get(tenant)
        heads = [one for one in (kept, exported.head if exported else None) if one is not None]
        return await self._audit.verify(tenant, heads)

    def alarms(self, tenant: Tenant) -> list[NewAlarm]:
        """Return the alarms of an organisation, by what `check` has found last."""
        wanted = [_broken("chain", "the organisation's")] if tenant in self._broken else []
        wanted += [_broken("operator", "the operator's")] if OPERATOR in self._broken else []
        if problem := _ALTERED if self._altered else self._unwritten:
            wanted.append(_alarm("heads", problem))
        return wanted

    async def check(self) -> None:
        """Compare all chains with their exported heads, export the heads of the valid ones."""
        now, known = self._clock(), {one.head: one for one in self._exported.values()}
        lost = known.keys() - await self._audit.holds(known)
        broken = {head.tenant for head in lost}
        for tenant in broken:
            log.warning("audit chain broken", tenant=tenant or "operator")
        self._broken = broken
        if self._altered:
            return
        present = {
            head.tenant: known.get(head) or ExportedHead(head=head, at=now)
            for head in await self._audit.heads()
        }
        fresh = present | {tenant: self._exported[tenant] for tenant in broken}
        if fresh != self._exported:
            await self._write(fresh)
        self._log(fresh.values(), now)

    async def _write(self, fresh: dict[Tenant, ExportedHead]) -> None:
        try:
            await asyncio.to_thread(self._file.write, [fresh[tenant] for tenant in sorted(fresh)])
        except OSError as error:
            log.warning("audit heads not exported", error=error)
            self._unwritten = (
                f"cannot write the exported audit heads: {error.strerror}; until then cut-off"
                " records go unnoticed"
            )
        else:
            self._exported, self._unwritten = fresh, ""

    def _log(self, heads: Iterable[ExportedHead], now: float) -> None:
        for one in heads:
            before = self._logged.get(one.head.tenant)
            if before is None or (before.head != one.head and now >= before.at + LOG_EVERY):
                self._logged[one.head.tenant] = ExportedHead(head=one.head, at=now)
                tenant, digest = one.head.tenant or "operator", one.head.digest.hex()
                log.info(
                    "audit head exported", tenant=tenant, sequence=one.head.sequence, digest=digest
                )


def _broken(subject: str, whose: str) -> NewAlarm:
    return _alarm(
        subject,
        f"{whose} audit chain no longer has the record whose digest was exported: records were"
        " removed or replaced. Keep the data folder as it is and follow the runbook 'The audit is"
        " verified'",
    )


def _alarm(subject: str, detail: str) -> NewAlarm:
    return NewAlarm(
        condition=Condition.AUDIT_BROKEN, subject=subject, severity=Severity.CRITICAL, detail=detail
    )
