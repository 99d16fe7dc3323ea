"""The certificates of the program `cloud serve`, and how it ends."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from swallowtail.cloud import server
from swallowtail.cloud.composition.settings import ServeError, ServeSettings
from swallowtail.cloud.data_folder.certificates import ensure_certificate, server_context
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.processes.sandbox import SandboxError
from swallowtail.cloud.web.hosts import Host
from swallowtail.runtime.tasks import Tasks
from tests.unit.cloud.data_folder.test_certificates import client_context, handshake


def test_the_own_certificate_names_the_public_address_and_its_names_are_hosts(
    tmp_path: Path,
) -> None:
    folder = DataFolder(tmp_path)
    settings = ServeSettings(tmp_path, "192.0.2.7", 0, public=Host("cloud.example", 8443))
    certificate = server._certificate(settings, folder).certificate
    expected = {"cloud.example", "192.0.2.7", "localhost", "127.0.0.1", "::1"}
    assert expected <= server._own_names(settings, certificate)
    folder.close()


def test_a_cloud_whose_workers_would_not_run_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> dict[str, str]:
        raise SandboxError("the kernel offers a layer and refuses it")

    monkeypatch.setattr(server, "probe", refused)
    with pytest.raises(ServeError, match="offers a layer"):
        server.run(ServeSettings(tmp_path, "127.0.0.1", 0), announce=pytest.fail)


async def test_a_renewed_certificate_is_served_to_the_next_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RENEW_EVERY", 0.01)
    folder = DataFolder(tmp_path)
    settings = ServeSettings(tmp_path, "127.0.0.1", 0)
    context = server_context(
        *ensure_certificate(tmp_path, ["old.example"], dt.datetime.now(dt.UTC), folder.seal)
    )
    assert handshake(context, client_context(tmp_path), "old.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, client_context(tmp_path), "localhost")
    loaded = asyncio.Event()
    load = context.load_cert_chain

    class Context:
        def load_cert_chain(self, *files: Any, password: Any) -> None:
            load(*files, password=password)
            loaded.set()

    served: list[Path] = []

    async with Tasks("test") as tasks:
        tasks.spawn(server._renew(Context(), settings, folder, served.append), name="renew")  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            await loaded.wait()
    assert handshake(context, client_context(tmp_path), "localhost")
    assert set(served) == {tmp_path / "server.pem"}  # the alarm hears of it
    folder.close()


async def test_a_certificate_that_cannot_be_loaded_is_not_taken_for_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RENEW_EVERY", 0.001)
    folder = DataFolder(tmp_path)
    tried = asyncio.Event()
    served: list[Path] = []

    class Context:
        tries = 0

        def load_cert_chain(self, *files: Any, password: Any) -> None:
            self.tries += 1
            if self.tries == 2:  # the first was dealt with
                tried.set()
            raise ssl.SSLError("key values mismatch")

    with capture_logs() as logs:
        async with Tasks("test") as tasks:
            tasks.spawn(
                server._renew(Context(), ServeSettings(tmp_path, "::1", 0), folder, served.append),
                name="renew",
            )  # type: ignore[arg-type]
            async with asyncio.timeout(5):
                await tried.wait()
    assert logs[0]["event"] == "certificate not reloaded"
    assert served == []
    folder.close()


def test_a_disk_that_failed_under_a_durable_write_ends_the_process_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(server.os, "_exit", ended.append)
    with capture_logs() as logs:
        server._fatal(StorageUnavailableError())
    assert ended == [server.FATAL_EXIT]
    assert logs[0]["event"] == "disk failed"
