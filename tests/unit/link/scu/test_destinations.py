"""Store out over the simulated network, into a PACS of our own with one fault after another."""

import asyncio

import msgspec
import pytest

from swallowtail.calls.config import Transcoding
from swallowtail.calls.deliver import About, Delivered, DeliveryPhase, Expected, NotDelivered
from swallowtail.dicom.commands import Element, response_to
from swallowtail.dicom.negotiation import AcceptorPolicy
from swallowtail.link.policy import parse
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.reasons import ResetReason
from tests.unit.link.archive import (
    BIG,
    CT,
    DESTINATION,
    EXPLICIT,
    JPEG,
    PACS,
    US,
    Archive,
    answer_of,
    deliver,
    failed,
    open_delivery,
    request_for,
    send_body,
    to,
)
from tests.unit.link.stage import LINK, PORT, Stage, play


@pytest.mark.parametrize("size", [0, 1, 2, 65_527, 65_528, 65_529, 131_056, 3_000_001])
def test_the_destination_gets_the_bytes_and_the_cloud_its_status(size):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        answer = await deliver(stage, 1, BIG[:size], originator_ae="MOVER", originator_id=7)
        assert isinstance(answer, Delivered)
        assert (answer.length, answer.status, answer.comment) == (size, 0, "words")
        assert archive.stored == [("1.2.3.1", BIG[:size])]
        command = archive.commands[0]
        assert (command.sop_class, command.text(Element.MOVE_ORIGINATOR)) == (CT, "MOVER")
        assert (archive.requests[0].called, archive.requests[0].calling) == ("PACS", "SWALLOWTAIL")

    play(scene, configuration=to())


def test_an_association_serves_many_instances_and_is_released_when_idle():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        for number in range(1, 21):
            assert isinstance(await deliver(stage, number), Delivered)
        assert len(archive.requests) == 1
        assert archive.ends == []
        await asyncio.sleep(DESTINATION.timeouts.idle + 1)
        assert archive.ends == ["released"]
        assert isinstance(await deliver(stage, 21), Delivered)
        assert len(archive.requests) == 2

    play(scene, configuration=to())


def test_the_next_one_waits_in_its_window_and_follows_in_order():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=2.0).open()
        channels = []
        for number in (1, 2, 3):
            channels.append(await open_delivery(stage, request_for(number, BIG)))
            stage.tasks.spawn(send_body(channels[-1], BIG), name="body")
        await asyncio.sleep(1.5)
        assert [uid for uid, _ in archive.stored] == ["1.2.3.1"]
        sending = channels[1].machine.sending
        assert sending.sent > sending.received
        assert sending.credit == 0  # no more than its window has come
        answers = [await answer_of(channel) for channel in channels]
        assert all(isinstance(answer, Delivered) for answer in answers)
        assert [uid for uid, _ in archive.stored] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
        assert len(archive.commands) == 3

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("negotiated", "configured", "most"), [(1, 1, 1), (1, 3, 1), (2, 3, 2), (0, 3, 3), (2, 1, 1)]
)
def test_two_are_outstanding_only_where_it_was_negotiated(negotiated, configured, most):
    async def scene(stage: Stage) -> None:
        seen = []

        async def respond(connection, received) -> None:
            open_now.append(received)
            seen.append(len(open_now))
            stage.tasks.spawn(later(connection, received), name="later")

        async def later(connection, received) -> None:
            await asyncio.sleep(5.0)
            open_now.remove(received)
            connection.send(received.context.id, response_to(received.command, 0))

        open_now: list[object] = []
        archive = await Archive(stage, window=negotiated, respond=respond).open()
        jobs = [stage.tasks.spawn(deliver(stage, number), name="job") for number in range(1, 7)]
        await asyncio.wait(jobs)
        assert all(isinstance(job.result(), Delivered) for job in jobs)
        assert max(seen) == most
        assert (archive.requests[0].user.window is not None) == (configured > 1)

    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, outstanding=configured)))


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0xB000, 0xB006, 0xB007, 0xB123])
def test_a_warning_is_a_delivery(status):
    async def scene(stage: Stage) -> None:
        await Archive(stage, status=lambda _: status).open()
        answer = await deliver(stage, 1)
        assert isinstance(answer, Delivered)
        assert answer.status == status

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("status", "about"),
    [
        (0xA700, About.DESTINATION),
        (0xA7FF, About.DESTINATION),
        (0x0213, About.DESTINATION),
        (0xFE00, About.DESTINATION),
        (0xA900, About.INSTANCE),
        (0xC000, About.INSTANCE),
        (0xC123, About.INSTANCE),
        (0x0111, About.INSTANCE),
        (0x0122, About.INSTANCE),
        (0x0199, About.INSTANCE),
        (0x1234, About.INSTANCE),
    ],
)
def test_a_failure_states_its_subject(status, about):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, status=lambda _: status).open()
        answer = failed(
            await deliver(stage, 1), about, DeliveryPhase.RESPONSE, f"pacs1 answered {status:04X}"
        )
        assert (answer.status, answer.comment) == (status, "words")
        assert isinstance(await deliver(stage, 2), NotDelivered)
        assert len(archive.requests) == 1  # the association lives on

    play(scene, configuration=to())


