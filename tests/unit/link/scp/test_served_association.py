"""A second DIMSE service: pending responses, cancel, and the association while it responds.

The service is the tests' own (`tests.dicom.query_provider`), beside the ones of the product.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from swallowtail.calls.dicom_listener import Timeouts
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import (
    Command,
    CommandField,
    Element,
    Priority,
    echo_request,
    request,
    store_request,
)
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import Aborted, AssociateRejected, ConnectionLost, Released
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection, associate
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.link.scp import operation as operation_module
from swallowtail.link.scp.listener import ApplicationEntity
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.served_association import BEFORE_RESPONSE, INTERNAL, MID_MESSAGE
from swallowtail.link.scp.services.storage.storage import StorageProvider
from swallowtail.link.scp.services.table import Providers
from swallowtail.link.scp.services.verification import VerificationProvider
from tests.dicom.query_provider import MAX_IDENTIFIER, QueryProvider
from tests.unit.link.stage import LINK, LISTENER, MODALITY, Stage, play

QUERY_PORT = 11_113
US = "1.2.840.10008.5.1.4.1.1.6.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
ECHO, STORE, FIND = 1, 3, 5  # context ids, in the order proposed
REQUEST = propose(
    "SWALLOW",
    "US1",
    [(uid, (EXPLICIT_VR_LITTLE_ENDIAN,)) for uid in (VERIFICATION, US, WORKLIST)],
)
SETTINGS = msgspec.structs.replace(
    LISTENER,
    name="query",
    port=QUERY_PORT,
    services=("verification", "storage", "query"),
    timeouts=Timeouts(idle=100.0),  # less than the SCU waits for a response
)
IDENTIFIER = b"an identifier that Link does not decode!"
PENDING, CANCELLED = 0xFF00, 0xFE00
CANCEL_RQ = CommandField.C_CANCEL_RQ

Matches = Callable[[bytes], AsyncGenerator[bytes, None]]


class QueryScene:
    """A listener with the tests' service beside the product's, on the stage's Link."""

    def __init__(
        self, stage: Stage, matches: Matches | None, provider: type[QueryProvider]
    ) -> None:
        class Provider(provider):
            pass

        if matches is not None:
            Provider.matches = staticmethod(matches)
        self.stage = stage
        providers = Providers(VerificationProvider, StorageProvider, Provider)
        self.entity = ApplicationEntity(SETTINGS, stage.agent.state, providers)

    async def open(self) -> None:
        await self.entity.open(self.stage.hosts[LINK], LINK, QUERY_PORT)

    async def associate(self) -> Connection:
        hosts = self.stage.hosts
        connection = await associate(
            hosts[MODALITY], LINK, QUERY_PORT, REQUEST, buffers=self.stage.buffers
        )
        assert isinstance(connection, Connection), connection
        return connection

    async def emptied(self) -> None:
        """Wait until the listener has no connection."""
        async with asyncio.timeout(60):
            await self.entity._empty.wait()


def on_query_scene(
    scene: Callable[[QueryScene], object],
    matches: Matches | None = None,
    *,
    provider: type[QueryProvider] = QueryProvider,
) -> None:
    async def main(stage: Stage) -> None:
        queries = QueryScene(stage, matches, provider)
        await queries.open()
        await scene(queries)
        await queries.entity.drain(0.0, stopping=True)

    play(main)


def find(connection: Connection, identifier: bytes = IDENTIFIER) -> int:
    number = connection.new_message_id()
    elements = {Element.AFFECTED_SOP_CLASS: WORKLIST, Element.PRIORITY: Priority.MEDIUM}
    connection.send(FIND, request(CommandField.C_FIND_RQ, number, data_set=True, elements=elements))
    connection.send_data(identifier, last=True)
    return number


def cancel(connection: Connection, message_id: int) -> None:
    elements = {
        Element.COMMAND_FIELD: CANCEL_RQ,
        Element.RESPONDED_MESSAGE_ID: message_id,
        Element.DATA_SET_TYPE: 0x0101,
    }
    connection.send(FIND, Command(elements))


async def response(connection: Connection) -> tuple[int, int, bytes]:
    """Return message id, status and data set of the next response."""
    event = await connection.next_event()
    assert isinstance(event, CommandReceived), event
    data = b""
    last = not event.command.has_data_set
    while not last:
        fragment = await connection.next_event()
        assert isinstance(fragment, DataSetFragment), fragment
        data += fragment.data
        last = fragment.last
    return event.command.message_id, event.command.status, data


