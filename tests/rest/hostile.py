"""Clients that attack the Cloud's port, in a process of their own so that a test's measurements are
not disturbed: `python -m tests.rest.hostile KIND COUNT SECONDS ADDRESS PORT CA [SOURCE]`.

Each client connects, attacks until the Cloud ends the connection, and connects again at once. The
last line of the output is a JSON object with the number of connections and of bytes sent.
"""

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from swallowtail.sim.processes import Program
from swallowtail.wire.transport import SUBPROTOCOL

MASK: Final = bytes(4)
CHUNK: Final = 256 * 1024
TIMEOUT: Final = 5.0
REPOSITORY: Final = Path(__file__).parents[2]
UPGRADE: Final = (
    "GET /link HTTP/1.1\r\nHost: cloud\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: aGVyb25oZXJvbmhlcm9uIQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
BEFORE_HELLO: Final = {  # kind: what is sent once, what is repeated
    "bytes": (b"", b"\x82\x81" + MASK + b"\0"),
    "unknown-types": (b"", b"\x82\x88" + MASK + b"\x7f" + bytes(7)),
    "long-frames": (
        b"",
        b"\x82\xff" + (65_536).to_bytes(8, "big") + MASK + b"\x7f" + bytes(65_535),
    ),
    "fragments": (b"\x02\x80" + MASK, b"\x00\x80" + MASK),
    "text": (b"", b"\x81\x81" + MASK + b"x"),
    "pings": (b"", b"\x89\xfd" + MASK + bytes(125)),
    "pongs": (b"", b"\x8a\x80" + MASK),
    "unmasked": (b"", b"\x82\x01x"),
}
"""What a client sends on an upgraded connection instead of its hello."""
KINDS: Final = (
    *BEFORE_HELLO,
    "headers",
    "silent-upgrade",
    "silent-tls",
    "silent-tcp",
    "handshakes",
)


class Attack:
    """What the clients of one process share."""

    def __init__(
        self, kind: str, seconds: float, address: tuple[str, int], ca: str, source: str
    ) -> None:
        self.kind, self.address, self.source = kind, address, source
        self.end = time.monotonic() + seconds
        self.context = ssl.create_default_context(cafile=ca)
        self.connections = self.sent = 0
        self.lock = threading.Lock()

    def client(self) -> None:
        while time.monotonic() < self.end:
            try:
                self._connect()
            except OSError:  # the Cloud has ended the connection, as it should
                continue

    def _connect(self) -> None:
        source = (self.source, 0)
        with socket.create_connection(
            self.address, timeout=TIMEOUT, source_address=source
        ) as plain:
            with self.lock:
                self.connections += 1
            if self.kind == "silent-tcp":
                self._wait(plain)
                return
            with self.context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                self._attack(secured)

    def _attack(self, secured: ssl.SSLSocket) -> None:
        if self.kind == "handshakes":
            return
        if self.kind == "silent-tls":
            self._wait(secured)
            return
        if self.kind == "headers":
            secured.sendall(b"GET /link HTTP/1.1\r\n")
            self._repeat(secured, b"x-heron: " + b"h" * 1000 + b"\r\n")
            return
        secured.sendall(UPGRADE)
        if not secured.recv(4096).startswith(b"HTTP/1.1 101"):
            return
        if self.kind == "silent-upgrade":
            self._wait(secured)
            return
        first, repeated = BEFORE_HELLO[self.kind]
        secured.sendall(first)
        self._repeat(secured, repeated)

    def _repeat(self, secured: ssl.SSLSocket, piece: bytes) -> None:
        chunk = piece * max(1, CHUNK // len(piece))
        while time.monotonic() < self.end:
            secured.sendall(chunk)
            with self.lock:
                self.sent += len(chunk)

    def _wait(self, connection: socket.socket) -> None:
        connection.settimeout(max(0.1, self.end - time.monotonic()))
        while connection.recv(4096):
            continue


@contextmanager
def attacking(
    folder: Path,
    kind: str,
    *,
    url: str,
    ca: Path,
    count: int,
    seconds: float,
    source: str = "127.0.0.2",
) -> Iterator[Callable[[], dict[str, int]]]:
    """Attack while the block runs; the value waits for the end and returns what was done."""
    host, port = url.removeprefix("https://").rsplit(":", 1)
    host = "127.0.0.1" if host == "localhost" else host
    name = f"hostile-{kind}"
    argv = [sys.executable, "-m", "tests.rest.hostile", kind, str(count), str(seconds)]
    environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    program = Program(
        name, [*argv, host, port, str(ca), source], folder=folder, environment=environment
    )

    def ended() -> dict[str, int]:
        assert program.wait(seconds=seconds + 4 * TIMEOUT) == 0, program.text()
        done: dict[str, int] = json.loads(program.text().splitlines()[-1])
        return done

    try:
        yield ended
    finally:
        program.kill()


def main() -> None:
    """Attack as the arguments say."""
    kind, count, seconds, host, port, ca, source = sys.argv[1:]
    attack = Attack(kind, float(seconds), (host, int(port)), ca, source)
    clients = [threading.Thread(target=attack.client) for _ in range(int(count))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    sys.stdout.write(json.dumps({"connections": attack.connections, "sent": attack.sent}) + "\n")


if __name__ == "__main__":
    main()
