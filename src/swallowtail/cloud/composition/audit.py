"""The composition of everything around the audit: chains, heads, counted events, exports."""

from dataclasses import dataclass
from typing import Self

import structlog

from swallowtail.cloud.alarms.periodic import run_periodically
from swallowtail.cloud.audit_export.exporter import LOOK_EVERY, AuditExporter
from swallowtail.cloud.audit_export.settings import ExportSettings
from swallowtail.cloud.auditing.heads import EXPORT_EVERY, ChainGuard
from swallowtail.cloud.auditing.tally import FLUSH_EVERY, AuditTally
from swallowtail.cloud.composition.adapters import Adapters
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.runtime.tasks import Tasks

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AuditParts:
    """The protection and export of the audit of one Cloud."""

    chains: ChainGuard
    tally: AuditTally
    exports: ExportSettings
    exporter: AuditExporter

    @classmethod
    def wire(cls, adapters: Adapters, environment: Environment) -> Self:
        """Connect them to the adapters; `chains.open` has to follow."""
        records, clock = adapters.records, environment.clock
        chains = ChainGuard(adapters.heads, audit=records.audit, clock=clock)
        exporter = AuditExporter(
            exports=records.audit_exports,
            audit=records.audit,
            organisations=records.organisations,
            alarms=records.alarms,
            seal=adapters.seal,
            send=adapters.send,
            clock=clock,
            random=environment.random,
            node=environment.node,
        )
        exports = ExportSettings(
            records.audit_exports, records.audit, records.alarms, adapters.seal, clock
        )
        return cls(chains, AuditTally(records.audit, clock), exports, exporter)

    def start(self, tasks: Tasks) -> None:
        """Start what runs at intervals."""
        tasks.spawn(run_periodically("audit", self.chains.check, every=EXPORT_EVERY), name="audit")
        tasks.spawn(run_periodically("tally", self.tally.flush, every=FLUSH_EVERY), name="tally")
        tasks.spawn(
            run_periodically("export", lambda: self.exporter.look(tasks), every=LOOK_EVERY),
            name="export",
        )

    async def end(self) -> None:
        """Append what was counted and export the heads once more.

        So no record can be cut off unnoticed while no Cloud runs.
        """
        try:
            await self.tally.flush()
            await self.chains.check()
        except StorageUnavailableError as error:
            log.warning("last audit heads not exported", error=error)
