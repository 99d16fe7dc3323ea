"""How the world puts the Cloud's real parts together: as `cloud.server` does, over the twins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swallowtail.cloud.auditing.tally import AuditTally
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.dispatch.delivery_creation import Router
from swallowtail.cloud.dispatch.runner import Dispatch
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.index.indexer import TOPIC, Indexer
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
from swallowtail.cloud.records.records import Records
from tests.doubles.inline_parser import InlineParser
from tests.store_tally import StoreTally

if TYPE_CHECKING:
    from tests.world.cloud import CloudMachine


@dataclass(frozen=True, slots=True)
class Composed:
    """The parts of one process that live by themselves."""

    sessions: LinkSessions
    router: Router
    indexer: Indexer


def compose(machine: "CloudMachine", records: Records, blobs: FolderBlobs) -> Composed:
    """Put one process together."""
    clock = machine.wall
    router = Router(
        records.rules,
        ConfigurationCache(records.links, records.configuration),
        machine.bus,
        clock=clock,
    )
    reports = Reports(
        ReportedStates(records.configuration),
        ended=router.ended,
        tally=AuditTally(records.audit, clock),
    )
    ingest = Ingest(
        machine.parts.instances(records.instances),
        machine.parts.blobs(blobs),
        clock=clock,
        meter=StoreTally(),
        on_stored=lambda: machine.bus.publish(TOPIC),
    )
    desired = Desired(
        SessionWatch(
            records.links, records.configuration, records.alarms, machine.bus, clock=clock
        ),
        reports,
    )
    gate = Gate(LinkAdmission(records.links, machine.hashes, clock=clock))
    calls, random_source = Calls(Stores(ingest), reports), machine.random_source
    dispatch = Dispatch(
        deliveries=machine.parts.deliveries(records.deliveries),
        instances=records.instances,
        blobs=blobs,
        configuration=records.configuration,
        alarms=records.alarms,
        bus=machine.bus,
        clock=clock,
        random=random_source.random,
    )
    sessions = LinkSessions(
        gate=gate,
        calls=calls,
        desired=desired,
        reports=reports,
        dispatch=dispatch,
        clock=clock,
        random=random_source.randbytes,
    )
    indexer = Indexer(
        records.index_jobs, InlineParser(blobs), machine.bus, clock=clock, on_settled=router.wake
    )
    return Composed(sessions, router, indexer)
