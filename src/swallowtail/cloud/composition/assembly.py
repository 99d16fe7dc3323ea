"""The one composition of a Cloud, for the product, the simulated environment and the tests.

`assemble` wires use cases to adapters and starts nothing. What runs is started by `open` and
`start`, or part by part by who simulates a process.
"""

from dataclasses import dataclass, field

from swallowtail.cloud.alarms.check import CheckSources
from swallowtail.cloud.alarms.loop import AlarmLoop
from swallowtail.cloud.alarms.periodic import run_periodically
from swallowtail.cloud.alarms.served_certificates import ServedCertificates
from swallowtail.cloud.composition.adapters import Adapters
from swallowtail.cloud.composition.audit import AuditParts
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.composition.use_cases import use_cases
from swallowtail.cloud.dispatch.delivery_creation import Router
from swallowtail.cloud.dispatch.runner import Dispatch
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.index.indexer import TOPIC, Indexer
from swallowtail.cloud.ingest.alarm import StorageAlarm
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.link_administration.admission import LinkAdmission
from swallowtail.cloud.link_administration.reported_states import ReportedStates
from swallowtail.cloud.link_administration.session_watch import SessionWatch
from swallowtail.cloud.links.authentication import Gate
from swallowtail.cloud.links.call_table import Calls
from swallowtail.cloud.links.desired import Desired
from swallowtail.cloud.links.link_endpoint import LinkSessions
from swallowtail.cloud.links.report_call import Reports
from swallowtail.cloud.links.store_call import Stores
from swallowtail.cloud.metrics.process import StoreMeter
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.retention.sweep import SWEEP_EVERY, BlobSweep
from swallowtail.cloud.web.use_cases import UseCases
from swallowtail.runtime.tasks import Tasks


@dataclass(frozen=True, slots=True)
class AssembledCloud:
    """The use cases of one Cloud, wired."""

    adapters: Adapters
    environment: Environment
    audit: AuditParts
    router: Router
    indexer: Indexer
    sessions: LinkSessions
    use_cases: UseCases
    certificates: ServedCertificates = field(default_factory=ServedCertificates)

    async def open(self) -> None:
        """Read what was exported of the audit; before anything is appended to a chain."""
        await self.audit.chains.open()

    def start(self, tasks: Tasks) -> None:
        """Start what runs beside the requests: index, routing, periodic checks and maintenance."""
        tasks.spawn(self.indexer.run(alone=True), name="index")
        tasks.spawn(self.router.run(), name="routing")
        self.audit.start(tasks)
        tasks.spawn(run_periodically("alarms", self._alarm_loop().examine), name="alarms")
        tasks.spawn(run_periodically("purge", self.use_cases.get(Purge).look), name="purge")
        tasks.spawn(run_periodically("sweep", self._sweep().look, every=SWEEP_EVERY), name="sweep")

    async def close(self) -> None:
        """Transfer the audit to its end; after the tasks have ended."""
        await self.audit.end()

    def _alarm_loop(self) -> AlarmLoop:
        records = self.adapters.records
        return AlarmLoop(
            CheckSources(
                organisations=records.organisations,
                links=records.links,
                configuration=records.configuration,
                configurations=ConfigurationCache(records.links, records.configuration),
                deliveries=records.deliveries,
                alarms=records.alarms,
                sessions=self.sessions,
                chains=self.audit.chains,
                certificates=self.certificates,
                disk_usage=self.adapters.disk_usage,
                clock=self.environment.clock,
            )
        )

    def _sweep(self) -> BlobSweep:
        records = self.adapters.records
        return BlobSweep(
            self.adapters.blobs,
            records.unreferenced_blobs,
            records.instances,
            records.inventory.tenants,
            clock=self.environment.clock,
            steady=_steady(self.environment),
        )


def assemble(adapters: Adapters, environment: Environment) -> AssembledCloud:
    """Create the use cases with the adapters; call it on the loop that will serve."""
    records, bus, clock = adapters.records, adapters.bus, environment.clock
    audit = AuditParts.wire(adapters, environment)
    sites = ConfigurationCache(records.links, records.configuration)
    router = Router(records.rules, sites, bus, clock=clock)
    ingest = Ingest(
        records.instances,
        adapters.blobs,
        clock=clock,
        meter=StoreMeter(),
        alarm=StorageAlarm(records.alarms, clock=clock),
        on_stored=lambda: bus.publish(TOPIC),
    )
    sessions = _sessions(adapters, environment, audit=audit, router=router, ingest=ingest)
    indexer = Indexer(records.index_jobs, adapters.parser, bus, clock=clock, on_settled=router.wake)
    made = use_cases(adapters, environment, audit=audit, ingest=ingest, sessions=sessions)
    return AssembledCloud(adapters, environment, audit, router, indexer, sessions, made)


def _sessions(
    adapters: Adapters,
    environment: Environment,
    *,
    audit: AuditParts,
    router: Router,
    ingest: Ingest,
) -> LinkSessions:
    """Create the use cases of the Links' sessions."""
    records, bus, clock = adapters.records, adapters.bus, environment.clock
    links, configuration, alarms = records.links, records.configuration, records.alarms
    reports = Reports(ReportedStates(configuration), ended=router.ended, tally=audit.tally)
    desired = Desired(SessionWatch(links, configuration, alarms, bus, clock=clock), reports)
    dispatch = Dispatch(
        deliveries=records.deliveries,
        instances=records.instances,
        blobs=adapters.blobs,
        configuration=configuration,
        alarms=alarms,
        bus=bus,
        clock=clock,
        transcoder=adapters.pixels,
        random=environment.random,
    )
    return LinkSessions(
        gate=Gate(LinkAdmission(links, adapters.hashes, clock=clock)),
        calls=Calls(Stores(ingest), reports),
        desired=desired,
        reports=reports,
        dispatch=dispatch,
        clock=clock,
        random=environment.random_bytes,
    )


def _steady(environment: Environment) -> SteadyClock:
    return SteadyClock(environment.clock, environment.monotonic)
