"""The directory: the devices of a configuration, found by AE title and address."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from swallowtail.calls.config import Device
from swallowtail.dicom import ae_titles
from swallowtail.link.policy import IpNetwork, numeric


@dataclass(frozen=True, slots=True)
class Directory:
    """The devices of a configuration, found by AE title and address."""

    by_title: dict[str, list[tuple[Device, tuple[IpNetwork, ...]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, devices: Iterable[Device]) -> "Directory":
        """Sort the devices of a configuration that `problems` found nothing against."""
        directory = cls()
        for device in devices:
            networks = tuple(
                ipaddress.ip_network(address, strict=False) for address in device.addresses
            )
            directory.by_title.setdefault(ae_titles.significant(device.ae_title), []).append(
                (device, networks)
            )
        return directory

    def find(self, listener: str, title: str, address: str) -> Device | str:
        """Return the device, or what did not match: `calling-ae` or `address`."""
        candidates = [
            (device, networks)
            for device, networks in self.by_title.get(ae_titles.significant(title), ())
            if not device.listeners or listener in device.listeners
        ]
        if not candidates:
            return "calling-ae"
        for device, networks in candidates:
            if _from(address, networks):
                return device
        return "address"

    def has_address(self, listener: str, address: str) -> bool:
        """Return whether some device may come from this address to this listener."""
        return any(
            _from(address, networks)
            for devices in self.by_title.values()
            for device, networks in devices
            if not device.listeners or listener in device.listeners
        )


def _from(address: str, networks: Iterable[IpNetwork]) -> bool:
    here = numeric(address)
    return any(here.version == network.version and here in network for network in networks)
