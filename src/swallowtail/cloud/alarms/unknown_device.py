"""The periodic check of UNKNOWN_DEVICE.

One alarm for an address, not for an AE title: whoever tries titles would fill the list.
"""

import ipaddress
from collections.abc import Collection, Iterable
from typing import ClassVar, Final

from swallowtail.calls.config import Device
from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.dispatch.sites import Sites
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm, UnknownDevice
from swallowtail.cloud.model.paging import MAX_PAGE, PageRequest
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.dicom.ae_titles import significant

FORGOTTEN: Final = 86_400.0
"""Seconds after which a system that connects no more is no longer of interest."""
MAX_RAISED: Final = 50
"""Of an organisation at once, those that began first; the API lists all."""


class UnknownDevices(AlarmCheck):
    """Systems that asked for an association within the last day and match no device."""

    condition: ClassVar[Condition] = Condition.UNKNOWN_DEVICE

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        page = await self.sources.configuration.unknown_devices(tenant, PageRequest(MAX_PAGE))
        late = [seen for seen in page.items if now - seen.last < FORGOTTEN]
        known = await self.sources.configurations.sites(tenant, {seen.link for seen in late})
        return alarms_of(seen for seen in late if not is_known(seen, known))


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