# Order


def test_nothing_overtakes_one_that_failed():
    async def scene(stage: Stage) -> None:
        archive = await Archive(
            stage, pause=1, status=lambda command: 0xA700 if len(archive.commands) == 1 else 0
        ).open()
        first = stage.tasks.spawn(deliver(stage, 1), name="1")
        await archive.arrived.wait()
        second = stage.tasks.spawn(deliver(stage, 2, behind=1), name="2")
        third = stage.tasks.spawn(deliver(stage, 3, behind=2), name="3")
        failed(await first, About.DESTINATION, DeliveryPhase.RESPONSE)
        failed(await second, About.LINK, DeliveryPhase.QUEUE, "in its order")
        failed(await third, About.LINK, DeliveryPhase.QUEUE, "in its order")
        # asked for before the Cloud had heard of the failure, arrived after it
        failed(await deliver(stage, 3, behind=1), About.LINK, DeliveryPhase.QUEUE, "in its order")
        assert isinstance(await deliver(stage, 1, attempt=2), Delivered)
        assert isinstance(await deliver(stage, 3, behind=1), Delivered)
        assert [uid for uid, _ in archive.stored] == ["1.2.3.1", "1.2.3.1", "1.2.3.3"]

    play(scene, configuration=to())


@pytest.mark.parametrize("refused_first", [False, True])
def test_nothing_begins_behind_one_that_was_not_begun(refused_first):
    """The first is refused before anything was sent; those behind it come before or after that."""

    async def scene(stage: Stage) -> None:
        archive = await Archive(
            stage, policy=AcceptorPolicy(any_storage=True, transfer_syntaxes=frozenset({JPEG}))
        ).open()
        jobs = [stage.tasks.spawn(deliver(stage, 1), name="1")]
        if refused_first:
            await asyncio.wait(jobs)
        for number in (2, 3, 4):
            following = deliver(stage, number, behind=number - 1, transfer_syntax=JPEG)
            jobs.append(stage.tasks.spawn(following, name=str(number)))
        await asyncio.wait(jobs)
        failed(jobs[0].result(), About.INSTANCE, DeliveryPhase.CONTEXT)
        for job in jobs[1:]:
            failed(job.result(), About.LINK, DeliveryPhase.QUEUE, "in its order")
        assert archive.commands == []
        assert isinstance(await deliver(stage, 2, transfer_syntax=JPEG), Delivered)
        assert isinstance(await deliver(stage, 3, behind=2, transfer_syntax=JPEG), Delivered)

    play(
        scene, configuration=to(msgspec.structs.replace(DESTINATION, transcoding=Transcoding.NEVER))
    )


