"""The REST resource of destinations: what Links send to, with the state of the queue."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Response
from pydantic import Field, WithJsonSchema

from swallowtail.calls.config import (
    Destination,
)
from swallowtail.cloud.dispatch.destination_administration import (
    DestinationAdministration,
    ListedDestination,
    id_of,
)
from swallowtail.cloud.model.delivery import BreakerState
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    Body,
    Comment,
    EndpointOut,
    Out,
    PageOut,
    Timestamp,
    page_out,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import CONFIGURATION_READERS, CONFIGURATORS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import BY_FACILITY, Route
from swallowtail.cloud.web.struct_schemas import inline_schema, merge_schema
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[DestinationAdministration, provided(DestinationAdministration)]
Settings = Annotated[dict[str, Any], WithJsonSchema(inline_schema(Destination))]
SomeSettings = Annotated[dict[str, Any], WithJsonSchema(merge_schema(Destination))]
SettingsOut = Annotated[dict[str, Any], WithJsonSchema(inline_schema(Destination, closed=False))]
Expected = Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)] | None


class QueueOut(Out):
    """The state of a destination's queue.

    `counts` are deliveries by state, those that are done over the last 24 h.
    """

    paused: bool
    paused_by: str
    breaker: BreakerState
    failures: int
    retry_at: Timestamp
    detail: str
    failing_since: Timestamp | None
    delivered_at: float | None
    counts: dict[str, int]
    oldest: float | None


class DestinationOut(Out):
    """A destination.

    Its settings in version `version` of the Link's configuration, the state that the Link reported,
    and its queue.
    """

    id: str
    link: str
    name: str
    version: int
    settings: SettingsOut
    reported: EndpointOut | None
    """The state that the Link reported, of a destination that was used recently."""
    queue: QueueOut


class DestinationNew(Body):
    """A destination to add to a Link's configuration.

    `expected` is as in the configuration itself.
    """

    link: str
    settings: Settings
    comment: Comment = ""
    expected: Expected = None


class DestinationChange(Body):
    """Settings to change; a null gives a setting its default back. The name stays."""

    settings: SomeSettings
    comment: Comment = ""
    expected: Expected = None


class StepOut(Out):
    """One step of a check: `resolve`, `policy`, `connect`, `associate`, `echo`.

    Where it failed, `detail` states what to do next.
    """

    name: str
    ok: bool
    seconds: float
    detail: str


class CheckOut(Out):
    """The result of a check; no step follows one that failed."""

    ok: bool
    steps: list[StepOut]


async def list_destinations(
    caller: InOrganisation, destinations: Administration, page: Paging, link: str | None = None
) -> PageOut[DestinationOut]:
    """List destinations.

    Returns the destinations by Link and name, each with its settings and the state of its queue.
    """
    return page_out(await destinations.destinations(caller, link, page), _out)


async def create_destination(
    caller: InOrganisation, destinations: Administration, body: DestinationNew
) -> DestinationOut:
    """Create a destination.

    Adds it to the configuration of a Link. A Link that is online applies it within a second.
    """
    return _out(
        await destinations.create(
            caller, body.link, body.settings, comment=body.comment, expected=body.expected
        )
    )


async def get_destination(
    caller: InOrganisation, destinations: Administration, destination_id: str
) -> DestinationOut:
    """Get a destination.

    Returns its settings, the state of its circuit breaker and the counts of its queue.
    """
    return _out(await destinations.destination(caller, destination_id))


async def change_destination(
    caller: InOrganisation,
    destinations: Administration,
    destination_id: str,
    body: DestinationChange,
) -> DestinationOut:
    """Update a destination.

    Changes some of its settings. Pending deliveries are sent by the new ones.
    """
    return _out(
        await destinations.change(
            caller, destination_id, body.settings, comment=body.comment, expected=body.expected
        )
    )


async def remove_destination(
    caller: InOrganisation, destinations: Administration, destination_id: str
) -> Response:
    """Delete a destination.

    Removes it from the configuration of the Link. Its pending deliveries become dead letters.
    Refused (409) while a rule sends there.
    """
    await destinations.delete(caller, destination_id)
    return Response(status_code=204)


async def check_destination(
    caller: InOrganisation, destinations: Administration, destination_id: str
) -> CheckOut:
    """Check a destination.

    Requests the Link to resolve, connect, associate and send a C-ECHO. Returns the duration of each
    step; one that failed states what to do next.
    """
    checked = await destinations.check(caller, destination_id)
    steps = [StepOut.model_validate(step) for step in checked.steps]
    return CheckOut(ok=all(step.ok for step in steps), steps=steps)


async def pause_destination(
    caller: InOrganisation, destinations: Administration, destination_id: str
) -> DestinationOut:
    """Pause a destination.

    Nothing more is sent there until it is resumed. Pending deliveries keep their order.
    """
    return _out(await destinations.pause(caller, destination_id))


async def resume_destination(
    caller: InOrganisation, destinations: Administration, destination_id: str
) -> DestinationOut:
    """Resume a destination.

    Its next delivery is attempted at once, also where it is not paused but waits after failures.
    """
    return _out(await destinations.resume(caller, destination_id))


def _out(listed: ListedDestination) -> DestinationOut:
    row, reported, queue = listed
    return DestinationOut(
        id=id_of(row.target),
        link=row.link.id,
        name=row.destination.name,
        version=row.version.version,
        settings=msgspec.to_builtins(row.destination),
        reported=EndpointOut.model_validate(reported) if reported is not None else None,
        queue=QueueOut.model_validate(queue),
    )


_DESTINATION: Final = "/destinations/{destination_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/destinations",
        list_destinations,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.destinations,
    ),
    Route(
        "POST",
        "/destinations",
        create_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
        201,
        use_case=DestinationAdministration.create,
        audit="destination.create",
    ),
    Route(
        "GET",
        _DESTINATION,
        get_destination,
        CONFIGURATION_READERS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.destination,
    ),
    Route(
        "PATCH",
        _DESTINATION,
        change_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.change,
        audit="destination.change",
    ),
    Route(
        "DELETE",
        _DESTINATION,
        remove_destination,
        CONFIGURATORS,
        BY_FACILITY,
        "destinations",
        204,
        use_case=DestinationAdministration.delete,
        audit="destination.remove",
    ),
    Route(
        "POST",
        f"{_DESTINATION}/check",
        check_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.check,
        audit="destination.check",
    ),
    Route(
        "POST",
        f"{_DESTINATION}/pause",
        pause_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.pause,
        audit="destination.pause",
    ),
    Route(
        "POST",
        f"{_DESTINATION}/resume",
        resume_destination,
        QUEUE_MANAGERS,
        BY_FACILITY,
        "destinations",
        use_case=DestinationAdministration.resume,
        audit="destination.resume",
    ),
)
