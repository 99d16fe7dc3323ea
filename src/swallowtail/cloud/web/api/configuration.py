"""The configuration of a Link.

Its versions, what of it runs, the schema that it follows, the devices that are missing in it.
"""

import json
from typing import Any, Final

import msgspec
from fastapi import Response

from swallowtail.calls.config import Configuration, Device, EndpointKind, EndpointState, dump, parse
from swallowtail.cloud.model.audit import EventAction, EventId
from swallowtail.cloud.model.operations import ConfigurationVersion, Running, UnknownDevice
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import Link
from swallowtail.cloud.web.access import Anywhere, Caller, InOrganisation
from swallowtail.cloud.web.api.links import link_of, presence_of, topic
from swallowtail.cloud.web.api.schemas import (
    Comparison,
    ConfigurationNew,
    ConfigurationOut,
    EndpointComparison,
    EndpointOut,
    FaultOut,
    PageOut,
    Rollback,
    RowId,
    UnknownDeviceKey,
    UnknownDeviceOut,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ANYONE, CONFIGURATION_READERS, CONFIGURATORS
from swallowtail.cloud.web.route import BY_FACILITY, SAME, Route
from swallowtail.dicom.ae_titles import significant

_read_endpoints: Final = msgspec.msgpack.Decoder(tuple[EndpointState, ...])


async def configuration_schema(caller: Anywhere) -> dict[str, Any]:
    """Give the JSON Schema of a Link's configuration.

    Rules between parts are checked when a version is put.
    """
    return msgspec.json.schema(Configuration)


async def get_configuration(caller: InOrganisation, link_id: str) -> ConfigurationOut:
    """Give the desired configuration: the newest version."""
    link = await link_of(caller, link_id)
    return _out(await _desired(caller, link))


async def put_configuration(
    caller: InOrganisation, link_id: str, body: ConfigurationNew
) -> ConfigurationOut:
    """Make a document the desired configuration.

    A connected Link runs it within a second, or refuses it whole and says why.
    """
    link = await link_of(caller, link_id)
    document = dump(parse(json.dumps(body.document).encode()))
    return _out(
        await keep(
            caller,
            link,
            document,
            act="configuration.put",
            expected=body.expected,
            comment=body.comment,
        )
    )


async def keep(
    caller: Caller,
    link: Link,
    document: bytes,
    *,
    act: str,
    comment: str,
    expected: int | None = None,
    restored_from: int | None = None,
) -> ConfigurationVersion:
    """Make a checked document the desired one and wake whoever holds the session of the Link."""
    version = await caller.services.configuration.put(
        caller.tenant,
        link.id,
        document,
        expected=expected,
        restored_from=restored_from,
        author=caller.principal.id,
        comment=comment,
        now=caller.now,
        event=caller.event(
            EventAction.UPDATE, act, ("link", link.id), event=EventId.APPLICATION_ACTIVITY
        ),
    )
    caller.services.bus.publish(topic(link.id))
    return version


async def configuration_history(
    caller: InOrganisation, link_id: str, page: Paging
) -> PageOut[ConfigurationOut]:
    """List the versions, the newest first, without their documents."""
    link = await link_of(caller, link_id)
    return page_out(await caller.services.configuration.history(caller.tenant, link.id, page), _out)


async def configuration_version(
    caller: InOrganisation, link_id: str, version: RowId
) -> ConfigurationOut:
    """Give one version with its document."""
    link = await link_of(caller, link_id)
    return _out(await caller.services.configuration.version(caller.tenant, link.id, version))


async def roll_back(caller: InOrganisation, link_id: str, body: Rollback) -> ConfigurationOut:
    """Make an older version the newest again; history only grows."""
    link = await link_of(caller, link_id)
    old = await caller.services.configuration.version(caller.tenant, link.id, body.version)
    document = dump(
        parse(old.document)
    )  # a rule that is newer than the old version is checked again
    return _out(
        await keep(
            caller,
            link,
            document,
            act="configuration.rollback",
            comment=body.comment,
            restored_from=old.version,
        )
    )


async def compare_configuration(caller: InOrganisation, link_id: str) -> Comparison:
    """Compare the desired configuration with what the Link reports.

    Every listener and destination.
    """
    link = await link_of(caller, link_id)
    desired = await caller.services.configuration.desired(caller.tenant, link.id)
    running = (await caller.services.configuration.running(caller.tenant, [link.id])).get(link.id)
    return compare(desired, running, connected=presence_of(caller, link.id, running).connected)


def compare(
    desired: ConfigurationVersion | None, running: Running | None, *, connected: bool
) -> Comparison:
    """Compare what should run with what does."""
    wanted = _desired_endpoints(desired)
    states = {
        (state.kind, state.name): EndpointOut.model_validate(state)
        for state in endpoints_of(running)
    }
    endpoints = [
        EndpointComparison(
            kind=kind, name=name, desired=(kind, name) in wanted, running=states.get((kind, name))
        )
        for kind, name in dict.fromkeys([*wanted, *states])
    ]
    want, have = desired.version if desired else 0, running.version if running else 0
    well = all(
        row.running is not None and row.running.state == "listening"
        for row in endpoints
        if row.desired and row.kind is EndpointKind.LISTENER
    )
    return Comparison(
        desired=want,
        running=have,
        in_step=connected and want == have and well,
        connected=connected,
        problems=[FaultOut(field=field, message=message) for field, message in running.problems]
        if running
        else [],
        endpoints=endpoints,
    )


def _desired_endpoints(desired: ConfigurationVersion | None) -> list[tuple[EndpointKind, str]]:
    if desired is None:
        return []
    document = parse(desired.document)
    return [
        *((EndpointKind.LISTENER, listener.name) for listener in document.listeners),
        *((EndpointKind.DESTINATION, destination.name) for destination in document.destinations),
    ]


def endpoints_of(running: Running | None) -> tuple[EndpointState, ...]:
    """Give what a Link last said of its endpoints."""
    return _read_endpoints.decode(running.report) if running and running.report else ()


async def list_unknown_devices(
    caller: InOrganisation, page: Paging, link: str | None = None
) -> PageOut[UnknownDeviceOut]:
    """List systems that knocked at a Link and match no configured device, the latest first."""
    if link is not None:
        await link_of(caller, link)
    elif caller.principal.facilities is not None:
        raise NotFoundError("a token that is limited to facilities names the Link with ?link=…")
    found = await caller.services.configuration.unknown_devices(caller.tenant, page, link=link)
    return page_out(found, _unknown)


async def dismiss_unknown_device(caller: InOrganisation, body: UnknownDeviceKey) -> Response:
    """Drop what was noted of a device; it shows again when it knocks again."""
    link = await link_of(caller, body.link)
    await caller.services.configuration.forget_unknown(
        caller.tenant, link.id, body.address, body.calling_ae
    )
    return Response(status_code=204)


def _unknown(device: UnknownDevice) -> UnknownDeviceOut:
    return UnknownDeviceOut(**msgspec.structs.asdict(device), hint=_hint(device))


def _hint(device: UnknownDevice) -> dict[str, Any]:
    """Give the device entry that would let it in.

    Empty when its AE title can be nobody's, or the called one was wrong.
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


async def _desired(caller: Caller, link: Link) -> ConfigurationVersion:
    version = await caller.services.configuration.desired(caller.tenant, link.id)
    if version is None:
        raise NotFoundError("this Link has no configuration yet; put one")
    return version


def _out(version: ConfigurationVersion) -> ConfigurationOut:
    return ConfigurationOut(
        link=version.link,
        version=version.version,
        document=json.loads(version.document) if version.document else None,
        author=version.author,
        created=version.created,
        comment=version.comment,
        restored_from=version.restored_from,
    )


ROUTES: Final = (
    Route(
        "GET",
        "/links/{link_id}/configuration",
        get_configuration,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "PUT",
        "/links/{link_id}/configuration",
        put_configuration,
        CONFIGURATORS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/versions",
        configuration_history,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/versions/{version}",
        configuration_version,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "POST",
        "/links/{link_id}/configuration/rollback",
        roll_back,
        CONFIGURATORS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/links/{link_id}/configuration/comparison",
        compare_configuration,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "configuration",
    ),
    Route(
        "GET",
        "/schemas/configuration",
        configuration_schema,
        ANYONE,
        SAME,
        "configuration",
    ),
    Route(
        "GET",
        "/unknown-devices",
        list_unknown_devices,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "devices",
    ),
    Route(
        "POST",
        "/unknown-devices/dismiss",
        dismiss_unknown_device,
        CONFIGURATORS,
        BY_FACILITY,
        "devices",
        204,
    ),
)
