"""Use cases of alarms: reading and acknowledging them."""

from swallowtail.cloud.model.audit import EventAction
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import RAISED, Alarm, AlarmSearch
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.ports.operations import Alarms


class AlarmAdministration:
    """Lists and acknowledges the alarms of the caller's organisation."""

    def __init__(self, alarms: Alarms, *, clock: Clock) -> None:
        self._alarms, self._clock = alarms, clock

    async def alarms(
        self, caller: Caller, page: PageRequest = FIRST_PAGE, *, search: AlarmSearch = RAISED
    ) -> Page[Alarm]:
        """Return the alarms that match, newest first."""
        return await self._alarms.alarms(caller.tenant, page, search=search)

    async def acknowledge(self, caller: Caller, alarm: int) -> Alarm:
        """Record that a person has seen an alarm; a second time keeps the first."""
        event = caller.event(EventAction.UPDATE, "alarm.acknowledge", ("alarm", str(alarm)))
        now = self._clock()
        return await self._alarms.acknowledge(caller.tenant, alarm, now=now, event=event)
