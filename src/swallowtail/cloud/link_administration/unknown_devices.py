"""Use cases of unknown devices: systems that connect to a Link and are not configured."""

from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.operations import UnknownDevice
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.links import Configurations, Links
from swallowtail.cloud.model.visibility import visible_link


class UnknownDeviceAdministration:
    """Lists and dismisses unknown devices of the Links that the caller may see."""

    def __init__(self, links: Links, configuration: Configurations) -> None:
        self._links, self._configuration = links, configuration

    async def devices(
        self, caller: Caller, link: str | None, page: PageRequest = FIRST_PAGE
    ) -> Page[UnknownDevice]:
        """Return unknown devices of a Link, or of all, the latest first."""
        if link is not None:
            await visible_link(self._links, caller, link)
        elif caller.principal.facilities is not None:
            raise NotFoundError("a token that is limited to facilities names the Link with ?link=…")
        return await self._configuration.unknown_devices(caller.tenant, page, link=link)

    async def dismiss(self, caller: Caller, link: str, address: str, calling_ae: str) -> None:
        """Delete what was recorded of a device; it is listed again when it connects again."""
        await visible_link(self._links, caller, link)
        await self._configuration.delete_unknown(caller.tenant, link, address, calling_ae)
