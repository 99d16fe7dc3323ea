"""The program itself.

TLS, the folder, what is printed once, how it stops, and `cloud apply` against it.
"""

import asyncio
import datetime as dt
import io
import json
import signal
import socket
import ssl
import stat
import time
import urllib.parse
from collections import Counter
from pathlib import Path

import httpx2
import pydicom
import pytest
from click.testing import CliRunner, Result
from pydicom.data import get_testdata_file

from swallowtail.calls.codec import encode
from swallowtail.calls.store import STORE
from swallowtail.cli import main
from swallowtail.cloud.composition.settings import ServeError, ServeSettings
from swallowtail.cloud.data_folder.certificates import CA_DAYS, ensure_certificate
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.server import run
from swallowtail.cloud.web.rate_limits import REFUSED_RATE
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.reasons import CloseCode
from tests.programs import quiet
from tests.rest.served import (
    Api,
    CloudProcess,
    WireLink,
    data_set_of,
    eventually,
    hospital,
    store_request,
)

EXAMPLE = Path("examples/hospital.toml")
STOPS_WITHIN = 4.0  # the deadline of what still runs is 5 s
DRAINED_WITHIN = 12.0  # wire §6: channels that run may end within 10 s
STOPS_WITH_LINKS_WITHIN = 20.0  # docs/runbooks/cloud.md


def handshake(url: str, context: ssl.SSLContext, name: str = "localhost") -> str | None:
    parts = urllib.parse.urlsplit(url)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        return secured.version()


def test_tls_1_3_is_preferred_1_2_served_and_1_1_refused(served: CloudProcess) -> None:
    def client() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(served.ca))

    assert handshake(served.url, client()) == "TLSv1.3"
    assert handshake(served.url, client(), "127.0.0.1") == "TLSv1.3"
    older = client()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(served.url, older) == "TLSv1.2"
    oldest = client()
    oldest.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        oldest.minimum_version = oldest.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(served.url, oldest)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served.url, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served.url, client(), "elsewhere.example")


def test_plain_http_gets_nothing(served: CloudProcess) -> None:
    parts = urllib.parse.urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)


def test_the_folder_is_private(served: CloudProcess) -> None:
    folder = served.ca.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("master.key", "pepper.sealed", "ca.key", "server.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    assert served.facts["token"].encode() not in b"".join(
        path.read_bytes() for path in folder.iterdir() if path.is_file()
    )


def test_health_readiness_and_metrics_need_no_token(served: CloudProcess) -> None:
    http = served.api().http
    for path in ("/healthz", "/readyz", "/metrics", "/", "/openapi.json"):
        assert http.get(path, headers={"Authorization": ""}).status_code == 200
    assert "swallowtail_loop_lag_seconds_count" in http.get("/metrics").text


def test_link_says_what_it_is_to_whoever_is_no_link(served: CloudProcess) -> None:
    http = served.api().http
    assert http.get("/link").status_code == 404
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    answer = http.get("/link", headers=upgrade)
    assert answer.status_code == 400
    assert "swallowtail.1" in answer.text


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["cloud", *arguments])


def apply(served: CloudProcess, token_file: Path, file: Path, *options: str) -> Result:
    return command(
        "apply",
        str(file),
        "--cloud",
        served.url,
        "--token-file",
        str(token_file),
        "--ca",
        str(served.ca),
        *options,
    )


