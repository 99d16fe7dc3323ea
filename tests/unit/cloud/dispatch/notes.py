"""A second payload kind over a second route: notes of a few bytes, which the Cloud itself sends."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    insert,
    literal,
    select,
)

from swallowtail.calls.config import AtCap
from swallowtail.cloud.dispatch.attempt import AttemptRequest, AttemptResult, Progress
from swallowtail.cloud.dispatch.outcomes import Outcome, Success
from swallowtail.cloud.dispatch.payloads.kind import PayloadField, PayloadKind
from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.delivery import Target
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.payloads import PayloadSource
from swallowtail.cloud.records.prepared import Prepared
from tests.conformance.invented import NORTH

NOTE = "note"
BOARD = Target(link="", destination="board")
note = Table(
    "note",
    MetaData(),
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("tenant", "facility", "subject", "text")),
)
NOTES = PayloadSource(
    find=Prepared(
        select(
            note.c.facility,
            literal("").label("parent"),
            note.c.subject,
            literal("").label("type"),
            literal("text/plain").label("format"),
        ).where(note.c.tenant == bindparam("tenant"), note.c.id == bindparam("reference"))
    ),
    transferred=EventId.APPLICATION_ACTIVITY,
    deleted="the note was deleted; write it again",
)
NOTE_KIND = PayloadKind(
    name=NOTE,
    fields=(
        PayloadField("note", "reference", {"type": "integer"}),
        PayloadField("subject", "identifier", {"type": "string", "maxLength": 64}),
    ),
    write_status=lambda status: f"{status} of the board",
)


def add_notes(connection: Connection, tenant: Tenant, facility: str, *subjects: str) -> None:
    """Create the table of notes with a row for each subject, numbered from 1."""
    note.create(connection)
    for number, subject in enumerate(subjects, 1):
        row = {"id": number, "tenant": tenant, "facility": facility, "subject": subject, "text": ""}
        connection.execute(insert(note), row)
    connection.commit()


@dataclass(frozen=True)
class Board:
    """The settings of a destination of the test route."""

    name: str = "board"
    connections: int = 1
    outstanding: int = 1
    attempts: int = 2
    at_cap: AtCap = AtCap.PARK
    patience: float = 10.0


@dataclass
class CloudRoute:
    """The Cloud itself as a route; `respond` decides about each note by its subject."""

    boards: Mapping[str, Board] = field(default_factory=lambda: {"board": Board()})
    respond: Callable[[str], Outcome] = lambda _: Success(status=200, seconds=0.25)
    tenant: Tenant = NORTH
    link: str = ""
    epoch: int = 0
    session_ended: bool = False
    sent: list[str] = field(default_factory=list)

    def sender(self, kind: str) -> "CloudRoute":
        assert kind == NOTE
        return self

    async def destinations(self) -> tuple[int, Mapping[str, Board]]:
        return 1, self.boards

    async def attempt(
        self, request: AttemptRequest[Board], progress: Progress
    ) -> tuple[Outcome, str]:
        progress.note()
        progress.sent.set()
        await asyncio.sleep(0)
        subject = request.lease.delivery.payload.identifier
        outcome = self.respond(subject)
        delivered = isinstance(outcome, Success)
        progress.result = AttemptResult.DELIVERED if delivered else AttemptResult.FAILED
        if delivered:
            self.sent.append(subject)
        return outcome, "text/plain"