async def statuses(connection: Connection) -> list[int]:
    """Return the statuses up to the first that is final."""
    found = [PENDING]
    while found[-1] == PENDING:
        found.append((await response(connection))[1])
    return found[1:]


async def echo(connection: Connection) -> int:
    connection.send(ECHO, echo_request(connection.new_message_id(), VERIFICATION))
    return (await response(connection))[1]


async def slow_matches(identifier: bytes) -> AsyncGenerator[bytes, None]:
    """One match each second, without end."""
    while True:
        yield identifier
        await asyncio.sleep(1)


async def no_match(identifier: bytes) -> AsyncGenerator[bytes, None]:
    """No match, and no end."""
    await asyncio.Event().wait()
    yield identifier


def test_matches_are_pending_responses_with_a_data_set_each_and_then_success():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection)
        for _ in range(3):
            assert await response(connection) == (number, PENDING, IDENTIFIER)
        assert await response(connection) == (number, 0x0000, b"")
        assert await echo(connection) == 0

    on_query_scene(scene)


@pytest.mark.parametrize("size", [2, 16_384, MAX_IDENTIFIER])
def test_an_identifier_of_any_size_is_read_as_it_was_sent(size):
    identifier = bytes(range(256)) * 256

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection, identifier[:size])
        assert await response(connection) == (number, PENDING, identifier[:size])

    on_query_scene(scene)


def test_an_identifier_above_the_limit_is_answered_at_once_and_the_association_aborted():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        find(connection, bytes(MAX_IDENTIFIER + 2))
        assert (await response(connection))[1] == 0xA700
        assert isinstance(await connection.next_event(), Aborted)

    on_query_scene(scene)


def test_a_request_without_its_data_set_is_refused():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = connection.new_message_id()
        elements = {Element.AFFECTED_SOP_CLASS: WORKLIST}
        connection.send(
            FIND, request(CommandField.C_FIND_RQ, number, data_set=False, elements=elements)
        )
        assert await response(connection) == (number, 0xC001, b"")

    on_query_scene(scene)


def test_a_service_that_the_listener_no_longer_enables_is_refused():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        queries.entity.update(msgspec.structs.replace(SETTINGS, services=("verification",)))
        find(connection)
        assert await statuses(connection) == [0x0124]

    on_query_scene(scene)


# Cancel


@pytest.mark.parametrize("matches", [slow_matches, no_match])
def test_cancel_ends_the_responses_and_the_association_continues(matches):
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection)
        await asyncio.sleep(2.5)
        cancel(connection, number)
        async with asyncio.timeout(0.5):
            assert (await statuses(connection))[-1] == CANCELLED
        assert await echo(connection) == 0
        connection.release()
        assert isinstance(await connection.next_event(), Released)

    on_query_scene(scene, matches)


def test_cancel_of_another_message_and_after_the_final_response_has_no_effect():
    async def four(identifier: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(4):
            yield identifier
            await asyncio.sleep(1)

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection)
        cancel(connection, number + 1)
        assert await statuses(connection) == [PENDING] * 4 + [0x0000]
        cancel(connection, number)
        assert await echo(connection) == 0
        find(connection)
        assert await statuses(connection) == [PENDING] * 4 + [0x0000]

    on_query_scene(scene, four)


def test_cancel_in_the_middle_of_many_large_responses_leaves_none_incomplete():
    async def large(identifier: bytes) -> AsyncGenerator[bytes, None]:
        while True:
            yield bytes(200_000)

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection)
        for _ in range(5):
            assert await response(connection) == (number, PENDING, bytes(200_000))
        cancel(connection, number)
        found = [PENDING]
        while found[-1] == PENDING:
            _, status, data = await response(connection)
            found.append(status)
            assert len(data) == (200_000 if status == PENDING else 0)
        assert found[-1] == CANCELLED
        assert await echo(connection) == 0

    on_query_scene(scene, large)


# The association while a service responds


class Watched:
    """Matches without end, of which it is known whether they are still produced."""

    def __init__(self, match: bytes = IDENTIFIER, pause: float = 1.0) -> None:
        self.produced = 0
        self.ended = False
        self._match = match
        self._pause = pause

    async def __call__(self, identifier: bytes) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.produced += 1
                yield self._match
                await asyncio.sleep(self._pause)
        finally:
            self.ended = True