def test_nothing_begins_behind_one_that_the_cloud_gave_up():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        waiting = await open_delivery(stage, request_for(1, BIG))  # its turn, and no body comes
        behind = stage.tasks.spawn(deliver(stage, 2, behind=1), name="2")
        await asyncio.sleep(1)
        waiting.reset(ResetReason.CANCELLED)
        failed(await behind, About.LINK, DeliveryPhase.QUEUE, "in its order")
        failed(await deliver(stage, 3, behind=7), About.LINK, DeliveryPhase.QUEUE, "in its order")
        assert archive.commands == []

    play(scene, configuration=to())


def test_a_connection_queues_a_limited_number_of_deliveries():
    async def scene(stage: Stage) -> None:
        await Archive(stage, pause=1).open()
        jobs = [stage.tasks.spawn(deliver(stage, number), name="job") for number in range(1, 11)]
        await asyncio.wait(jobs)
        answers = [job.result() for job in jobs]
        assert sum(isinstance(answer, Delivered) for answer in answers) == 8
        assert {answer.about for answer in answers if isinstance(answer, NotDelivered)} == {
            About.LINK
        }

    play(scene, configuration=to())


# Presentation contexts


def test_each_pair_has_a_context_of_its_own_and_what_is_expected_is_asked_for_at_once():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        expected = (Expected(sop_class=US, transfer_syntaxes=(JPEG, EXPLICIT)),)
        assert isinstance(await deliver(stage, 1, expected=expected), Delivered)
        assert isinstance(await deliver(stage, 2, sop_class=US, transfer_syntax=JPEG), Delivered)
        assert isinstance(await deliver(stage, 3, sop_class=US), Delivered)
        assert len(archive.requests) == 1
        contexts = archive.requests[0].contexts
        assert all(len(context.transfer_syntaxes) == 1 for context in contexts)
        wanted = [(context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts]
        assert wanted[:3] == [(CT, EXPLICIT), (US, JPEG), (US, EXPLICIT)]

    play(
        scene, configuration=to(msgspec.structs.replace(DESTINATION, transcoding=Transcoding.NEVER))
    )


def test_a_context_that_was_not_proposed_replaces_the_association():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        for number, sop_class in enumerate((CT, US, CT, US), 1):
            assert isinstance(await deliver(stage, number, sop_class=sop_class), Delivered)
        assert len(archive.requests) == 2  # the second has both
        assert archive.ends == ["released"]

    play(scene, configuration=to())


# Policy


def test_a_destination_outside_the_policy_is_refused_with_its_file():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.POLICY, "policy.toml")
        assert archive.requests == []

    play(
        scene,
        configuration=to(),
        policy=parse(b'[outbound]\nallow=[{network="10.9.0.0/16"}]', "policy.toml"),
    )


def test_a_name_is_judged_by_what_it_resolves_to_and_connected_there():
    names = {"pacs.hospital": ("127.0.0.1", PACS), "evil.hospital": ("169.254.169.254",)}
    named = msgspec.structs.replace(DESTINATION, host="pacs.hospital")
    evil = msgspec.structs.replace(DESTINATION, name="evil", host="evil.hospital")
    unknown = msgspec.structs.replace(DESTINATION, name="unknown", host="typo.hospital")

    async def scene(stage: Stage) -> None:
        stage.names.update(names)
        archive = await Archive(stage).open()
        assert isinstance(await deliver(stage, 1), Delivered)
        assert len(archive.stored) == 1
        failed(
            await deliver(stage, 2, destination="evil"),
            About.DESTINATION,
            DeliveryPhase.POLICY,
            "metadata service",
        )
        failed(
            await deliver(stage, 3, destination="unknown"),
            About.DESTINATION,
            DeliveryPhase.RESOLVE,
            "check its spelling",
        )

    play(scene, configuration=to(named, evil, unknown))


