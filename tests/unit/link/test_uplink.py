"""The session with the Cloud: hello, refusals, coming back, reports, goodbye.

On a virtual clock.
"""

import asyncio
import itertools

import pytest

from swallowtail.calls.report import AssociationEnded, EndpointStates
from swallowtail.calls.responses import Situation
from swallowtail.dicom.indications import AssociateRejected
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.wire.control import GoodbyeReason, RefuseReason
from swallowtail.wire.handshake import CloudHello
from swallowtail.wire.net import Session
from swallowtail.wire.session import SessionMachine
from tests.unit.link.stage import CLOUD, LINK, Stage, play
from tests.world import uplink as simulated

REQUEST = propose("SWALLOW", "US1", [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,))])


async def back(stage: Stage, sessions: int) -> float:
    """Wait until the Cloud has welcomed so many sessions; the time."""
    while len(stage.cloud.sessions) < sessions:
        stage.cloud.arrived.clear()
        await stage.cloud.arrived.wait()
    await asyncio.sleep(0.1)
    assert stage.agent.uplink.session is not None
    return stage.loop.time()


def test_a_lost_session_is_reopened_within_two_seconds_and_endpoint_states_are_reported():
    async def scene(stage: Stage) -> None:
        lost = stage.loop.time()
        stage.cloud.lose()
        assert await back(stage, 2) - lost < 2
        await asyncio.sleep(2)
        reported = [seen for seen in stage.cloud.seen if isinstance(seen, EndpointStates)]
        assert reported[-1].endpoints[0].state == "listening"

    play(scene)


def test_a_silent_uplink_is_found_dead_after_45_seconds_and_until_then_nothing_is_claimed():
    async def scene(stage: Stage) -> None:
        stage.network.partition(stage.hosts[LINK], stage.hosts[CLOUD])
        began = stage.loop.time()
        session = stage.agent.uplink.session
        assert session is not None
        await asyncio.wait([session.closed])
        assert 44 < stage.loop.time() - began <= 46
        assert stage.agent.uplink.session is None
        answer = await stage.associate(REQUEST)
        assert isinstance(answer, AssociateRejected)
        assert (answer.answer.result, answer.answer.source, answer.answer.reason) == (2, 3, 1)
        stage.network.heal(stage.hosts[LINK], stage.hosts[CLOUD], forgotten=True)
        healed = stage.loop.time()
        assert await back(stage, 2) - healed < 50
        assert isinstance(await stage.associate(REQUEST), Connection)

    play(scene)


def test_listeners_stay_open_while_the_cloud_is_offline_and_reject_associations():
    async def scene(stage: Stage) -> None:
        stage.cloud.offline = True
        stage.cloud.lose()
        await asyncio.sleep(100)
        assert isinstance(await stage.associate(REQUEST), AssociateRejected)
        assert [state.state for state in stage.agent.endpoints.states] == ["listening"]
        stage.cloud.offline = False
        await back(stage, 2)
        await asyncio.sleep(3)
        ends = [seen for seen in stage.cloud.seen if isinstance(seen, AssociationEnded)]
        assert [(end.outcome, end.reason) for end in ends] == [
            ("rejected", Situation.CLOUD_OFFLINE)
        ]

    play(scene)


def test_after_goodbye_no_new_work_is_begun():
    async def scene(stage: Stage) -> None:
        stage.cloud.sessions[0].goodbye(GoodbyeReason.DRAINING, retry_after=40.0)
        said = stage.loop.time()
        await asyncio.sleep(0.5)
        assert stage.agent.uplink.session is None
        assert 40 <= await back(stage, 2) - said < 52, "the Cloud asked Link to stay away for 40 s"

    play(scene)


@pytest.mark.parametrize(
    ("reason", "floor"),
    [
        (RefuseReason.CODE, 30),
        (RefuseReason.KEY, 30),
        (RefuseReason.BUSY, 0),
        (RefuseReason.CAPABILITY, 60),
    ],
)
def test_a_refused_link_waits_as_the_wire_specifies(reason, floor):
    async def scene(stage: Stage) -> None:
        met: list[float] = []

        async def refuse(link: simulated.SimulatedUplink) -> None:
            met.append(stage.loop.time())
            hello = CloudHello(capabilities=(), nonce=bytes(32), verify=lambda *_: True)
            async with Session(SessionMachine(hello, now=stage.loop.time()), link) as session:
                await session.hello()
                session.refuse(reason, "for a test")
                await asyncio.wait([session.closed])

        await simulated.serve(stage.hosts[CLOUD], CLOUD, 443, refuse, stage.tasks.spawn)
        stage.tasks.spawn(stage.agent.run(), name="link")
        await asyncio.sleep(400)
        waits = [later - earlier for earlier, later in itertools.pairwise(met)]
        assert len(waits) >= 3
        assert min(waits) >= floor
        assert max(waits) <= max(31, floor * 1.25 + 1)

    play(scene, configuration=None, start=False)


def test_the_connection_to_a_silent_cloud_is_closed_at_the_hello_deadline():
    async def scene(stage: Stage) -> None:
        met: list[float] = []

        async def say_nothing(_: simulated.SimulatedUplink) -> None:
            met.append(stage.loop.time())
            await asyncio.sleep(1000)

        await simulated.serve(stage.hosts[CLOUD], CLOUD, 443, say_nothing, stage.tasks.spawn)
        stage.tasks.spawn(stage.agent.run(), name="link")
        await asyncio.sleep(100)
        assert len(met) > 1
        assert met[1] - met[0] < 20 + 5 + 2

    play(scene, configuration=None, start=False)


def test_reports_that_found_no_cloud_are_sent_when_it_is_back_and_counted():
    async def scene(stage: Stage) -> None:
        stage.cloud.offline = True
        stage.cloud.lose()
        await asyncio.sleep(1)
        for _ in range(5):
            await stage.associate(REQUEST)
        assert not [seen for seen in stage.cloud.seen if isinstance(seen, AssociationEnded)]
        stage.cloud.offline = False
        await back(stage, 2)
        await asyncio.sleep(3)
        assert (
            sum(seen.count for seen in stage.cloud.seen if isinstance(seen, AssociationEnded)) == 5
        )

    play(scene)


def test_no_listener_exists_before_the_first_configuration():
    async def scene(stage: Stage) -> None:
        await back(stage, 1)
        await asyncio.sleep(5)
        assert stage.hosts[LINK].ports == {}

    play(scene, configuration=None)
