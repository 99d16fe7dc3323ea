"""A receiver of syslog over TLS (RFC 5425), good or bad in chosen ways, in a thread of the test."""

import datetime as dt
import enum
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.audit_messages import unframed
from tests.certificates import ensure_certificate

DEADLINE: Final = 20.0


class Manner(enum.Enum):
    """How it treats a connection."""

    GOOD = "reads all, answers close_notify, closes"
    SILENT_END = "reads all and closes without a word, as rsyslog does"
    RESET = "closes with bytes unread after the handshake"
    NEVER_ENDS = "reads all and keeps the connection"
    CHATTERS = "sends data without end"


class SyslogReceiver:
    """Listens on loopback.

    `messages` are the syslog messages of whole connections, in their order.
    """

    def __init__(self, folder: Path, *, clients: str = "", port: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        files = ensure_certificate(folder, ["localhost", "127.0.0.1"], dt.datetime.now(dt.UTC))
        self.ca = (folder / "ca.pem").read_text()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files.load(self._context)
        if clients:
            self._context.load_verify_locations(cadata=clients)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self.manner = Manner.GOOD
        self.messages: list[bytes] = []
        self.connections = 0
        self.subjects: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._end.set()
        self._thread.join(DEADLINE)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            plain.settimeout(DEADLINE)
            try:
                with self._context.wrap_socket(plain, server_side=True) as tls:
                    self._take(tls)
            except OSError:
                plain.close()

    def _take(self, tls: ssl.SSLSocket) -> None:
        self.connections += 1
        if found := tls.getpeercert():
            self.subjects.append(str(found["subject"]))
        if self.manner is Manner.RESET:
            tls.recv(1)  # the rest stays in the kernel
            return
        if self.manner is Manner.CHATTERS:
            while True:
                tls.sendall(b"x" * 4096)
        stream = b""
        while data := tls.recv(65536):
            stream += data
        messages, rest = unframed(stream)
        assert rest == b"", rest[:100]
        self.messages += messages
        if self.manner is Manner.GOOD:
            tls.unwrap()
        elif self.manner is Manner.NEVER_ENDS:
            self._end.wait(DEADLINE)


def client_certificate(name: str = "cloud") -> tuple[str, str]:
    """Return a self-signed client certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()
