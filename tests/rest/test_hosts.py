"""The Host header at the port itself, as a hostile client, a browser after DNS rebinding and a
proxy send it.
"""

import json
import ssl
import urllib.parse
from collections.abc import Iterator
from socket import create_connection

import pytest

from tests.rest.served import CloudProcess


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A Cloud with a public address, behind a viewer's proxy."""
    folder = tmp_path_factory.mktemp("public") / "cloud"
    cloud = CloudProcess(
        folder, "--public-url", "https://pacs.example:9443", "--allowed-host", "viewer.example"
    )
    yield cloud
    assert cloud.stop() == 0


def exchange(
    cloud: CloudProcess, *lines: str, version: str = "1.1", path: str = "/dicomweb/studies"
) -> tuple[int, str]:
    """Send one request with these header lines; return the status and the body."""
    parts = urllib.parse.urlsplit(cloud.url)
    context = ssl.create_default_context(cafile=str(cloud.ca))
    head = "\r\n".join([f"GET {path} HTTP/{version}", *lines, "Connection: close", "", ""])
    with (
        create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(head.encode("latin-1"))
        answer = b"".join(iter(lambda: secured.recv(65_536), b""))
    status, _, body = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), body.decode()


UPGRADE = (
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 400),
        (("Host: localhost", "Host: localhost"), 400),
        (("Host: localhost", "Host: evil.example"), 400),
        (("Host: localhost/evil",), 400),
        (("Host: evil.example",), 421),
        (("Host: localhost.evil.example",), 421),
        (("Host: localhost", "X-Forwarded-Host: evil.example"), 401),
        (("Host: pacs.example:9443",), 401),
        (("Host: viewer.example",), 401),
    ],
)
def test_a_request_names_one_known_host(
    public: CloudProcess, lines: tuple[str, ...], status: int
) -> None:
    answered, body = exchange(public, *lines)
    assert (answered, json.loads(body)["status"]) == (status, status)
    assert "evil" not in body


def test_an_upgrade_without_one_host_is_bad(public: CloudProcess) -> None:
    assert exchange(public, *UPGRADE, path="/link")[0] == 400
    assert exchange(public, "Host: a", "Host: b", *UPGRADE, path="/link")[0] == 400


def test_the_target_of_a_request_names_no_host(public: CloudProcess) -> None:
    answered, _ = exchange(public, "Host: evil.example", path="https://localhost/dicomweb/studies")
    assert answered == 421


def test_probes_need_no_name(public: CloudProcess) -> None:
    assert exchange(public, version="1.0", path="/readyz") == (200, "ready\n")
    assert exchange(public, "Host: 10.2.3.4:8443", path="/healthz") == (200, "alive\n")
    assert exchange(public, path="/healthz")[0] == 400
    assert exchange(public, "Host: 10.2.3.4:8443", path="/metrics")[0] == 421


def test_the_private_certificate_names_the_public_address(public: CloudProcess) -> None:
    parts = urllib.parse.urlsplit(public.url)
    context = ssl.create_default_context(cafile=str(public.ca))
    with (
        create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="pacs.example") as secured,
    ):
        assert secured.version() == "TLSv1.3"
