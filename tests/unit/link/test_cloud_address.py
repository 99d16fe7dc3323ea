"""How Link finds and trusts its Cloud, on loopback.

Each failure has a phase and a remedy, and nothing is trusted by mistake.
"""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from swallowtail.cloud.data_folder.certificates import server_context
from swallowtail.link.cloud_address import (
    REMEDIES,
    SettingError,
    UplinkError,
    WebSocketUplink,
    link_url,
    proxy_url,
    read_code,
    tls_context,
)
from swallowtail.wire.transport import SUBPROTOCOL
from tests.certificates import ensure_certificate

NOW = dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    ("cloud", "url"),
    [
        ("https://cloud.example", "wss://cloud.example:443/link"),
        ("https://cloud.example:8443/", "wss://cloud.example:8443/link"),
        ("https://[fd00::1]:8443", "wss://[fd00::1]:8443/link"),
    ],
)
def test_the_clouds_address_becomes_the_websockets(cloud, url):
    assert link_url(cloud) == url


@pytest.mark.parametrize(
    "cloud",
    [
        "http://cloud.example",
        "cloud.example",
        "wss://cloud.example",
        "https://",
        "https://a:b@c",
        "https://a/b",
        "https://a:99999",
        "",
    ],
)
def test_any_other_address_is_refused_with_an_example(cloud):
    with pytest.raises(SettingError, match="--cloud"):
        link_url(cloud)


def test_a_proxy_is_checked_and_its_password_never_repeated():
    assert proxy_url(None) is None
    assert (
        proxy_url("http://user:secret@proxy.example:3128")
        == "http://user:secret@proxy.example:3128"
    )
    with pytest.raises(SettingError) as error:
        proxy_url("https://user:secret@proxy.example:3128")
    assert "secret" not in str(error.value)


def test_the_code_is_one_line_of_a_file(tmp_path: Path):
    file = tmp_path / "code"
    with pytest.raises(SettingError, match="cannot be read"):
        read_code(file)
    file.write_text("HX86-HC31-E74D\n")
    assert read_code(file) == "HX86-HC31-E74D"
    for bad in ("", "two words", "x" * 2000, "Umlaut-ä"):
        file.write_text(bad)
        with pytest.raises(SettingError) as error:
            read_code(file)
        assert not bad or bad not in str(error.value)


