"""The destinations and devices of the Links' desired configurations.

The rules and the queues use them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from swallowtail.calls.config import Configuration as Document
from swallowtail.calls.config import Destination, Device, InvalidConfigurationError, parse
from swallowtail.cloud.model.delivery import Target
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class Sites:
    """The destinations by address, and the devices by (Link, name), of some Links."""

    destinations: Mapping[Target, Destination]
    devices: Mapping[tuple[str, str], Device]
    unreadable: frozenset[str] = frozenset()
    """Links whose document this release cannot read."""


class ConfigurationCache:
    """A cache of documents, in which each version is parsed once."""

    def __init__(self, links: Links, configuration: Configurations) -> None:
        self._links, self._configuration = links, configuration
        self._read: dict[tuple[Tenant, str], tuple[int, Document | None]] = {}

    async def sites(self, tenant: Tenant, links: Collection[str]) -> Sites:
        """Return the contents of these Links' newest documents.

        A Link that does not exist, or has none, has no contents.
        """
        destinations: dict[Target, Destination] = {}
        devices: dict[tuple[str, str], Device] = {}
        unreadable: set[str] = set()
        for link in dict.fromkeys(links):
            document = await self._document(tenant, link)
            if document is None:
                unreadable.add(link)
                continue
            destinations |= {
                Target(link=link, destination=one.name): one for one in document.destinations
            }
            devices |= {(link, one.name): one for one in document.devices}
        return Sites(destinations, devices, frozenset(unreadable))

    async def _document(self, tenant: Tenant, link: str) -> Document | None:
        """Return a Link's newest document, empty where there is none; None when unreadable."""
        try:
            await self._links.link(tenant, link)
            desired = await self._configuration.desired(tenant, link)
        except NotFoundError:
            desired = None
        if desired is None:
            self._read.pop((tenant, link), None)
            return Document()
        version, document = self._read.get((tenant, link), (0, None))
        if version != desired.version:
            document = _parsed(desired.document)
            self._read[tenant, link] = desired.version, document
        return document


def _parsed(document: bytes) -> Document | None:
    try:
        return parse(document)
    except (
        InvalidConfigurationError
    ):  # of an older release, whose rules were laxer: the Link refuses it too
        return None
