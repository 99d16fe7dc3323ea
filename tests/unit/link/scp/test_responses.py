"""Every row of `dimse_services.table`, provoked against the real Link.

The sender receives the response of the row.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from swallowtail.calls.config import Configuration
from swallowtail.calls.dicom_listener import EchoMeaning, Timeouts
from swallowtail.calls.dimse_services.responses import (
    AssociationAbort,
    AssociationRejection,
    ContextRejection,
    DicomResponse,
    StatusResponse,
)
from swallowtail.calls.dimse_services.storage import FAILED_STORES_UNTIL_ABORT
from swallowtail.calls.dimse_services.table import RESPONSE_TABLE
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import NotStoredReason, Stored
from swallowtail.dicom.commands import echo_request, encode, store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import Aborted, AssociateRejected, Released
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.unit.link.stage import (
    CONFIGURATION,
    LISTENER,
    Stage,
    commit,
    committed_as,
    play,
    refuse,
    silence,
)

US, CT = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
UID = "1.2.826.0.1.3680043.8.498.1"
ECHO, STORE = 1, 3  # context ids, in the order proposed
BODY = b"an invented data set" * 10

Provocation = Callable[[Stage], Awaitable[DicomResponse]]
PROVOKED: dict[tuple[Situation, str], tuple[Provocation, Configuration]] = {}


def provokes(situation: Situation, column: str, **listener: object):
    """Enter a provocation; `listener` changes the listener's settings."""
    changed = msgspec.structs.replace(LISTENER, **listener)
    configuration = msgspec.structs.replace(CONFIGURATION, listeners=(changed,))

    def enter(provocation: Provocation) -> Provocation:
        PROVOKED[situation, column] = (provocation, configuration)
        return provocation

    return enter


def request(
    called: str = "SWALLOW", calling: str = "US1", classes: tuple[str, ...] = (VERIFICATION, US)
):
    return propose(called, calling, [(uid, (EXPLICIT_VR_LITTLE_ENDIAN,)) for uid in classes])


async def asked(stage: Stage, *arguments: str, **more: object) -> DicomResponse:
    """Ask for an association that is expected to be rejected."""
    answer = await stage.associate(request(*arguments, **more))
    assert isinstance(answer, AssociateRejected), answer
    return AssociationRejection(answer.answer.result, answer.answer.source, answer.answer.reason)


async def associated(stage: Stage) -> Connection:
    connection = await stage.associate(request())
    assert isinstance(connection, Connection), connection
    return connection


async def responses(connection: Connection) -> DicomResponse:
    """Hear one answer, and whether the association outlives it."""
    event = await connection.next_event()
    if isinstance(event, Aborted):
        return AssociationAbort(event.source, event.reason)
    assert isinstance(event, CommandReceived), event
    if not connection.closed:
        connection.release()
    last = await connection.next_event()
    assert isinstance(last, Aborted | Released), last
    return StatusResponse(event.command.status, then_abort=isinstance(last, Aborted))


async def aborted(connection: Connection) -> DicomResponse:
    """Hear an A-ABORT; its reason says what was wrong, the table says by whom."""
    answer = await responses(connection)
    assert isinstance(answer, AssociationAbort)
    return AssociationAbort(answer.source)


def begin_store(connection: Connection, *, uid: str = UID, sop_class: str = US) -> None:
    connection.send(STORE, store_request(connection.new_message_id(), sop_class, uid))


def pdv(context_id: int, data: bytes, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context_id, control) + data


async def stored(stage: Stage, **more: str) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection, **more)
    connection.send_data(BODY, last=True)
    return await responses(connection)


async def echoed(connection: Connection) -> DicomResponse:
    connection.send(ECHO, echo_request(connection.new_message_id(), VERIFICATION))
    return await responses(connection)


async def lose_the_cloud(stage: Stage) -> None:
    session = stage.agent.uplink.session
    assert session is not None
    stage.cloud.offline = True
    stage.cloud.lose()
    await asyncio.wait([session.closed])


async def reconfigure(stage: Stage, **listener: object) -> None:
    changed = msgspec.structs.replace(LISTENER, **listener)
    await stage.cloud.configure(msgspec.structs.replace(CONFIGURATION, listeners=(changed,)))


@provokes(Situation.CLOUD_OFFLINE, "association")
async def _(stage: Stage) -> DicomResponse:
    await lose_the_cloud(stage)
    return await asked(stage)


@provokes(Situation.TOO_MANY_ASSOCIATIONS, "association", max_associations_per_address=1)
async def _(stage: Stage) -> DicomResponse:
    await associated(stage)
    return await asked(stage)


@provokes(Situation.UNKNOWN_CALLING_AE, "association")
async def _(stage: Stage) -> DicomResponse:
    return await asked(stage, "SWALLOW", "NOBODY")


@provokes(Situation.UNKNOWN_CALLED_AE, "association")
async def _(stage: Stage) -> DicomResponse:
    return await asked(stage, "SPARROW")


@provokes(Situation.SERVICE_NOT_ALLOWED, "association", services=("verification",))
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    assert connection.agreement is not None
    return ContextRejection(connection.agreement.refused[STORE])


@provokes(Situation.SOP_CLASS_NOT_CONFIGURED, "association")
async def _(stage: Stage) -> DicomResponse:
    connection = await stage.associate(request(classes=(VERIFICATION, WORKLIST)))
    return ContextRejection(connection.agreement.refused[STORE])


