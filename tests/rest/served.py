"""A Cloud in a process of its own, a client of its API, and a Link that is only a wire client."""

import asyncio
import signal
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    CONFIGURE,
    Applied,
    ConfigurationRefused,
    EndpointState,
    parse,
    read_configure,
)
from swallowtail.calls.diagnostics import PING, Pong, read_ping
from swallowtail.calls.document import Problem
from swallowtail.calls.report import REPORT, Observation, ObservationReport, read_noted
from swallowtail.calls.store import (
    STORE,
    StoreAnswer,
    StoreRequest,
    read_store_answer,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.runtime.tasks import Tasks
from swallowtail.sim.installation import SWALLOWTAIL, announcements, with_source
from swallowtail.sim.processes import Program
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.frames import MAX_FRAME, ChannelPriority
from swallowtail.wire.handshake import LinkHello
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.session import SessionMachine
from swallowtail.wire.transport import SUBPROTOCOL
from swallowtail.wire.websocket import LinkConnection, WebSocketTransport
from tests.link_calls import CALLS
from tests.programs import sound

START_SECONDS = 60
ULTRASOUND_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
T = TypeVar("T")


def store_request(
    uid: str, sop_class: str = ULTRASOUND_IMAGE, transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN
) -> StoreRequest:
    """Give what a Link asks to store an instance."""
    return StoreRequest(
        listener="store",
        peer="192.0.2.7",
        calling_ae="US1",
        called_ae="SWALLOWTAIL",
        association=bytes(16),
        sop_class=sop_class,
        sop_instance=uid,
        transfer_syntax=transfer_syntax,
    )


class CloudProcess:
    """`swallowtail cloud serve` on a folder and a free port.

    `facts` is the line that it has printed.
    """

    def __init__(self, data: Path, *options: str) -> None:
        argv = [
            *SWALLOWTAIL,
            "cloud",
            "serve",
            "--data",
            str(data),
            "--listen",
            "127.0.0.1:0",
            "--json",
            *options,
        ]
        self.log = data.parent / f"{data.name}.log"
        before = len(self._announced())
        self.program = Program(data.name, argv, folder=data.parent, environment=with_source({}))
        self.program.wait_until(
            lambda: len(self._announced()) > before,
            seconds=START_SECONDS,
            what="stating that it listens",
        )
        self.facts: dict[str, str] = self._announced()[-1]
        self.url = self.facts["url"]
        self.ca = Path(self.facts["ca"])
        self._clients: list[Api] = []

    def api(self, token: str | None = None) -> "Api":
        """Give a client with this token, by default the operator's."""
        self._clients.append(Api(self.url, self.ca, token or self.facts["token"]))
        return self._clients[-1]

    def sound(self) -> None:
        """Fail the test when it has ended by itself or logged an error."""
        sound([self.program])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and give its exit status; what has ended by itself is told."""
        for client in self._clients:
            client.http.close()
        self.sound()
        if self.program.running:
            self.program.signal(number)
        try:
            return self.program.wait(seconds=30)
        finally:
            self.program.kill()

    def _announced(self) -> list[dict[str, str]]:
        return announcements(self.log.read_text(encoding="utf-8")) if self.log.exists() else []


class Api:
    """The REST API with one token."""

    def __init__(self, url: str, ca: Path, token: str) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        self.token = token
        self.http = httpx2.Client(
            base_url=url, verify=context, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        self.query: dict[str, str] = {}

    def __call__(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **query: Any
    ) -> Any:
        """Send one request, check its status, give the JSON."""
        answer = self.http.request(method, f"/api/v1/{path}", json=body, params=self.query | query)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@dataclass
class WireLink:
    """Enough of a Link to speak with a Cloud.

    Keeps what it was configured with, stores what a test gives it.
    """

    url: str
    ca: Path
    code: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    address: str = "127.0.0.1"
    versions: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    documents: list[bytes] = field(default_factory=list)
    refuses: str = ""
    """Why it refuses every configuration, if it does."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Session]:
        """Open a session; raises RefusedError. What the Cloud asks is answered meanwhile."""
        socket = await connect(
            f"wss{self.url.removeprefix('https')}/link",
            ssl=ssl.create_default_context(cafile=str(self.ca)),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=MAX_FRAME,
            local_addr=(self.address, 0),
            create_connection=LinkConnection,
        )
        assert isinstance(socket, LinkConnection)
        hello = LinkHello(
            release="0.1.0",
            capabilities=("listener:dicom", *CALLS),
            code=self.code,
            key=self.key.public_key().public_bytes_raw(),
            sign=self.key.sign,
        )
        machine = SessionMachine(hello, now=asyncio.get_running_loop().time())
        async with Session(machine, WebSocketTransport(socket)) as session:
            await session.hello_accepted()
            async with Tasks("answers") as tasks:
                tasks.spawn(self._answer(session), name="answers")
                yield session

    async def _answer(self, session: Session) -> None:
        async for channel in session.opened():
            if channel.opening.call == CONFIGURE:
                await self._configure(channel)
            elif channel.opening.call == PING:
                await channel.message(
                    encode(Pong(payload=read_ping(channel.opening.body).payload)), fin=True
                )

    async def _configure(self, channel: Channel) -> None:
        desired = read_configure(channel.opening.body)
        document = desired.document or await _read_all(channel)
        endpoints = tuple(
            EndpointState(name=listener.name, state="listening")
            for listener in parse(document).listeners
        )
        problem = Problem(field="$.listeners[0].port", message=self.refuses)
        answer = (
            ConfigurationRefused(version=desired.version, problems=(problem,))
            if self.refuses
            else Applied(version=desired.version, endpoints=endpoints)
        )
        await channel.message(encode(answer), fin=True)
        self.documents.append(document)
        self.versions.put_nowait(desired.version)

    async def store(
        self,
        session: Session,
        uid: str,
        data: bytes,
        sop_class: str = ULTRASOUND_IMAGE,
        transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN,
        *,
        crc32: int | None = None,
    ) -> StoreAnswer:
        """Store a data set and give the Cloud's answer."""
        request = store_request(uid, sop_class, transfer_syntax)
        channel = await session.open(STORE, encode(request), ChannelPriority.BULK)
        await channel.send(memoryview(data))
        end = TransferEnd(length=len(data), crc32=zlib.crc32(data) if crc32 is None else crc32)
        await channel.message(encode(end), fin=True)
        answer = await channel.receive()
        assert isinstance(answer, Message)
        return read_store_answer(answer.body)

    async def report(self, session: Session, *observations: Observation) -> None:
        """Tell the Cloud what was seen, and wait until it has noted it."""
        channel = await session.open(
            REPORT,
            encode(ObservationReport(observations=observations)),
            ChannelPriority.INTERACTIVE,
            fin=True,
        )
        answer = await channel.receive()
        assert isinstance(answer, Message)
        read_noted(answer.body)


async def _read_all(channel: Channel) -> bytes:
    data = bytearray()
    while not isinstance(event := await channel.receive(), End):
        assert isinstance(event, Data)
        data += event.view
        channel.consumed(len(event.view))
    return bytes(data)


def data_set_of(file: Path) -> bytes:
    """Give what stands after group 0002 (PS3.10 7.1)."""
    content = file.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


async def eventually(
    look: Callable[[], T], holds: Callable[[T], object], seconds: float = 5.0
) -> T:
    """Look again and again until what is seen holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds(seen := await asyncio.to_thread(look)):
            continue
    return seen


def within(seconds: float, look: Callable[[], T]) -> T:
    """Return what a look finds once it finds something; raises TimeoutError."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise TimeoutError
    return found


def hospital(cloud: CloudProcess, name: str) -> tuple[Api, dict[str, Any]]:
    """Create an organisation with a facility and a Link.

    Gives an administrator's client and the Link with its code.

    The token that the operator has seen makes the administrator's own and is revoked, as ADR 0006
    has it.
    """
    api = cloud.api()
    organisation = api("POST", "organisations", {"name": name}, status=201)["id"]
    api.query = {"organisation": organisation}
    first = api("POST", "tokens", {"name": "first", "role": "administrator"}, status=201)
    own = cloud.api(first["token"])(
        "POST", "tokens", {"name": "admin", "role": "administrator"}, status=201
    )
    admin = cloud.api(own["token"])
    admin("DELETE", f"tokens/{first['id']}", status=204)
    facility = admin(
        "POST", "facilities", {"name": "main", "time_zone": "Europe/Berlin"}, status=201
    )
    return admin, admin(
        "POST", "links", {"name": "radiology", "facility": facility["id"]}, status=201
    )
