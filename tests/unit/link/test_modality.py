"""Associations and stores through the real Link, on a virtual clock."""

import pytest

from swallowtail.dicom.commands import CommandField, echo_request, store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.unit.link.stage import Stage, play

US = "1.2.840.10008.5.1.4.1.1.6.1"
UID = "1.2.826.0.1.3680043.8.498.1"
REQUEST = propose("SWALLOW", "US1", [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,)), (US, (EXPLICIT_VR_LITTLE_ENDIAN,))])


async def store(connection: Connection, body: bytes) -> int | None:
    """Send one instance; the status, None when the association ended instead."""
    number = connection.new_message_id()
    connection.send(3, store_request(number, US, UID))
    for at in range(0, len(body), 65_536):
        await connection.drain()
        connection.send_data(body[at : at + 65_536], last=at + 65_536 >= len(body))
    event = await connection.next_event()
    if not isinstance(event, CommandReceived):
        return None
    assert event.command.message_id == number
    assert event.command.field == CommandField.C_STORE_RSP
    return event.command.status


@pytest.mark.parametrize("size", [2, 1000, 65_528, 300_000, 9_000_000])
def test_what_the_cloud_gets_is_what_the_modality_sent(size):
    body = bytes(range(256)) * (size // 256 + 1)

    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        assert await store(connection, body[:size]) == 0x0000
        connection.send(1, echo_request(9, VERIFICATION))
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0
        assert stage.cloud.bodies[0].data == body[:size]
        assert stage.cloud.bodies[0].request.device == "us1"
        assert stage.cloud.bodies[0].request.sop_instance == UID

    play(scene)