def test_of_several_addresses_the_next_is_tried_when_one_accepts_no_connection():
    async def scene(stage: Stage) -> None:
        stage.names["pacs.hospital"] = ("10.0.0.21", PACS)
        stage.network.host("10.0.0.21", "10.0.0.21")
        archive = await Archive(stage).open()
        assert isinstance(await deliver(stage, 1), Delivered)
        assert len(archive.stored) == 1

    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, host="pacs.hospital")))


@pytest.mark.parametrize("listens_at", [LINK, "0.0.0.0"])  # of every address Link does not know all
def test_link_itself_is_no_destination(listens_at):
    async def scene(stage: Stage) -> None:
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.POLICY, "Link itself")

    made = to(msgspec.structs.replace(DESTINATION, host=LINK, port=PORT))
    listener = msgspec.structs.replace(made.listeners[0], address=listens_at)
    play(scene, configuration=msgspec.structs.replace(made, listeners=(listener,)))


def test_new_targets_are_limited_and_known_ones_are_not():
    many = tuple(
        msgspec.structs.replace(DESTINATION, name=f"pacs{n}", port=100 + n) for n in range(1, 13)
    )

    async def scene(stage: Stage) -> None:
        stage.network.host(PACS, PACS)
        answers = [await deliver(stage, n, destination=f"pacs{n}") for n in range(1, 13)]
        assert [answer.phase for answer in answers] == [DeliveryPhase.CONNECT] * 10 + [
            DeliveryPhase.LIMIT
        ] * 2
        failed(answers[-1], About.LINK, DeliveryPhase.LIMIT, "is tried again in")
        assert 0 < answers[-1].after <= 60
        assert (await deliver(stage, 1, destination="pacs1")).phase is DeliveryPhase.CONNECT
        await asyncio.sleep(61)
        assert (await deliver(stage, 12, destination="pacs12")).phase is DeliveryPhase.CONNECT

    play(scene, configuration=to(*many))


# Configuration


def test_what_link_does_not_run_is_refused_as_its_own_failure():
    async def scene(stage: Stage) -> None:
        failed(
            await deliver(stage, 1, configuration=2),
            About.LINK,
            DeliveryPhase.QUEUE,
            "runs version 1",
        )
        failed(
            await deliver(stage, 1, destination="other"),
            About.LINK,
            DeliveryPhase.QUEUE,
            "no destination 'other'",
        )
        failed(
            await deliver(stage, 1, connection=1), About.LINK, DeliveryPhase.QUEUE, "connection 1"
        )
        for wrong in (
            {"sop_instance": "1.2.ä"},
            {"originator_ae": "x" * 17},
            {"originator_ae": "A", "originator_id": 70_000},
        ):
            with pytest.raises(ChannelResetError, match="MALFORMED"):
                await deliver(stage, 1, **wrong)

    play(scene, configuration=to())


def test_a_changed_destination_ends_its_instance_and_is_then_asked_anew():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=3).open()
        other = await Archive(stage).open(port=105)
        running = stage.tasks.spawn(deliver(stage, 1, BIG), name="running")
        await archive.arrived.wait()
        await stage.cloud.configure(
            to(msgspec.structs.replace(DESTINATION, port=105, ae_title="NEW"))
        )
        following = await deliver(stage, 2)
        assert isinstance(await running, Delivered)
        assert isinstance(following, Delivered)
        assert archive.ends == ["released"]
        assert [uid for uid, _ in other.stored] == ["1.2.3.2"]
        assert other.requests[0].called == "NEW"
        await stage.cloud.configure(
            to(msgspec.structs.replace(DESTINATION, port=105, ae_title="NEW", description="words"))
        )
        assert isinstance(await deliver(stage, 3), Delivered)
        assert len(other.requests) == 1  # nothing that an association depends on

    play(scene, configuration=to())


