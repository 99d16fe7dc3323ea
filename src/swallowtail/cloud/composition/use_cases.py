"""The use cases that the API calls, each wired to its ports."""

from collections.abc import Iterable

from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.tenancy.archives import ArchiveAdministration
from swallowtail.cloud.tenancy.facilities import FacilityAdministration
from swallowtail.cloud.tenancy.organisations import OrganisationAdministration
from swallowtail.cloud.web.use_cases import UseCases


def use_cases(
    records: Records, bus: Bus, *, clock: Clock, random: Randomness, others: Iterable[object] = ()
) -> UseCases:
    """Create the use cases over the stores; `others` are those that are wired already."""
    people, links = records.people, records.links
    return UseCases(
        ArchiveAdministration(records.archives, clock=clock, random=random),
        FacilityAdministration(people, clock=clock, random=random),
        OrganisationAdministration(
            people, links, records.retentions, bus, clock=clock, random=random
        ),
        *others,
    )
