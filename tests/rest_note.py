"""A resource for the page docs/howto/add-a-rest-resource.md: notes in the audit chain.

Its use case and its handlers stand in one file here; in the product they are two.
"""

from typing import Annotated, Final

from swallowtail.cloud.model.audit import AuditSearch, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.paging import Page, PageRequest
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import Body, Out, PageOut, page_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ACCESS_MANAGERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided


class NoteAdministration:
    """Lists and creates notes."""

    def __init__(self, audit: Audit, *, clock: Clock) -> None:
        self._audit, self._clock = audit, clock

    async def notes(self, caller: Caller, page: PageRequest) -> Page[str]:
        """Return the notes, newest first."""
        search = AuditSearch(type="note.create")
        found = await self._audit.records(caller.tenant, page, search=search)
        return Page(tuple(one.event.detail for one in found.items), found.next)

    async def create(self, caller: Caller, text: str) -> str:
        """Create a note."""
        activity = EventId.APPLICATION_ACTIVITY
        event = caller.event(EventAction.CREATE, "note.create", event=activity, detail=text)
        await self._audit.append(caller.tenant, [event], now=self._clock())
        return text


Administration = Annotated[NoteAdministration, provided(NoteAdministration)]


class NoteOut(Out):
    """A note."""

    text: str


class NoteNew(Body):
    """A note to create."""

    text: str


async def list_notes(
    caller: InOrganisation, notes: Administration, page: Paging
) -> PageOut[NoteOut]:
    """List notes.

    Returns the notes, newest first.
    """
    return page_out(await notes.notes(caller, page), lambda text: NoteOut(text=text))


async def create_note(caller: InOrganisation, notes: Administration, body: NoteNew) -> NoteOut:
    """Create a note.

    Returns the note.
    """
    return NoteOut(text=await notes.create(caller, body.text))


ROUTES: Final = (
    Route(
        "GET",
        "/notes",
        list_notes,
        ACCESS_MANAGERS,
        REFUSED,
        "notes",
        use_case=NoteAdministration.notes,
    ),
    Route(
        "POST",
        "/notes",
        create_note,
        ACCESS_MANAGERS,
        REFUSED,
        "notes",
        201,
        use_case=NoteAdministration.create,
        audit="note.create",
    ),
)