def test_a_release_while_a_service_responds_is_answered_after_the_final_response():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        find(connection)
        await response(connection)
        connection.release()
        assert (await statuses(connection))[-1] == CANCELLED
        assert isinstance(await connection.next_event(), Released)
        await queries.emptied()

    on_query_scene(scene, slow_matches)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Connection.abort, f"by the modality, {BEFORE_RESPONSE}"),
        (lambda connection: connection._pump.abort(), BEFORE_RESPONSE),
        (lambda connection: connection._pump._transport.write(b"\x99" * 12), "PDU"),
    ],
)
def test_an_association_that_ends_while_a_service_responds_stops_it(end, reason):
    watched = Watched()

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        find(connection)
        await asyncio.sleep(3.5)
        with capture_logs() as logs:
            end(connection)
            await queries.emptied()
        assert watched.produced == 4
        (entry,) = [one for one in logs if one["event"] == "association ended"]
        assert reason in entry["reason"]

    on_query_scene(scene, watched)
    assert watched.produced == 4


def test_a_request_that_arrives_before_the_final_response_waits_unread():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection)
        await response(connection)
        later = connection.new_message_id()
        connection.send(STORE, store_request(later, US, "1.2.3"))
        unsent = 0
        while unsent < 100:  # until nobody takes more
            connection.send_data(bytes(65_536), last=False)
            unsent += 1
            try:
                async with asyncio.timeout(5):
                    await connection.drain()
            except TimeoutError:
                break
        assert unsent < 40, "what waits is bounded"
        assert queries.stage.cloud.bodies == []
        connection.send_data(b"end!", last=True)
        answered = [await response(connection) for _ in range(30)]
        assert {number: status for number, status, _ in answered} == {number: 0x0000, later: 0x0000}
        assert [one for one, _, _ in answered] == [number] * 29 + [later]

    async def thirty(identifier: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(29):
            yield identifier
            await asyncio.sleep(1)

    on_query_scene(scene, thirty)


def test_the_last_fragment_stays_as_it_is_while_the_association_is_read_on():
    held: list[tuple[bytes, bytes]] = []

    class Holding(QueryProvider):
        async def serve(self, operation: Operation) -> None:
            fragment = await operation.next_fragment()
            assert fragment is not None
            before = bytes(fragment.data)
            await asyncio.sleep(5)  # as a store that waits for credit; C-CANCEL arrives meanwhile
            held.append((before, bytes(fragment.data)))
            await operation.respond(CANCELLED)

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = find(connection, b"?" * 200)
        await asyncio.sleep(1)
        for _ in range(20):
            cancel(connection, number + 1)
        assert await statuses(connection) == [CANCELLED]

    on_query_scene(scene, provider=Holding)
    assert held == [(b"?" * 200, b"?" * 200)]


def test_a_service_that_responds_late_is_not_an_idle_association():
    async def late(identifier: bytes) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(SETTINGS.timeouts.idle + 100)
        yield identifier

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        find(connection)
        assert await statuses(connection) == [PENDING, 0x0000]

    on_query_scene(scene, late)


def test_a_modality_that_does_not_read_its_responses_costs_one_buffer_until_a_deadline():
    watched = Watched(bytes(100_000), pause=0.0)

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        with capture_logs() as logs:
            find(connection)
            await asyncio.sleep(50)
            produced = watched.produced
            assert produced < 30
            await asyncio.sleep(30)
            await queries.emptied()
        assert watched.produced <= produced + 1
        (entry,) = [one for one in logs if one["event"] == "association ended"]
        assert entry["reason"] == operation_module.UNREAD_RESPONSES

    on_query_scene(scene, watched)
    assert watched.ended


def test_a_modality_that_reads_its_responses_too_slowly_is_aborted(monkeypatch):
    monkeypatch.setattr(operation_module, "RESPONSE_LIMIT", 20.0)
    watched = Watched(bytes(100_000), pause=0.0)

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        with capture_logs() as logs:
            find(connection)
            async with asyncio.timeout(300):
                while queries.entity.connections:
                    await connection.next_event()
                    await asyncio.sleep(15)
        (entry,) = [one for one in logs if one["event"] == "association ended"]
        assert entry["reason"] == operation_module.UNREAD_RESPONSES

    on_query_scene(scene, watched)


def test_a_message_that_ends_with_the_association_never_reaches_the_service():
    watched = Watched()

    async def scene(queries: QueryScene) -> None:
        for end in (Connection.abort, Connection.release, lambda one: one._pump.abort()):
            connection = await queries.associate()
            number, elements = connection.new_message_id(), {Element.AFFECTED_SOP_CLASS: WORKLIST}
            asked = request(CommandField.C_FIND_RQ, number, data_set=True, elements=elements)
            connection.send(FIND, asked)
            connection.send_data(b"half", last=False)
            await asyncio.sleep(1)
            with capture_logs() as logs:
                end(connection)
                await queries.emptied()
            (entry,) = [one for one in logs if one["event"] == "association ended"]
            assert MID_MESSAGE in entry["reason"] or entry["reason"] == Situation.INVALID_PDU

    on_query_scene(scene, watched)
    assert watched.produced == 0


def test_a_refused_message_that_is_not_completed_is_aborted_at_the_deadline():
    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        number = connection.new_message_id()
        unknown = request(
            CommandField.N_GET_RQ,
            number,
            data_set=True,
            elements={Element.REQUESTED_SOP_CLASS: US},
        )
        connection.send(STORE, unknown)
        connection.send_data(b"half", last=False)
        began = queries.stage.loop.time()
        with capture_logs() as logs:
            assert isinstance(await connection.next_event(), Aborted)
            await queries.emptied()
        assert 9 < queries.stage.loop.time() - began < 11.5
        (entry,) = [one for one in logs if one["event"] == "association ended"]
        assert entry["reason"] == operation_module.INCOMPLETE

    on_query_scene(scene)


# Faults of a provider


def test_a_provider_that_fails_ends_its_association_alone():
    async def broken(identifier: bytes) -> AsyncGenerator[bytes, None]:
        raise LookupError("a fault")
        yield identifier

    async def scene(queries: QueryScene) -> None:
        failing, other = await queries.associate(), await queries.associate()
        with capture_logs() as logs:
            find(failing)
            assert isinstance(await failing.next_event(), Aborted)
            await asyncio.sleep(2)
        entries = {one["event"]: one for one in logs}
        assert entries["association ended"]["reason"] == INTERNAL
        assert entries["task failed"]["error"] == "LookupError"
        assert await echo(other) == 0

    on_query_scene(scene, broken)


# The stop of Link


def test_stop_lets_the_running_operation_end_and_aborts_the_association():
    async def three(identifier: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield identifier
            await asyncio.sleep(1)

    async def scene(queries: QueryScene) -> None:
        busy, idle = await queries.associate(), await queries.associate()
        find(busy)
        await response(busy)
        began = queries.stage.loop.time()
        draining = queries.stage.tasks.spawn(
            queries.entity.drain(10.0, stopping=True), name="draining"
        )
        assert isinstance(await idle.next_event(), Aborted)
        assert (await statuses(busy))[-1] == 0x0000
        assert isinstance(await busy.next_event(), Aborted)
        await draining
        assert queries.stage.loop.time() - began < 5

    on_query_scene(scene, three)


def test_stop_aborts_an_operation_without_end_at_its_limit():
    watched = Watched()

    async def scene(queries: QueryScene) -> None:
        connection = await queries.associate()
        find(connection)
        await response(connection)
        began = queries.stage.loop.time()
        await queries.entity.drain(10.0, stopping=True)
        assert 9.9 < queries.stage.loop.time() - began < 13
        last = await connection.next_event()
        while isinstance(last, CommandReceived | DataSetFragment):
            last = await connection.next_event()
        assert isinstance(last, Aborted | ConnectionLost)

    on_query_scene(scene, watched)
    assert watched.ended


# Negotiation


def test_the_services_contexts_follow_from_its_declaration():
    deflated = "1.2.840.10008.1.2.1.99"

    async def scene(queries: QueryScene) -> None:
        contexts = [(WORKLIST, (deflated,)), (WORKLIST, (EXPLICIT_VR_LITTLE_ENDIAN,))]
        asked = propose("SWALLOW", "US1", contexts)
        hosts = queries.stage.hosts
        connection = await associate(hosts[MODALITY], LINK, QUERY_PORT, asked)
        assert not isinstance(connection, AssociateRejected)
        assert connection.agreement.refused == {1: 4}
        assert list(connection.agreement.contexts) == [3]
        queries.entity.update(msgspec.structs.replace(SETTINGS, services=("storage",)))
        connection = await associate(hosts[MODALITY], LINK, QUERY_PORT, asked)
        assert connection.agreement.refused == {1: 1, 3: 1}

    on_query_scene(scene)