def test_there_is_no_tls_below_1_2_and_no_way_to_skip_the_check(tmp_path: Path):
    for context in (
        tls_context(None),
        tls_context(ensure_certificate(tmp_path, ["localhost"], NOW)[0].with_name("ca.pem")),
    ):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    with pytest.raises(SettingError, match="--ca"):
        tls_context(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").touch()
    with pytest.raises(SettingError, match="--ca"):
        tls_context(tmp_path / "empty.pem")


class ResponseReceived:
    """How many WebSockets were opened at a server."""

    count = 0


@asynccontextmanager
async def cloud(
    folder: Path, *, name: str = "localhost", when: dt.datetime = NOW
) -> AsyncIterator[tuple[int, ResponseReceived]]:
    """A WebSocket server with a certificate of its own authority in `folder`."""
    responses = ResponseReceived()

    async def handle(connection) -> None:
        responses.count += 1
        await connection.wait_closed()

    context = server_context(*ensure_certificate(folder, [name], when))
    async with serve(
        handle, "127.0.0.1", 0, ssl=context, subprotocols=[SUBPROTOCOL], compression=None
    ) as server:
        yield server.sockets[0].getsockname()[1], responses


def uplink(
    port: int, ca: Path | None, *, host: str = "localhost", proxy: str | None = None
) -> WebSocketUplink:
    return WebSocketUplink(f"wss://{host}:{port}/link", tls_context(ca), proxy, "test")


async def failed_phase(way: WebSocketUplink) -> str:
    with pytest.raises(UplinkError) as failed:
        await way()
    assert failed.value.remedy == REMEDIES[failed.value.phase]
    assert failed.value.remedy in str(failed.value)
    return failed.value.phase


async def test_the_right_authority_and_name_are_trusted(tmp_path: Path):
    async with cloud(tmp_path) as (port, responses):
        transport = await uplink(port, tmp_path / "ca.pem")()
        await transport.close(1000, "")
        assert responses.count == 1


async def test_another_authority_another_name_or_the_systems_trust_alone_is_not(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "named").mkdir()
    ensure_certificate(tmp_path / "other", ["localhost"], NOW)
    async with cloud(tmp_path) as (port, responses):
        assert await failed_phase(uplink(port, tmp_path / "other" / "ca.pem")) == "tls"
        assert await failed_phase(uplink(port, None)) == "tls"
        assert await failed_phase(uplink(port, tmp_path / "ca.pem", host="127.0.0.1")) == "tls"
        assert responses.count == 0, "no byte of a WebSocket was sent"
    async with cloud(tmp_path / "named", name="cloud.example") as (port, responses):
        assert await failed_phase(uplink(port, tmp_path / "named" / "ca.pem")) == "tls"
        assert responses.count == 0


async def test_an_expired_certificate_is_not_trusted(tmp_path: Path):
    async with cloud(tmp_path, when=NOW - dt.timedelta(days=365 * 30)) as (port, responses):
        assert await failed_phase(uplink(port, tmp_path / "ca.pem")) == "tls"
        assert responses.count == 0


async def test_an_address_that_leads_nowhere_does_not_keep_link_from_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as hole, contextlib.ExitStack() as kept:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(3):  # until its queue is full, and a SYN is answered by nothing
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        async with cloud(tmp_path) as (port, _):

            async def both(*_: object, **__: object) -> list[tuple[object, ...]]:
                tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [(*tcp, hole.getsockname()), (*tcp, ("127.0.0.1", port))]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
            async with asyncio.timeout(5):
                transport = await uplink(port, tmp_path / "ca.pem")()
            await transport.close(1000, "")


async def test_nobody_there_is_connect_and_no_name_is_resolve(tmp_path: Path):
    ensure_certificate(tmp_path, ["localhost"], NOW)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert await failed_phase(uplink(port, tmp_path / "ca.pem")) == "connect"
    assert (
        await failed_phase(uplink(443, tmp_path / "ca.pem", host="no-such-host.invalid"))
        == "resolve"
    )


async def test_http_without_a_websocket_is_upgrade(tmp_path: Path):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    context = server_context(*ensure_certificate(tmp_path, ["localhost"], NOW))
    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context) as server:
        assert (
            await failed_phase(uplink(server.sockets[0].getsockname()[1], tmp_path / "ca.pem"))
            == "upgrade"
        )


@asynccontextmanager
async def proxy(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A CONNECT proxy that says `answer`, and pipes when that is 200."""
    asked: list[bytes] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 " + answer + b"\r\n\r\n")
        if answer.startswith(b"200"):
            host, _, port = asked[-1].split()[1].decode().partition(":")
            out_reader, out_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(
                pipe(reader, out_writer), pipe(out_reader, writer), return_exceptions=True
            )
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def test_through_a_proxy_the_clouds_certificate_is_still_the_clouds(tmp_path: Path):
    async with cloud(tmp_path) as (port, responses), proxy(b"200 OK") as (at, asked):
        transport = await uplink(
            port, tmp_path / "ca.pem", proxy=f"http://user:secret@127.0.0.1:{at}"
        )()
        await transport.close(1000, "")
        assert responses.count == 1
        assert asked[0].startswith(f"CONNECT localhost:{port} ".encode())
        assert b"proxy-authorization: basic" in asked[0].lower()


async def test_a_proxy_that_refuses_is_proxy(tmp_path: Path):
    async with (
        cloud(tmp_path) as (port, responses),
        proxy(b"407 Proxy Authentication Required") as (at, _),
    ):
        assert (
            await failed_phase(uplink(port, tmp_path / "ca.pem", proxy=f"http://127.0.0.1:{at}"))
            == "proxy"
        )
        assert responses.count == 0
