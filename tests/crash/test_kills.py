"""The real programs under load, killed again and again.

No instance that a modality saw acknowledged is ever lost.

`make test`: at least 1,000 acknowledged over at least 20 kills; `make soak`: 20,000 over 500. What
was acknowledged is compared byte by byte with the blob store and the database that the last kill
left.
"""

import asyncio
import hashlib
import random
import sqlite3
import struct
import threading
import time
from contextlib import closing, suppress

import pytest

from swallowtail.dicom import uids
from swallowtail.dicom.commands import store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection, associate
from swallowtail.runtime.network import AsyncioNetwork
from swallowtail.sim.installation import Installation
from tests.modes import amount

ACKNOWLEDGED = amount(1_000, 20_000)
KILLS = amount(20, 500)
MODALITIES = 4
PER_ASSOCIATION = 20
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"
SYNTAX = uids.EXPLICIT_VR_LITTLE_ENDIAN
ROOT = "1.2.826.0.1.3680043.10.999"


def data_set(uid):
    """A small ultrasound image of an invented patient; the same UID, the same bytes."""

    def element(group, number, vr, value):
        value += (b" " if vr == b"PN" else b"\0") * (len(value) % 2)
        head = struct.pack("<HH2s", group, number, vr)
        return (
            head
            + (struct.pack("<HI", 0, len(value)) if vr == b"OW" else struct.pack("<H", len(value)))
            + value
        )

    pixels = random.Random(uid).randbytes(random.Random(uid).choice((200, 2_000, 12_000, 70_000)))
    return b"".join((
        element(0x0008, 0x0016, b"UI", SOP_CLASS.encode()),
        element(0x0008, 0x0018, b"UI", uid.encode()),
        element(0x0010, 0x0010, b"PN", b"Heron^Ada"),
        element(0x0020, 0x000D, b"UI", f"{ROOT}.1".encode()),
        element(0x0020, 0x000E, b"UI", f"{ROOT}.2".encode()),
        element(0x7FE0, 0x0010, b"OW", pixels),
    ))  # fmt: skip


class Load(threading.Thread):
    """Modalities that send without a pause, and try again what was not acknowledged."""

    def __init__(self, port, called):
        super().__init__(name="load")
        self.acknowledged = set()
        self.problems = []
        self.stopping = False
        self._where = ("127.0.0.1", port)
        self._called = called
        self._number = 0

    def run(self):
        try:
            asyncio.run(self._all())
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.problems.append(error)

    async def _all(self):
        await asyncio.gather(*(self._modality() for _ in range(MODALITIES)))

    def _next_uid(self):
        self._number += 1
        return f"{ROOT}.3.{self._number}"

    async def _modality(self):
        pending = []
        while not self.stopping:
            pending += [self._next_uid() for _ in range(PER_ASSOCIATION - len(pending))]
            with suppress(OSError):  # Link is not there at the moment
                await self._send(pending)
            await asyncio.sleep(0.02 if len(pending) < PER_ASSOCIATION else 0.1)

    async def _send(self, pending):
        request = propose(self._called, "US1", [(SOP_CLASS, (SYNTAX,))])
        connection = await associate(AsyncioNetwork(), *self._where, request)
        if not isinstance(connection, Connection):
            return
        try:
            for uid in list(pending):
                if self.stopping or not await self._store(connection, uid):
                    return
                self.acknowledged.add(uid)
                pending.remove(uid)
        finally:
            await connection.close()

    async def _store(self, connection, uid):
        context = connection.agreement.context_for(SOP_CLASS)
        message_id = connection.new_message_id()
        connection.send(context.id, store_request(message_id, SOP_CLASS, uid))
        connection.send_data(data_set(uid), last=True)
        async with asyncio.timeout(40):
            event = await connection.next_event()
        if not isinstance(event, CommandReceived):
            return False
        assert event.command.message_id == message_id
        return event.command.status == 0


ROWS = "SELECT sop_instance, transfer_syntax, sha256, visible, tenant FROM instance"


def rows_of_file(folder):
    """The instances in the embedded database."""
    with closing(sqlite3.connect(f"file:{folder / 'cloud.sqlite3'}?mode=ro", uri=True)) as database:
        return database.execute(ROWS).fetchall()


def lost(folder, rows, acknowledged):
    """What was acknowledged and is not, or not whole, or more than once, in the database and the
    blob store.
    """
    kept = {}
    for uid, syntax, sha256, visible, tenant in rows:
        kept.setdefault(uid, []).append((syntax, sha256.hex(), bool(visible), tenant))
    for uid in sorted(acknowledged):
        data = data_set(uid)
        digest = hashlib.sha256(data).hexdigest()
        if [row[:3] for row in kept.get(uid, [])] != [(SYNTAX, digest, True)]:
            yield uid, kept.get(uid)
        elif (folder / "blobs" / kept[uid][0][3] / digest[:2] / digest).read_bytes() != data:
            yield uid, "the blob differs"


@pytest.fixture
def site(tmp_path):
    with Installation(tmp_path) as site:
        site.rest.close()
        site.operator.close()
        yield site


def test_nothing_acknowledged_is_lost_however_often_the_programs_are_killed(site, record_property):
    random_source = random.Random(2)
    load = Load(site.port("imaging"), site.called_ae("imaging"))
    load.start()
    kills = 0
    try:
        while (kills < KILLS or len(load.acknowledged) < ACKNOWLEDGED) and load.is_alive():
            before, patience = len(load.acknowledged), time.monotonic() + 60
            target = before + random_source.randint(1, 2 * ACKNOWLEDGED // KILLS)
            while (
                len(load.acknowledged) < target and load.is_alive()
            ):  # killed in the middle of whatever is under way then
                assert time.monotonic() < patience, (
                    f"no store succeeds any more: {site.link.text()[-2000:]}"
                )
                load.join(0.005)
            if random_source.random() < 0.7:
                site.link.kill()
                site.start_link()
            else:
                site.cloud.kill()
                site.start_cloud()
            kills += 1
    finally:
        load.stopping = True
        load.join(60)
    assert not load.problems
    site.link.kill()
    site.cloud.kill()
    record_property("acknowledged", len(load.acknowledged))
    print(f"{len(load.acknowledged)} acknowledged, {kills} kills")
    folder = site.folder / "cloud"
    assert list(lost(folder, rows_of_file(folder), load.acknowledged)) == []