@provokes(Situation.INVALID_PDU, "association")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    connection._pump._transport.write(
        b"\x09\x00\x00\x00\x00\x04ABCD"
    )  # a PDU type that does not exist
    return await aborted(connection)


@provokes(Situation.INVALID_MESSAGE, "association")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    connection._pump._transport.write(
        pdv(ECHO, BODY, control=2)
    )  # a data set that no command announced
    return await aborted(connection)


@provokes(Situation.PEER_TIMEOUT, "association", timeouts=Timeouts(idle=20.0))
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    began = stage.loop.time()
    answer = await responses(connection)
    assert 19 < stage.loop.time() - began < 21
    return answer


@provokes(Situation.STORED, "C-ECHO")
async def _(stage: Stage) -> DicomResponse:
    return await echoed(await associated(stage))


@provokes(Situation.LINK_ECHO, "C-ECHO", echo=EchoMeaning.LINK)
async def _(stage: Stage) -> DicomResponse:
    await lose_the_cloud(stage)
    return await echoed(await stage.associate(request(classes=(VERIFICATION,))))


@provokes(Situation.CLOUD_LOST, "C-ECHO")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    await lose_the_cloud(stage)
    return await echoed(connection)


@provokes(Situation.SERVICE_NOT_ALLOWED, "C-ECHO")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    await reconfigure(stage, services=("storage",))
    return await echoed(connection)


@provokes(Situation.SOP_CLASS_NOT_CONFIGURED, "C-ECHO")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    connection.send(ECHO, echo_request(connection.new_message_id(), CT))
    return await responses(connection)


@provokes(Situation.STORED, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = commit
    return await stored(stage)


@provokes(Situation.REPEATED, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = committed_as(Stored.SAME)
    return await stored(stage)


@provokes(Situation.REPEATED_DIFFERENTLY, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = committed_as(Stored.CONFLICT)
    return await stored(stage)


@provokes(Situation.CLOUD_LOST, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = silence
    began = stage.loop.time()
    answer = await stored(stage)
    assert 20 < stage.loop.time() - began < 25
    return answer


@provokes(Situation.CLOUD_LOST_INCOMPLETE, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection)
    connection.send_data(BODY, last=False)
    await lose_the_cloud(stage)
    began = stage.loop.time()
    answer = await responses(connection)
    assert 9 < stage.loop.time() - began < 11
    return answer


@provokes(Situation.THIRD_FAILURE, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = refuse(NotStoredReason.STORAGE_UNAVAILABLE)
    connection = await associated(stage)
    for _ in range(FAILED_STORES_UNTIL_ABORT):
        begin_store(connection)
        connection.send_data(BODY, last=True)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0xA700
    return await responses(connection)


@provokes(Situation.STORAGE_UNAVAILABLE, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    stage.cloud.store = refuse(NotStoredReason.STORAGE_UNAVAILABLE)
    return await stored(stage)


@provokes(Situation.TOO_LARGE, "C-STORE", max_object=1_048_576)
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection)
    for _ in range(17):
        connection.send_data(bytes(65_536), last=False)
        await connection.drain()
    event = await connection.next_event()
    assert isinstance(event, CommandReceived)
    assert isinstance(await connection.next_event(), Aborted)
    return StatusResponse(event.command.status, then_abort=True)


@provokes(Situation.MALFORMED, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    answer = await stored(stage, uid="../../etc/passwd")
    assert stage.cloud.bodies == [], "nothing of it goes to the Cloud"
    return answer


@provokes(Situation.SERVICE_NOT_ALLOWED, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    await reconfigure(stage, services=("verification",))
    begin_store(connection)
    connection.send_data(BODY, last=True)
    return await responses(connection)


@provokes(Situation.SOP_CLASS_NOT_CONFIGURED, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    return await stored(stage, sop_class=CT)


@provokes(Situation.INVALID_PDU, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection)
    connection.send_data(BODY, last=False)
    connection._pump._transport.write(b"\x09\x00\x00\x00\x00\x04ABCD")
    return await aborted(connection)


@provokes(Situation.INVALID_MESSAGE, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection)
    connection.send_data(BODY, last=False)
    connection._pump._transport.write(
        pdv(ECHO, encode(echo_request(9, VERIFICATION)), control=3)
    )  # in the middle of the data set
    return await aborted(connection)


@provokes(Situation.PEER_TIMEOUT, "C-STORE")
async def _(stage: Stage) -> DicomResponse:
    connection = await associated(stage)
    begin_store(connection)
    connection.send_data(BODY, last=False)
    return await aborted(connection)


ROWS = {
    (situation, column): answer
    for column, answers in RESPONSE_TABLE.items()
    for situation, answer in answers.items()
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].name}-{row[1]}")
def test_the_sender_hears_what_the_table_says(row):
    provocation, configuration = PROVOKED[row]
    heard_by_sender: list[DicomResponse] = []

    async def scene(stage: Stage) -> None:
        heard_by_sender.append(await provocation(stage))

    play(scene, configuration=configuration)
    assert heard_by_sender == [ROWS[row]]


def test_no_provocation_is_left_over():
    assert set(PROVOKED) == set(ROWS)
