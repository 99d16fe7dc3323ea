"""The simulated modality is honest.

It tells the oracle what it heard, when, and about which message.
"""

import asyncio

import pytest

from swallowtail.dicom import uids
from swallowtail.dicom.commands import Command, Element, response_to
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import AssociateRequested, ReleaseRequested
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.net import serve
from swallowtail.dicom.pdu import RejectResult, RejectSource
from swallowtail.sansio.machine import CLOSED
from tests.world.loop import Process, WorldLoop
from tests.world.modality import Modality
from tests.world.network import SimulatedNetwork
from tests.world.oracle import Instance, Oracle, Outcome, Row, Rule

POLICY = AcceptorPolicy(sop_classes=frozenset({uids.VERIFICATION}), any_storage=True)
US = "1.2.840.10008.5.1.4.1.1.6.1"
DATA = [bytes([number]) * (number * 40_001) for number in (1, 2, 3)]
INSTANCES = [
    Instance(US, f"1.2.3.{number}", uids.EXPLICIT_VR_LITTLE_ENDIAN, data)
    for number, data in enumerate(DATA)
]


class Peer:
    """An acceptor with one way to behave; it keeps what it got."""

    def __init__(self, behaviour="store"):
        self.behaviour = behaviour
        self.got = {}

    async def __call__(self, connection):
        data, asked = bytearray(), None
        while (event := await connection.next_event()) is not CLOSED:
            match event:
                case AssociateRequested(request) if self.behaviour == "reject":
                    connection.reject(RejectResult.TRANSIENT, RejectSource.PROVIDER_PRESENTATION, 1)
                case AssociateRequested(request):
                    connection.accept(answer(request, POLICY))
                case CommandReceived(_, asked) if not asked.has_data_set:
                    connection.send(event.context.id, response_to(asked, 0))
                case CommandReceived(context, asked):
                    data = bytearray()
                    if self.behaviour == "abort":
                        connection.abort()
                case DataSetFragment(piece, last):
                    if self.behaviour == "stop reading":
                        await asyncio.sleep(1000)
                    data += piece
                    if last:
                        self.got[asked.sop_instance] = bytes(data)
                        await self.respond(connection, context, asked)
                case ReleaseRequested():
                    connection.release()

    async def respond(self, connection, context, asked):
        if self.behaviour == "late":
            await asyncio.sleep(30)
        if self.behaviour == "wrong message":
            response = Command(
                {
                    **dict(response_to(asked, 0).items()),
                    Element.RESPONDED_MESSAGE_ID: asked.message_id + 1,
                }
            )
            connection._dimse._owed[asked.message_id + 1] = (
                context.id
            )  # the machine would refuse it
            connection.send(context.id, response)
        elif self.behaviour != "mute":
            connection.send(
                context.id, response_to(asked, 0xA700 if self.behaviour == "refuse" else 0)
            )

    # as an archive that keeps at once what it got

    def rows(self):
        return [
            Row(*instance.identity, True)
            for instance in INSTANCES
            if instance.sop_instance in self.got
        ]

    def blob(self, digest):
        return next(
            (
                data
                for instance, data in zip(INSTANCES, self.got.values(), strict=False)
                if instance.digest == digest
            ),
            None,
        )


def world(behaviour, story):
    loop = WorldLoop(0)
    network = SimulatedNetwork(loop, 0)
    here, there = network.host("us1", "10.0.0.1"), network.host("link", "10.0.0.2")
    peer = Peer(behaviour)
    oracle = Oracle(peer)
    modality = Modality("US1", here, ("10.0.0.2", 104), oracle, loop, called="LINK")

    async def main():
        if behaviour != "nobody":
            await Process(loop, "link").spawn(serve(there, "10.0.0.2", 104, peer))
        return await story(modality)

    try:
        left = loop.run(main())
        assert not loop.problems
        return left, oracle, peer
    finally:
        loop.close()


def test_what_is_stored_arrives_byte_by_byte():
    left, oracle, peer = world("store", lambda modality: modality.store(INSTANCES))
    assert left == []
    assert list(peer.got.values()) == DATA
    assert oracle.counts == {"associate answered": 1, "store answered 0000": 3}
    oracle.judge_end(INSTANCES)
    assert oracle.findings == []


@pytest.mark.parametrize(
    ("behaviour", "count", "rule"),
    [
        ("refuse", "store answered A700", None),
        ("reject", "associate association rejected", None),
        ("abort", "store aborted", None),
        ("nobody", "associate no connection", None),
        ("late", "store answered 0000", Rule.LATE),
        ("mute", "store nothing heard", Rule.SILENT),
        ("stop reading", "store nothing heard", Rule.SILENT),
        ("wrong message", "store connection lost", Rule.WRONG_MESSAGE),
    ],
)
def test_it_hears_what_it_hears(behaviour, count, rule):
    big = Instance(US, "1.2.3.9", uids.EXPLICIT_VR_LITTLE_ENDIAN, bytes(1_000_000))
    left, oracle, _ = world(
        behaviour,
        lambda modality: modality.store([big if behaviour == "stop reading" else INSTANCES[0]]),
    )
    assert len(left) == (behaviour != "late")
    assert oracle.counts[count] == 1
    assert [
        finding.rule for finding in oracle.findings if finding.rule is not Rule.FALSE_SUCCESS
    ] == ([rule] if rule else [])


def test_an_echo_tells_who_listens():
    async def story(modality):
        responses = []
        modality.on_echo = responses.append
        return await modality.echo(), responses

    (answered, responses), oracle, _ = world("store", story)
    assert answered
    assert responses[0].outcome is Outcome.ANSWERED
    assert oracle.counts["echo answered 0000"] == 1
