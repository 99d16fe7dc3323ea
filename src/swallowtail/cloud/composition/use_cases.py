"""The use cases that the API calls, each wired to its ports."""

from swallowtail.cloud.access_control.authentication import Authentication
from swallowtail.cloud.access_control.tokens import (
    OperatorTokenAdministration,
    TokenAdministration,
)
from swallowtail.cloud.alarms.alarm_administration import AlarmAdministration
from swallowtail.cloud.auditing.audit_reading import AuditReading
from swallowtail.cloud.auditing.heads import ChainGuard
from swallowtail.cloud.auditing.tally import AuditTally
from swallowtail.cloud.link_administration.configuration import ConfigurationAdministration
from swallowtail.cloud.link_administration.links import LinkAdministration
from swallowtail.cloud.link_administration.unknown_devices import UnknownDeviceAdministration
from swallowtail.cloud.model.credentials import KeyedHash
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.tenancy.archives import ArchiveAdministration
from swallowtail.cloud.tenancy.facilities import FacilityAdministration
from swallowtail.cloud.tenancy.organisations import OrganisationAdministration
from swallowtail.cloud.web.use_cases import UseCases


def use_cases(
    records: Records,
    bus: Bus,
    *,
    sessions: Sessions,
    hashes: KeyedHash,
    chains: ChainGuard,
    tally: AuditTally,
    clock: Clock,
    random: Randomness,
    others: tuple[object, ...] = (),
) -> UseCases:
    """Create the use cases over the stores; `others` are those that are wired already."""
    people, tokens, archives = records.people, records.tokens, records.archives
    links, configuration = records.links, records.configuration
    return UseCases(
        AlarmAdministration(records.alarms, clock=clock),
        ArchiveAdministration(archives, clock=clock, random=random),
        AuditReading(records.audit, chains),
        Authentication(tokens, people, hashes, clock=clock, on_refused=tally.note),
        ConfigurationAdministration(links, configuration, sessions, bus, clock=clock),
        FacilityAdministration(people, clock=clock, random=random),
        LinkAdministration(
            links,
            people,
            configuration,
            sessions,
            bus=bus,
            hashes=hashes,
            clock=clock,
            random=random,
        ),
        OperatorTokenAdministration(tokens, hashes, clock=clock, random=random),
        OrganisationAdministration(
            people, links, records.retentions, bus, clock=clock, random=random
        ),
        TokenAdministration(tokens, people, archives, hashes, clock=clock, random=random),
        UnknownDeviceAdministration(links, configuration),
        *others,
    )