def test_a_removed_destination_completes_its_instance_and_accepts_no_other():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=3).open()
        running = stage.tasks.spawn(deliver(stage, 1), name="running")
        await archive.arrived.wait()
        waiting = stage.tasks.spawn(deliver(stage, 2), name="waiting")
        await asyncio.sleep(0.1)
        await stage.cloud.configure(msgspec.structs.replace(to(), destinations=()))
        failed(await deliver(stage, 3), About.LINK, DeliveryPhase.QUEUE)
        assert isinstance(await running, Delivered)
        failed(await waiting, About.LINK, DeliveryPhase.QUEUE, "no longer")
        await asyncio.sleep(1)
        assert archive.ends == ["released"]
        assert len(archive.stored) == 1
        await stage.cloud.configure(to())
        assert isinstance(await deliver(stage, 2), Delivered)

    play(scene, configuration=to())


# The end of Link


@pytest.mark.parametrize(("pause", "delivered"), [(3.0, True), (60.0, False)])
def test_link_stops_after_what_runs_within_its_limit(pause, delivered):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=pause).open()
        running = stage.tasks.spawn(deliver(stage, 1), name="running")
        await archive.arrived.wait()
        waiting = stage.tasks.spawn(deliver(stage, 2), name="waiting")
        await asyncio.sleep(0.1)
        stage.agent.stop()
        began = stage.loop.time()
        answer = await running
        assert isinstance(answer, Delivered) == delivered
        assert delivered or answer.about is About.LINK
        failed(await waiting, About.LINK, DeliveryPhase.QUEUE)
        await stage.running
        assert stage.loop.time() - began < 13
        await asyncio.sleep(60)
        assert archive.ends == ["released" if delivered else "Aborted"]

    play(scene, configuration=to())


def test_link_releases_what_is_idle_when_it_stops():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        other = await Archive(stage).open(port=105)
        assert isinstance(await deliver(stage, 1), Delivered)
        assert isinstance(await deliver(stage, 2, destination="second"), Delivered)
        assert archive.ends == other.ends == []
        began = stage.loop.time()
        stage.agent.stop()
        await stage.running
        assert stage.loop.time() - began < 1
        assert archive.ends == other.ends == ["released"]

    second = msgspec.structs.replace(DESTINATION, name="second", port=105)
    play(scene, configuration=msgspec.structs.replace(to(), destinations=(DESTINATION, second)))


def test_link_that_stops_waits_for_a_release_that_is_under_way():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, release_pause=3.0).open()
        assert isinstance(await deliver(stage, 1), Delivered)
        await asyncio.sleep(DESTINATION.timeouts.idle + 1)
        assert archive.ends == []
        stage.agent.stop()
        await stage.running
        assert archive.ends == ["released"]

    play(scene, configuration=to())


# What the Cloud sees


def test_the_endpoints_say_how_each_destination_did_last():
    async def scene(stage: Stage) -> None:
        def states() -> list[tuple[str, str, int]]:
            return [
                (one.name, one.state, one.connections) for one in stage.agent.destinations.states
            ]

        assert states() == [("pacs1", "unused", 0)]
        stage.network.host(PACS, PACS)
        await deliver(stage, 1)
        assert states() == [("pacs1", "failed", 0)]
        assert "refused the connection" in stage.agent.destinations.states[0].detail
        await Archive(
            stage, status=lambda command: 0xA900 if command.sop_instance == "1.2.3.9" else 0
        ).open()
        await deliver(stage, 1)
        assert states() == [("pacs1", "reached", 1)]
        await deliver(stage, 9)
        assert states() == [("pacs1", "reached", 1)]
        await asyncio.sleep(5)
        reported = [seen for seen in stage.cloud.seen if hasattr(seen, "endpoints")][-1].endpoints
        assert [(one.name, one.kind, one.state) for one in reported] == [
            ("echo-room", "listener", "listening"),
            ("pacs1", "destination", "reached"),
        ]
        await asyncio.sleep(4000)
        assert states() == [("pacs1", "unused", 0)]

    play(scene, configuration=to())
