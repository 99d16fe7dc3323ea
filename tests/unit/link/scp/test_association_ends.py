"""The log says of every association, of either direction, how it ended, which side ended it, and
why.
"""

import asyncio
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from swallowtail.calls.config import DestinationTimeouts
from swallowtail.calls.responses import Situation
from swallowtail.dicom.pace import Deadline
from swallowtail.wire.reasons import ResetReason
from tests.unit.link.archive import (
    BIG,
    DESTINATION,
    Archive,
    deliver,
    open_delivery,
    request_for,
    to,
)
from tests.unit.link.scp.test_listener import REQUEST, begin, ends, pour, store
from tests.unit.link.scu.test_faults import (
    _abort_mid_object,
    _close_mid_object,
    _release_mid_object,
    _wrong_id,
)
from tests.unit.link.stage import CONFIGURATION, Stage, no_credit, play

MID_MESSAGE = "in the middle of a message"


def ended(logs: list[Any], place: str) -> list[tuple[str, str]]:
    """Return state and reason of the associations of a listener or destination that ended."""
    return [
        (entry["state"], entry["reason"])
        for entry in logs
        if entry["event"] == "association ended" and place in entry.values()
    ]


# From a modality


async def _cloud_lost(stage: Stage, connection: Any) -> None:
    stage.cloud.store = no_credit
    begin(connection)
    await pour(connection, 100_000, last=False)
    stage.cloud.lose()
    while True:  # too slowly to be whole in time, and too fast to be a slow peer
        await asyncio.sleep(0.5)
        connection.send_data(bytes(2_000), last=False)


async def _too_slow(stage: Stage, connection: Any) -> None:
    begin(connection)
    await pour(connection, 100_000, last=False)


async def _aborts(stage: Stage, connection: Any) -> None:
    connection.abort()


async def _aborts_mid_message(stage: Stage, connection: Any) -> None:
    begin(connection)
    await pour(connection, 100_000, last=False)
    connection.abort()


async def _lost_mid_message(stage: Stage, connection: Any) -> None:
    begin(connection)
    await pour(connection, 100_000, last=False)
    await asyncio.sleep(1)
    connection._pump.abort()


async def _stops_idle(stage: Stage, connection: Any) -> None:
    stage.agent.stop()


async def _stops_mid_message(stage: Stage, connection: Any) -> None:
    begin(connection)
    await pour(connection, 100_000, last=False)
    await asyncio.sleep(1)
    stage.agent.stop()


async def _listener_removed(stage: Stage, connection: Any) -> None:
    begin(connection)
    await pour(connection, 100_000, last=False)
    await stage.cloud.configure(msgspec.structs.replace(CONFIGURATION, listeners=()))


async def _idle(stage: Stage, connection: Any) -> None:
    assert await store(connection, b"four") == 0


async def _speaks_something_else(stage: Stage, connection: Any) -> None:
    connection._pump._transport.write(b"\x99" * 12)


FROM_MODALITY = [
    (_cloud_lost, "aborted", Situation.CLOUD_LOST_INCOMPLETE),
    (_too_slow, "aborted", f"{Deadline.RATE.value}, {MID_MESSAGE}"),
    (_aborts, "aborted", "by the modality"),
    (_aborts_mid_message, "aborted", f"by the modality, {MID_MESSAGE}"),
    (_lost_mid_message, "lost", MID_MESSAGE),
    (_stops_idle, "aborted", "Link stops"),
    (_stops_mid_message, "aborted", "Link stops"),
    (_listener_removed, "aborted", "the listener was closed or changed"),
    (_idle, "aborted", Deadline.IDLE.value),
    (_speaks_something_else, "aborted", "PDU"),
]


@pytest.mark.parametrize(("happens", "state", "reason"), FROM_MODALITY)
def test_an_association_of_a_modality_ends_in_the_log_as_it_ended(happens, state, reason):
    async def scene(stage: Stage) -> None:
        with capture_logs() as logs:
            connection = await stage.associate(REQUEST)
            happening = stage.tasks.spawn(happens(stage, connection), name="happening")
            await asyncio.sleep(400)
            happening.cancel()
        ((found, why),) = ended(logs, "echo-room")
        assert (found, reason in why) == (state, True), why
        assert [(end.outcome, end.reason) for end in ends(stage)] in ([], [(found, why)])

    play(scene)


# To a destination


async def _reset(stage: Stage) -> None:
    channel = await open_delivery(stage, request_for(1, BIG))
    await channel.send(memoryview(BIG)[:500_000])
    channel.flush()
    await asyncio.sleep(1)
    channel.reset(ResetReason.CANCELLED)


async def _one(stage: Stage) -> None:
    await deliver(stage, 1, BIG)


async def _one_and_stop(stage: Stage) -> None:
    stage.tasks.spawn(deliver(stage, 1), name="running")
    await asyncio.sleep(1)
    stage.agent.stop()


TO_DESTINATION = [
    (_one, {}, "released", ""),
    (_one, {"behave": _abort_mid_object}, "aborted", "by the destination"),
    (_one, {"behave": _close_mid_object}, "lost", ""),
    (_one, {"behave": _release_mid_object}, "released", "by the destination"),
    (_one, {"respond": _wrong_id}, "aborted", "it answered a message id that was not asked"),
    (_one, {"pause": 60.0}, "aborted", "it did not answer an instance in time"),
    (_one, {"release_pause": 60.0}, "aborted", "it did not answer the release in time"),
    (_reset, {}, "aborted", "the transfer of an instance was given up"),
    (_one_and_stop, {"pause": 60.0}, "aborted", "Link stops"),
]


@pytest.mark.parametrize(("happens", "archive", "state", "reason"), TO_DESTINATION)
def test_an_association_with_a_destination_ends_in_the_log_as_it_ended(
    happens, archive, state, reason
):
    timeouts = DestinationTimeouts(response=20.0 if happens is _one else 120.0)

    async def scene(stage: Stage) -> None:
        await Archive(stage, **archive).open()
        with capture_logs() as logs:
            stage.tasks.spawn(happens(stage), name="happening")
            await asyncio.sleep(100)
        assert ended(logs, "pacs1") == [(state, reason)]

    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, timeouts=timeouts)))
