"""A second listener protocol, registered in the tables and nowhere else (`tests.line_echo`)."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swallowtail.calls import config
from swallowtail.calls.config import Applied, Configuration, ConfigurationRefused, dump, parse
from swallowtail.calls.report import EndpointStates
from swallowtail.link import protocols
from swallowtail.link.agent import Agent, Facts
from swallowtail.link.device_key import DeviceKey
from swallowtail.link.endpoints import Endpoints
from swallowtail.link.policy import DEFAULT
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import AsyncioNetwork
from swallowtail.runtime.tasks import Tasks
from swallowtail.sim.processes import free_port
from tests.line_echo import NAME, LineEchoListener, registered
from tests.link_calls import CALLS
from tests.unit.link.stage import CONFIGURATION, LINK, MODALITY, Stage, play
from tools import generate_responses

PORT = 7777
ECHO = LineEchoListener(name="echo", port=PORT, address=LINK, prefix="> ")
BOTH = msgspec.structs.replace(CONFIGURATION, listeners=(*CONFIGURATION.listeners, ECHO))
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "add-a-listener-protocol.md"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch)


class Peer(asyncio.Protocol):
    """A connection to the listener: what it received, and whether it is closed."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = asyncio.Event()
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self.news.set()

    async def send(self, line: bytes) -> bytes:
        """Send a line and return what came back, empty when the connection was closed."""
        self.received = b""
        self.transport.write(line + b"\n")
        while not self.received.endswith(b"\n") and not self.closed.is_set():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 5)
        return self.received.rstrip(b"\n")


async def connect(stage: Stage) -> Peer:
    _, peer = await stage.hosts[MODALITY].connect(Peer, LINK, PORT)
    return peer


def states(stage: Stage) -> dict[str, tuple[str, int]]:
    """Return what the Cloud was told last of each endpoint."""
    reports = [seen for seen in stage.cloud.seen if isinstance(seen, EndpointStates)]
    return {one.name: (one.state, one.connections) for one in reports[-1].endpoints}


def reconfigured(**changes: Any) -> Configuration:
    changed = msgspec.structs.replace(ECHO, **changes)
    return msgspec.structs.replace(BOTH, listeners=(*CONFIGURATION.listeners, changed))


def test_it_is_opened_reported_and_changed_without_a_new_connection():
    async def scene(stage: Stage) -> None:
        peer = await connect(stage)
        assert await peer.send(b"hello") == b"> hello"
        answer = await stage.cloud.configure(reconfigured(prefix="# "))
        assert isinstance(answer, Applied)
        assert {(one.name, one.state, one.connections) for one in answer.endpoints} == {
            ("echo-room", "listening", 0),
            ("echo", "listening", 1),
        }
        assert await peer.send(b"again") == b"# again"
        await asyncio.sleep(2)
        assert states(stage)["echo"] == ("listening", 1)

    play(scene, configuration=BOTH)


def test_every_row_of_its_responses_is_what_a_peer_receives():
    async def scene(stage: Stage) -> None:
        long, offline = await connect(stage), await connect(stage)
        assert await long.send(b"x" * 81) == b"too long"
        await asyncio.wait_for(long.closed.wait(), 5)
        stage.cloud.offline = True
        stage.cloud.lose()
        await asyncio.sleep(1)
        assert await offline.send(b"hello") == b""
        assert offline.closed.is_set()

    play(scene, configuration=BOTH)


def test_it_is_drained_when_its_listener_is_removed_and_when_link_stops():
    async def scene(stage: Stage) -> None:
        peer = await connect(stage)
        await stage.cloud.configure(CONFIGURATION)
        assert await peer.send(b"still there") == b"> still there"
        with pytest.raises(ConnectionRefusedError):
            await connect(stage)
        await asyncio.wait_for(peer.closed.wait(), 31)
        await stage.cloud.configure(BOTH)
        last = await connect(stage)
        assert await last.send(b"hello") == b"> hello"
        stage.agent.stop()
        await asyncio.wait_for(last.closed.wait(), 11)

    play(scene, configuration=BOTH)


