"""The use cases that the API calls, each wired to its ports."""

from swallowtail.cloud.access_control.authentication import Authentication
from swallowtail.cloud.access_control.tokens import (
    OperatorTokenAdministration,
    TokenAdministration,
)
from swallowtail.cloud.alarms.alarm_administration import AlarmAdministration
from swallowtail.cloud.auditing.audit_reading import AuditReading
from swallowtail.cloud.composition.adapters import Adapters
from swallowtail.cloud.composition.audit import AuditParts
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.dispatch.delivery_administration import DeliveryAdministration
from swallowtail.cloud.dispatch.destination_administration import DestinationAdministration
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.rule_administration import RuleAdministration
from swallowtail.cloud.dispatch.rule_editing import Rulebook
from swallowtail.cloud.dispatch.runner import topic
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.index.indexer import TOPIC
from swallowtail.cloud.index.reindexing import Reindexing
from swallowtail.cloud.ingest.instance_upload import InstanceUpload
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.link_administration.configuration import ConfigurationAdministration
from swallowtail.cloud.link_administration.links import LinkAdministration
from swallowtail.cloud.link_administration.unknown_devices import UnknownDeviceAdministration
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.query.parts import Frames
from swallowtail.cloud.query.search import Query
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.deleting import Deleting
from swallowtail.cloud.retention.locks import RetentionLocking
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.tenancy.archives import ArchiveAdministration
from swallowtail.cloud.tenancy.facilities import FacilityAdministration
from swallowtail.cloud.tenancy.organisations import OrganisationAdministration
from swallowtail.cloud.web.use_cases import UseCases


def use_cases(
    adapters: Adapters,
    environment: Environment,
    *,
    audit: AuditParts,
    ingest: Ingest,
    sessions: Sessions,
) -> UseCases:
    """Create every use case that the API calls; a new one is a line here."""
    records, bus, hashes = adapters.records, adapters.bus, adapters.hashes
    clock, random = environment.clock, environment.random_bytes
    organisations, tokens, archives = records.organisations, records.tokens, records.archives
    query = Query(records.instances, adapters.blobs, records.audit, clock=clock)
    return UseCases(
        AlarmAdministration(records.alarms, clock=clock),
        ArchiveAdministration(archives, clock=clock, random=random),
        audit.exports,
        AuditReading(records.audit, audit.chains),
        Authentication(tokens, organisations, hashes, clock=clock, on_refused=audit.tally.note),
        _deleting(adapters, environment),
        FacilityAdministration(organisations, clock=clock, random=random),
        Frames(query, adapters.blobs, clock=clock),
        InstanceUpload(ingest, organisations),
        OperatorTokenAdministration(tokens, hashes, clock=clock, random=random),
        OrganisationAdministration(
            organisations, records.links, records.retentions, bus, clock=clock, random=random
        ),
        adapters.pixels,
        _purge(adapters, environment),
        query,
        Reindexing(records.index_jobs, records.inventory, bus, clock=clock),
        RetentionLocking(records.retentions, clock=clock),
        TokenAdministration(tokens, organisations, archives, hashes, clock=clock, random=random),
        *_of_links(adapters, environment, sessions),
    )


def _of_links(
    adapters: Adapters, environment: Environment, sessions: Sessions
) -> tuple[object, ...]:
    """Create the use cases of Links, and of what is sent through them."""
    records, bus, clock = adapters.records, adapters.bus, environment.clock
    links, configuration = records.links, records.configuration
    sites = ConfigurationCache(links, configuration)
    rulebook = Rulebook(records.rules, sites, records.archives, clock=clock)
    queues = _queues(adapters, environment, sites)
    configurations = ConfigurationAdministration(links, configuration, sessions, bus, clock=clock)
    destinations = DestinationAdministration(
        links,
        configuration,
        administration=configurations,
        queues=queues,
        rulebook=rulebook,
        sessions=sessions,
        audit=records.audit,
        clock=clock,
    )
    administration = LinkAdministration(
        links,
        records.organisations,
        configuration,
        sessions,
        bus=bus,
        hashes=adapters.hashes,
        clock=clock,
        random=environment.random_bytes,
    )
    rules = RuleAdministration(
        rulebook, records.audit, clock=clock, random=environment.random_bytes
    )
    deliveries = DeliveryAdministration(
        queues, destinations, links, random=environment.random_bytes
    )
    unknown = UnknownDeviceAdministration(links, configuration)
    return administration, configurations, unknown, destinations, deliveries, rules


def _queues(adapters: Adapters, environment: Environment, sites: ConfigurationCache) -> Queues:
    records = adapters.records
    return Queues(
        deliveries=records.deliveries,
        instances=records.instances,
        links=records.links,
        sites=sites,
        bus=adapters.bus,
        clock=environment.clock,
    )


def _deleting(adapters: Adapters, environment: Environment) -> Deleting:
    records, bus = adapters.records, adapters.bus
    return Deleting(
        records.deletions,
        records.organisations,
        records.audit,
        clock=environment.clock,
        random=environment.random_bytes,
        wake_link=lambda link: bus.publish(topic(link)),
        wake_index=lambda: bus.publish(TOPIC),
    )


def _purge(adapters: Adapters, environment: Environment) -> Purge:
    records, clock = adapters.records, environment.clock
    steady = SteadyClock(clock, environment.monotonic)
    return Purge(records.deletions, records.retentions, clock=clock, steady=steady)
