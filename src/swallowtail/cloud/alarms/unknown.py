"""The alarm UNKNOWN_DEVICE.

Raised for each address from which an unknown system connects, cleared when it is known or stays
offline.

One alarm for an address, not for an AE title: whoever tries titles would fill the list.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from swallowtail.calls.config import Device
from swallowtail.cloud.dispatch.sites import ConfigurationCache, Sites
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import Condition, NewAlarm, Severity, UnknownDevice
from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest, walk
from swallowtail.cloud.model.ports.links import Configurations
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.dicom.ae_titles import significant

FORGOTTEN: Final = 86_400.0
"""Seconds after which a system that connects no more is no longer of interest."""
MAX_RAISED: Final = 50
"""Of an organisation at once, those that began first; the API lists all."""


class UnknownDevices:
    """Every organisation's."""

    def __init__(
        self,
        *,
        organisations: Organisations,
        configuration: Configurations,
        sites: ConfigurationCache,
        alarms: Alarms,
        clock: Clock,
    ) -> None:
        self._organisations, self._configuration, self._sites = organisations, configuration, sites
        self._alarms, self._clock = alarms, clock

    async def look(self) -> None:
        """Look once."""
        async for organisation in walk(self._organisations.organisations):
            now = self._clock()
            page = await self._configuration.unknown_devices(organisation.id, PageRequest(MAX_PAGE))
            late = [seen for seen in page.items if now - seen.last < FORGOTTEN]
            sites = await self._sites.sites(organisation.id, {seen.link for seen in late})
            wanted = alarms_of(seen for seen in late if not is_known(seen, sites))
            await self._alarms.keep(organisation.id, Condition.UNKNOWN_DEVICE, wanted, now=now)


def is_known(seen: UnknownDevice, sites: Sites) -> bool:
    """Return whether a device of the configuration is this one by now.

    A wrong called AE title and an invalid calling one stay wrong.
    """
    if seen.reason in {"called-ae", "calling-ae-invalid"}:
        return False
    mine = (device for (link, _), device in sites.devices.items() if link == seen.link)
    title = significant(seen.calling_ae)
    return any(significant(device.ae_title) == title and _covers(device, seen) for device in mine)


def _covers(device: Device, seen: UnknownDevice) -> bool:
    if device.listeners and seen.listener not in device.listeners:
        return False
    try:
        address = ipaddress.ip_address(seen.address)
        return any(
            address in ipaddress.ip_network(network, strict=False) for network in device.addresses
        )
    except ValueError:
        return False


def alarms_of(devices: Iterable[UnknownDevice]) -> list[NewAlarm]:
    """Return an alarm for each Link and address, of those that began first."""
    first: dict[tuple[str, str], UnknownDevice] = {}
    for seen in sorted(devices, key=lambda one: one.first):
        first.setdefault((seen.link, seen.address), seen)
    return [_alarm(seen) for seen in [*first.values()][:MAX_RAISED]]


def _alarm(seen: UnknownDevice) -> NewAlarm:
    wrong = {
        "called-ae": f"called {seen.called_ae!r}, which is no listener's title",
        "calling-ae-invalid": (
            "uses an AE title that is not valid (PS3.5 6.2); correct it at the device"
        ),
        "address": "came from an unexpected address",
    }
    what = wrong.get(seen.reason, "is not configured")
    detail = (
        f"{seen.calling_ae!r} at {seen.address} {what}; add or correct the device, or dismiss it"
    )
    return NewAlarm(
        condition=Condition.UNKNOWN_DEVICE,
        subject=f"{seen.link}/{seen.address}",
        severity=Severity.WARNING,
        detail=detail,
    )
