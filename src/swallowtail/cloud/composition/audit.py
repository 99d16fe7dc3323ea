"""The composition of everything around the audit.

Chains and their heads, counted events, exports.
"""

import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from swallowtail.cloud.alarms.periodic import rounds
from swallowtail.cloud.audit_export.egress import Network
from swallowtail.cloud.audit_export.exporter import LOOK_EVERY, AuditExporter
from swallowtail.cloud.audit_export.settings import ExportSettings
from swallowtail.cloud.audit_export.transmission import TlsSender
from swallowtail.cloud.auditing.heads import EXPORT_EVERY, ChainGuard, HeadFile
from swallowtail.cloud.auditing.keyring import AuditKeyring
from swallowtail.cloud.auditing.tally import FLUSH_EVERY, AuditTally
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.secrets.sealing import Seal
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AuditParts:
    """What guards and exports the audit of one Cloud."""

    chains: ChainGuard
    tally: AuditTally
    exports: ExportSettings
    exporter: AuditExporter

    @classmethod
    async def open(
        cls,
        records: Records,
        keyring: AuditKeyring,
        *,
        seal: Seal,
        heads: Path,
        networks: Sequence[Network],
    ) -> Self:
        """Wire them to the stores, before anything is appended to a chain.

        `networks` are those that receivers may be in.
        """
        clock = time.time
        await keyring.settle(records.audit, now=clock())
        chains = ChainGuard(
            HeadFile(heads, keyring.keys),
            audit=records.audit,
            people=records.people,
            alarms=records.alarms,
            clock=clock,
        )
        await chains.open()
        exporter = AuditExporter(
            exports=records.audit_exports,
            audit=records.audit,
            people=records.people,
            alarms=records.alarms,
            seal=seal,
            send=TlsSender(networks),
            clock=clock,
            random=random.random,
            node=socket.gethostname(),
        )
        exports = ExportSettings(records.audit_exports, records.alarms, seal, clock)
        return cls(chains, AuditTally(records.audit, clock), exports, exporter)

    def start(self, tasks: Tasks) -> None:
        """Start what runs at intervals."""
        tasks.spawn(rounds("audit", self.chains.check, every=EXPORT_EVERY), name="audit")
        tasks.spawn(rounds("tally", self.tally.flush, every=FLUSH_EVERY), name="tally")
        tasks.spawn(
            rounds("export", lambda: self.exporter.look(tasks), every=LOOK_EVERY), name="export"
        )

    async def end(self) -> None:
        """Append what was counted and export the heads once more, so that nothing can be cut off
        while no Cloud runs.
        """
        try:
            await self.tally.flush()
            await self.chains.check()
        except StorageUnavailableError as error:
            log.warning("audit heads not exported at the end", error=error)
