"""A modality sends what nobody can read, through a real Link.

Acknowledged, listed, examined, deleted, sent again.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swallowtail.dicom.commands import store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection, associate
from swallowtail.runtime.network import AsyncioNetwork
from swallowtail.sim.dicom_files import Sample, ultrasound_study
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from tests.programs import quiet, sound

WITHIN = 30.0


async def store(port: int, sample: Sample, data_set: bytes) -> int:
    """Send bytes as the data set of a sample; return the status."""
    sop_class, sop_instance = str(sample.sop_class), str(sample.sop_instance)
    request = propose("SWALLOWTAIL", "US1", [(sop_class, (str(sample.transfer_syntax),))])
    connection = await associate(AsyncioNetwork(), "127.0.0.1", port, request)
    assert isinstance(connection, Connection)
    try:
        connection.send(1, store_request(connection.new_message_id(), sop_class, sop_instance))
        for at in range(0, len(data_set), 65_536):
            connection.send_data(data_set[at : at + 65_536], last=at + 65_536 >= len(data_set))
            await connection.drain()
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        return event.command.status
    finally:
        await connection.close()


def until(site: Installation, value: Callable[[], Any], expected: Any) -> None:
    deadline = time.monotonic() + WITHIN
    while (found := value()) != expected:
        assert time.monotonic() < deadline, found
        sound(site.programs)
        threading.Event().wait(0.05)


def test_a_malformed_instance_is_acknowledged_and_can_be_dealt_with(tmp_path: Path) -> None:
    with Installation(tmp_path / "site", listeners=[Listening("imaging", more=ANY_DEVICE)]) as site:
        sample = ultrasound_study(tmp_path)[1]
        whole = sample.data_set()
        malformed = whole[: len(whole) // 2 // 2 * 2]
        path = "/api/v1/unindexed-instances"

        def unindexed() -> list[str]:
            return [one["state"] for one in site.rest.items(path)]

        def counts() -> list[int]:
            alarms = site.rest.items("/api/v1/alarms")
            return [one["count"] for one in alarms if one["condition"] == "instance-quarantined"]

        assert asyncio.run(store(site.port("imaging"), sample, malformed)) == 0x0000
        until(site, unindexed, ["quarantined"])
        assert counts() == [1]
        (item,) = site.rest.items(f"{path}?state=quarantined&sop_instance={sample.sop_instance}")
        assert item["problem"]
        assert item["calling_ae"] == "US1"
        file = site.rest.fetch(f"/api/v1/instances/{item['id']}/file")
        assert file[128:132] == b"DICM"
        assert file.endswith(malformed)
        assert site.rest.fetch(f"/api/v1/instances/{item['id']}/dataset") == malformed

        queued = site.rest.json(f"{path}/reindex", method="POST", body={"instances": [item["id"]]})
        assert queued == {"queued": 1}
        until(site, counts, [2])
        assert unindexed() == ["quarantined"], "nothing has changed about the bytes"

        site.rest.json(f"/api/v1/instances/{item['id']}?reason=damaged", method="DELETE")
        assert (unindexed(), counts()) == ([], [])
        assert asyncio.run(store(site.port("imaging"), sample, whole)) == 0x0000
        site.wait_for_instances(1, sample.study)
        (good,) = site.instances(sample.study)
        assert (good["visible"], good["stored"]) == (True, "new")
    for program in site.programs:
        quiet(program.output)