def test_a_port_that_changes_its_protocol_is_closed_first():
    async def scene(stage: Stage) -> None:
        dicom = msgspec.structs.replace(CONFIGURATION.listeners[0], port=PORT)
        answer = await stage.cloud.configure(
            msgspec.structs.replace(CONFIGURATION, listeners=(dicom,))
        )
        assert isinstance(answer, Applied)
        assert ("echo-room", "listening") in {(one.name, one.state) for one in answer.endpoints}
        assert set(stage.agent.endpoints.running) == {(LINK, PORT)}

    play(scene, configuration=BOTH)


def test_a_link_without_the_protocol_refuses_the_document_and_announces_no_capability():
    async def scene(stage: Stage) -> None:
        only_dicom = {"dicom": protocols.PROTOCOLS["dicom"]}
        facts = Facts("CODE", DeviceKey(bytes(range(32))), DEFAULT, "0.1.0", "test", "link-host")
        stage.agent = Agent(stage.world, facts, only_dicom)
        await stage.start()
        assert stage.cloud.sessions[-1].machine.peer_capabilities == {
            "listener:dicom",
            *CALLS,
        }
        refused = await stage.cloud.configure(BOTH)
        assert isinstance(refused, ConfigurationRefused)
        (problem,) = refused.problems
        assert problem.field == "$.listeners[1].protocol"
        assert "'line-echo' is not supported; this release supports dicom" in problem.message
        assert set(stage.agent.endpoints.running) == {(LINK, 11112)}, "what ran before runs on"

    play(scene, start=False)


def test_a_link_announces_every_protocol_of_its_table():
    async def scene(stage: Stage) -> None:
        assert stage.cloud.sessions[-1].machine.peer_capabilities == {
            "listener:dicom",
            "listener:line-echo",
            *CALLS,
        }

    play(scene, configuration=BOTH)


async def test_it_serves_a_port_of_this_machine():
    listener = LineEchoListener(name="echo", port=free_port(), address="127.0.0.1")
    state = LinkState(session=object, random=bytes, wall=lambda: 0.0)
    async with Tasks("test") as tasks:
        endpoints = Endpoints(
            AsyncioNetwork(), DEFAULT, tasks, protocols.PROTOCOLS, state, changed=lambda: None
        )
        document = parse(dump(Configuration(listeners=(listener,))))
        assert await endpoints.apply(document, lambda: None) == ()
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_connection(Peer, "127.0.0.1", listener.port)
        assert await peer.send(b"hello") == b"hello"
        assert [(one.state, one.connections) for one in endpoints.states] == [("listening", 1)]
        await endpoints.drain(5.0)
        assert peer.closed.is_set() or await peer.send(b"") == b""


def test_its_settings_are_checked_by_its_own_rules():
    document = (
        b'{"listeners":[{"protocol":"line-echo","name":"e","port":1,"prefix":">>","max_line":2}]}'
    )
    with pytest.raises(config.InvalidConfigurationError) as refused:
        parse(document)
    assert [one.field for one in refused.value.problems] == ["$.listeners[0].prefix"]
    accepted = parse(document.replace(b'"max_line":2', b'"max_line":3'))
    assert isinstance(accepted.listeners[0], LineEchoListener)
    assert parse(dump(accepted)) == accepted


def test_the_conformance_page_has_its_table():
    page = generate_responses.page()
    assert f"## Protocol `{NAME}`" in page
    assert "line 'too long', then the connection is closed" in page


def test_every_protocol_has_settings_a_server_and_responses():
    assert set(config.LISTENERS) == set(protocols.PROTOCOLS)


def test_the_page_names_the_files_that_a_protocol_edits():
    lines = PAGE.read_text().splitlines()
    assert len(lines) <= 40
    edited = re.findall(r"^\| edit \| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    tables = {
        f"src/{module.__name__.replace('.', '/')}.py": name
        for module, name in ((config, "LISTENERS"), (protocols, "PROTOCOLS"))
    }
    assert set(edited) == set(tables)
    for path, name in tables.items():
        assert (PAGE.parents[2] / path).is_file()
        assert f"`{name}`" in PAGE.read_text()
