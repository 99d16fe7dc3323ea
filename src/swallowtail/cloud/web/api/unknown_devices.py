"""The REST resource of unknown devices: systems that connect to a Link and are not configured."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Response

from swallowtail.calls.config import Device
from swallowtail.cloud.link_administration.unknown_devices import UnknownDeviceAdministration
from swallowtail.cloud.model.operations import UnknownDevice
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    PageOut,
    UnknownDeviceKey,
    UnknownDeviceOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import CONFIGURATION_READERS, CONFIGURATORS
from swallowtail.cloud.web.route import BY_FACILITY, Route
from swallowtail.cloud.web.use_cases import provided
from swallowtail.dicom.ae_titles import significant

Administration = Annotated[UnknownDeviceAdministration, provided(UnknownDeviceAdministration)]


async def list_unknown_devices(
    caller: InOrganisation, unknown: Administration, page: Paging, link: str | None = None
) -> PageOut[UnknownDeviceOut]:
    """List unknown devices.

    Returns the systems that connected to a Link and match no configured device, the latest first.
    A token that is limited to facilities names the Link.
    """
    return page_out(await unknown.devices(caller, link, page), _out)


async def dismiss_unknown_device(
    caller: InOrganisation, unknown: Administration, body: UnknownDeviceKey
) -> Response:
    """Delete an unknown device.

    Deletes what was recorded of it. It is listed again when it connects again.
    """
    await unknown.dismiss(caller, body.link, body.address, body.calling_ae)
    return Response(status_code=204)


def _out(device: UnknownDevice) -> UnknownDeviceOut:
    return UnknownDeviceOut(**msgspec.structs.asdict(device), hint=_hint(device))


def _hint(device: UnknownDevice) -> dict[str, Any]:
    """Return the device entry that would admit it.

    Empty where its AE title is invalid, or where it called a wrong one.
    """
    title = significant(device.calling_ae)
    letters = (letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower())
    name = "".join(letters).strip("-")
    if device.reason in {"called-ae", "calling-ae-invalid"} or not name:
        return {}
    values = {
        "name": name,
        "ae_title": title,
        "addresses": [device.address],
        "listeners": [device.listener],
    }
    try:
        entry = msgspec.convert(values, Device)
    except msgspec.ValidationError:
        return {}
    return {
        "name": entry.name,
        "ae_title": entry.ae_title,
        "addresses": [*entry.addresses],
        "listeners": [*entry.listeners],
    }


ROUTES: Final = (
    Route(
        "GET",
        "/unknown-devices",
        list_unknown_devices,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "devices",
        use_case=UnknownDeviceAdministration.devices,
    ),
    Route(
        "POST",
        "/unknown-devices/dismiss",
        dismiss_unknown_device,
        CONFIGURATORS,
        BY_FACILITY,
        "devices",
        204,
        use_case=UnknownDeviceAdministration.dismiss,
    ),
)
