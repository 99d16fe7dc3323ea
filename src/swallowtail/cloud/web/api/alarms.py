"""The REST resource of alarms."""

import enum
from typing import Annotated, Final

from fastapi import Depends, Query

from swallowtail.cloud.alarms.alarm_administration import AlarmAdministration
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import AlarmSearch
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import AlarmOut, Before, PageOut, RowId, Since, page_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ALARM_READERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[AlarmAdministration, provided(AlarmAdministration)]


class AlarmState(enum.StrEnum):
    """The state of an alarm."""

    RAISED = "raised"
    CLEARED = "cleared"


def _alarm_search(
    state: Annotated[
        AlarmState | None, Query(description="By state; by default alarms that are not cleared.")
    ] = None,
    *,
    cleared: Annotated[
        bool, Query(description="Without `state`: also alarms that are cleared.")
    ] = False,
    condition: Annotated[
        tuple[Condition, ...], Query(description="By condition; of several, any.")
    ] = (),
    severity: Annotated[
        tuple[Severity, ...], Query(description="By severity; of several, any.")
    ] = (),
    subject: Annotated[
        str,
        Query(max_length=256, description="By subject, like a Link's id or a SOP Instance UID."),
    ] = "",
    acknowledged: Annotated[
        bool | None, Query(description="Whether a person has acknowledged it.")
    ] = None,
    since: Since = None,
    before: Before = None,
) -> AlarmSearch:
    either = None if cleared else False
    return AlarmSearch(
        conditions=condition,
        severities=severity,
        subject=subject,
        cleared=either if state is None else state is AlarmState.CLEARED,
        acknowledged=acknowledged,
        since=since,
        before=before,
    )


Searching = Annotated[AlarmSearch, Depends(_alarm_search)]


async def list_alarms(
    caller: InOrganisation, alarms: Administration, page: Paging, search: Searching
) -> PageOut[AlarmOut]:
    """List alarms.

    Returns the alarms of the organisation that match every given parameter, newest first.
    """
    return page_out(await alarms.alarms(caller, page, search=search), AlarmOut.model_validate)


async def acknowledge_alarm(
    caller: InOrganisation, alarms: Administration, alarm_id: RowId
) -> AlarmOut:
    """Acknowledge an alarm.

    Records that a person has seen it. Acknowledging it again keeps the first time and person.
    """
    return AlarmOut.model_validate(await alarms.acknowledge(caller, alarm_id))


ROUTES: Final = (
    Route(
        "GET",
        "/alarms",
        list_alarms,
        ALARM_READERS,
        REFUSED,
        "oversight",
        use_case=AlarmAdministration.alarms,
    ),
    Route(
        "POST",
        "/alarms/{alarm_id}/acknowledge",
        acknowledge_alarm,
        ALARM_READERS - {Role.AUDITOR},
        REFUSED,
        "oversight",
        use_case=AlarmAdministration.acknowledge,
        audit="alarm.acknowledge",
    ),
)