def test_apply_does_it_once_and_shows_secrets_once(served: CloudProcess, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(served.facts["token"] + "\n")
    planned = apply(served, token_file, EXAMPLE, "--dry-run")
    assert "+ link main-radiology" in planned.stdout
    assert "nothing was done" in planned.stdout
    first = json.loads(apply(served, token_file, EXAMPLE, "--json").stdout)
    assert len(first["codes"]["main-radiology"]) == 34
    assert first["tokens"]["reading room"].startswith("swt_")
    second = apply(served, token_file, EXAMPLE)
    assert second.stdout.endswith("no changes\n")
    assert "code" not in second.stdout
    reader = served.api(first["tokens"]["reading room"])
    assert reader("GET", "whoami")["organisation"]["name"] == "heronsgate"
    assert reader("GET", "studies")["items"] == []
    changed = tmp_path / "hospital.toml"
    changed.write_text(EXAMPLE.read_text().replace("11112", "11113"))
    third = apply(served, token_file, changed)
    assert "~ configuration main-radiology: after version 1: ~listener store" in third.stdout
    widened = EXAMPLE.read_text().replace('"clinician"', '"auditor"').replace("11112", "11113")
    until = 'facilities = "all"\nexpires = 2098-01-01T00:00:00Z'
    changed.write_text(widened.replace('facilities = ["main"]', until))
    fourth = apply(served, token_file, changed)
    assert "~ token reading room: clinician becomes auditor, facilities, expires" in fourth.stdout
    assert "shown once" not in fourth.stdout, "its secret stays"
    me = reader("GET", "whoami")
    assert (me["role"], me["facilities"]) == ("auditor", None)
    assert apply(served, token_file, changed).stdout.endswith("no changes\n")
    token_file.write_text(first["tokens"]["reading room"])
    refused = apply(served, token_file, changed)
    assert refused.exit_code == 1
    assert "the role auditor may not do this" in refused.stderr


def test_apply_leaves_alone_what_a_file_does_not_declare(
    served: CloudProcess, tmp_path: Path
) -> None:
    """Listeners come from one file, destinations and rules from another, and a destination more
    from the API.
    """
    token_file = tmp_path / "token"
    token_file.write_text(served.facts["token"])
    for file in ("hospital.toml", "store-out.toml"):
        text = (
            Path("examples", file)
            .read_text(encoding="utf-8")
            .replace('name = "heronsgate"', 'name = "egretsgate"')
        )
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert apply(served, token_file, tmp_path / "hospital.toml").exit_code == 0
    made = apply(served, token_file, tmp_path / "store-out.toml")
    assert made.exit_code == 0, made.output
    assert "+destination pacs, +destination research" in made.stdout
    assert "+ rule ultrasound to the PACS: to main-radiology:pacs" in made.stdout
    api = served.api()
    api.query = {
        "organisation": next(
            one["id"] for one in api("GET", "organisations")["items"] if one["name"] == "egretsgate"
        )
    }
    (link,) = api("GET", "links")["items"]
    settings = {"name": "by-hand", "host": "10.0.0.7", "port": 104, "ae_title": "X"}
    api("POST", "destinations", {"link": link["id"], "settings": settings}, status=201)
    assert apply(served, token_file, tmp_path / "hospital.toml").stdout.endswith("no changes\n")
    document = api("GET", f"links/{link['id']}/configuration")["document"]
    assert [one["name"] for one in document["destinations"]] == ["pacs", "research", "by-hand"]
    assert [one["name"] for one in document["listeners"]] == ["store"]
    owned = apply(served, token_file, tmp_path / "store-out.toml")
    assert "-destination by-hand" in owned.stdout
    assert apply(served, token_file, tmp_path / "store-out.toml").stdout.endswith("no changes\n")
    assert [rule["name"] for rule in api("GET", "rules")["items"]] == [
        "ultrasound to the PACS",
        "abdomen to research",
    ]
    turned = (tmp_path / "store-out.toml").read_text(encoding="utf-8").partition("[[rule]]")[
        0
    ] + "[[rule]]\n"
    (tmp_path / "less.toml").write_text(
        turned + 'name = "abdomen to research"\nto = ["main-radiology:research"]\n',
        encoding="utf-8",
    )
    less = apply(served, token_file, tmp_path / "less.toml")
    assert "- rule ultrasound to the PACS" in less.stdout
    assert "~ rule abdomen to research: condition, action" in less.stdout
    assert [rule["condition"]["tags"] for rule in api("GET", "rules")["items"]] == [[]]


def test_apply_says_what_is_wrong_and_what_to_do(served: CloudProcess, tmp_path: Path) -> None:
    token_file, broken = tmp_path / "token", tmp_path / "hospital.toml"
    token_file.write_text("swt_nobody")
    broken.write_text(EXAMPLE.read_text().replace("ae_title", "aetitle", 1))
    assert "line 19: link[0].listener[0].aetitle: " in apply(served, token_file, broken).stderr
    refused = apply(served, token_file, EXAMPLE).stderr
    assert "neither expired nor revoked" in refused
    untrusted = command(
        "apply", str(EXAMPLE), "--cloud", served.url, "--token-file", str(token_file)
    ).stderr
    assert "DATA/ca.pem" in untrusted
    nowhere = command(
        "apply", str(EXAMPLE), "--cloud", "http://x", "--token-file", str(token_file)
    ).stderr
    assert "https://cloud.example:8443" in nowhere
    assert (
        "cannot read"
        in command(
            "apply", str(EXAMPLE), "--cloud", served.url, "--token-file", str(tmp_path / "no")
        ).stderr
    )


def test_a_second_process_does_not_get_the_folder(served: CloudProcess) -> None:
    with pytest.raises(ServeError, match="another Cloud runs on"):
        run(ServeSettings(served.ca.parent, "127.0.0.1", 0), announce=pytest.fail)


@pytest.mark.parametrize(
    ("listen", "cert", "key", "expected"),
    [
        ("nowhere", None, None, "is no HOST:PORT"),
        ("127.0.0.1:65536", None, None, "is no HOST:PORT"),
        ("192.0.2.1:1", None, None, "cannot listen on 192.0.2.1:1"),
        ("127.0.0.1:0", EXAMPLE, None, "--cert and --key belong together"),
        ("127.0.0.1:0", EXAMPLE, EXAMPLE, "both are PEM and belong together"),
    ],
)
def test_a_wrong_flag_is_named_with_its_remedy(
    tmp_path: Path, listen: str, cert: Path | None, key: Path | None, expected: str
) -> None:
    with pytest.raises(ServeError) as failed:
        run(
            ServeSettings.of(data=tmp_path / "data", listen=listen, cert=cert, key=key),
            announce=pytest.fail,
        )
    assert expected in str(failed.value)


async def test_a_stored_study_is_found_and_retrieved_over_dicomweb(served: CloudProcess) -> None:
    admin, link = hospital(served, "dicomweb")
    with pydicom.dcmread(
        get_testdata_file("examples_ybr_color.dcm"), stop_before_pixels=True
    ) as head:
        study, series, instance = (
            str(head.StudyInstanceUID),
            str(head.SeriesInstanceUID),
            str(head.SOPInstanceUID),
        )
    data = data_set_of(Path(get_testdata_file("examples_ybr_color.dcm")))
    machine = WireLink(served.url, served.ca, link["code"])
    async with machine.connected() as session:
        await machine.store(
            session, instance, data, "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.1.2.4.50"
        )
    http = admin.http
    assert http.get("/dicomweb/studies", params={"PatientID": "nobody"}).status_code == 204
    answer = await eventually(
        lambda: http.get("/dicomweb/studies", params={"limit": 5}),
        lambda seen: seen.status_code == 200,
    )
    assert answer.headers["content-type"] == "application/dicom+json"
    (found,) = answer.json()
    assert found["0020000D"]["Value"] == [study]
    assert found["00201208"]["Value"] == [1]
    retrieved = http.get(f"/dicomweb/studies/{study}/series/{series}/instances/{instance}")
    assert retrieved.headers["content-type"].startswith(
        'multipart/related; type="application/dicom"; boundary='
    )
    boundary = retrieved.headers["content-type"].rpartition("=")[2].encode()
    head, _, file = retrieved.content.removesuffix(b"\r\n--" + boundary + b"--\r\n").partition(
        b"\r\n\r\n"
    )
    assert (
        head
        == b"--"
        + boundary
        + b"\r\nContent-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"
    )
    assert file.endswith(data)
    assert pydicom.dcmread(io.BytesIO(file)).NumberOfFrames == 30
    assert (
        http.get(found["00081190"]["Value"][0], headers={"Accept": "image/jpeg"}).status_code == 406
    )
    stored = f"/api/v1/instances/{admin('GET', 'instances')['items'][0]['id']}/dataset"
    alone = http.head(stored)
    assert (alone.status_code, int(alone.headers["content-length"]), alone.content) == (
        200,
        len(data),
        b"",
    )
    rest = {"Range": f"bytes={len(data) // 2}-", "If-Range": alone.headers["etag"]}
    part = http.get(stored, headers=rest)
    assert (part.status_code, part.content) == (206, data[len(data) // 2 :])


async def test_an_authority_that_ends_soon_is_alarmed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = DataFolder(data)
    ensure_certificate(
        data, ["localhost"], dt.datetime.now(dt.UTC) - dt.timedelta(days=CA_DAYS - 10), folder.seal
    )
    folder.close()
    first = CloudProcess(data)
    admin, _ = hospital(first, "heronsgate")
    assert first.stop() == 0
    again = CloudProcess(data)  # looks at once, for the organisation that there is by now
    api = again.api(admin.http.headers["Authorization"].removeprefix("Bearer "))
    try:
        (alarm,) = await eventually(lambda: api("GET", "alarms")["items"], len)
        assert (alarm["condition"], alarm["subject"], alarm["severity"]) == (
            "certificate-expiring",
            "authority",
            "major",
        )
        assert "ca.pem" in alarm["detail"]
    finally:
        assert again.stop() == 0


def test_an_idle_client_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "data")
    idle = cloud.api()
    idle("GET", "whoami")
    began = time.monotonic()
    assert cloud.program.stop() == 0
    assert time.monotonic() - began < STOPS_WITHIN
    quiet(cloud.log)
    idle.http.close()


async def test_neither_a_store_without_end_nor_a_deaf_link_holds_up_the_stop_for_long(
    tmp_path: Path,
) -> None:
    cloud = CloudProcess(tmp_path / "data")
    try:
        admin, link = hospital(cloud, "heronsgate")
        deaf = admin("POST", "links", {"name": "deaf", "facility": link["facility"]}, status=201)
        async with (
            WireLink(cloud.url, cloud.ca, link["code"]).connected() as session,
            WireLink(cloud.url, cloud.ca, deaf["code"]).connected() as silent,
        ):
            channel = await session.open(
                STORE, encode(store_request("1.2.3")), ChannelPriority.BULK
            )
            await channel.send(memoryview(b"the first half"))
            channel.flush()
            await session.echo()
            await silent.echo()
            below = silent._transport._connection.transport
            below.pause_reading()
            began = time.monotonic()
            cloud.program.signal(signal.SIGTERM)
            async with asyncio.timeout(DRAINED_WITHIN):
                await asyncio.wait([session.closed])
            assert session.closed.result()[:2] == (CloseCode.DONE, "draining")
            assert await asyncio.to_thread(cloud.program.wait, seconds=40) == 0
            assert time.monotonic() - began < STOPS_WITH_LINKS_WITHIN
            below.abort()
        assert "Cloud stopped" in cloud.log.read_text()
    finally:
        assert cloud.stop() == 0


async def test_a_restart_keeps_everything_and_prints_no_secret_again(tmp_path: Path) -> None:
    first = CloudProcess(tmp_path / "data")
    admin, link = hospital(first, "heronsgate")
    machine = WireLink(first.url, first.ca, link["code"])
    async with machine.connected() as session:
        await machine.store(session, "1.2.3", b"stored before the restart")
        stopped = asyncio.create_task(asyncio.to_thread(first.stop))  # noqa: TID251
        async with asyncio.timeout(15):
            await asyncio.wait([session.closed])
        assert session.peer_goodbye is not None
        assert session.peer_goodbye.reason == "draining"
        assert await stopped == 0
    token = admin.http.headers["Authorization"].removeprefix("Bearer ")
    again = CloudProcess(tmp_path / "data")
    try:
        assert "token" not in again.facts
        assert again.ca.read_bytes() == first.ca.read_bytes()
        api: Api = again.api(token)
        shown = api("GET", "links")["items"][0]
        assert not shown["session"]["online"]
        (instance,) = api("GET", "instances")["items"]
        assert (
            api.http.get(f"/api/v1/instances/{instance['id']}/dataset").content
            == b"stored before the restart"
        )
        assert api("GET", "audit/verify")["broken_at"] is None
        machine.url = again.url
        async with machine.connected() as session:
            again.program.signal(signal.SIGKILL)
            async with asyncio.timeout(15):
                await asyncio.wait([session.closed])
    finally:
        again.stop(signal.SIGKILL)


def test_a_flood_without_a_good_token_keeps_no_good_token_out(served: CloudProcess) -> None:
    """The flood comes from a loopback address of its own, so that it limits no other test."""
    context = ssl.create_default_context(cafile=str(served.ca))
    transport = httpx2.HTTPTransport(verify=context, local_address="127.0.0.9")
    bad = {"Authorization": "Bearer swt_" + "0" * 48}
    good = {"Authorization": f"Bearer {served.facts['token']}"}
    flooded, responses = Counter[int](), Counter[int]()
    with httpx2.Client(base_url=served.url, transport=transport, timeout=30) as http:
        for number in range(int(REFUSED_RATE.burst) * 2):
            flooded[http.get("/api/v1/whoami", headers=bad).status_code] += 1
            if number % 20 == 0:
                responses[http.get("/api/v1/whoami", headers=good).status_code] += 1
        limited = http.get("/dicomweb/studies")
    assert set(flooded) == {401, 429}
    assert set(responses) == {200}
    assert (limited.status_code, limited.json()["code"]) == (429, "rate-limited")
    assert int(limited.headers["Retry-After"]) >= 1
