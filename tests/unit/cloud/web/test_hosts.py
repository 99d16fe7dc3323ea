"""Which hosts a request may name, and that absolute URLs are made of known ones alone."""

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.hosts import Host, HostCheck, HostNames, InvalidAddressError
from tests.unit.cloud.web.conftest import INSTANCE, SERIES, STUDY, Cloud

NAMES = HostNames(
    public=Host("cloud.example", 8443),
    allowed=["viewer.example", "*.lan.example"],
    own=["cert.example", "*.wild.example", "192.0.2.7", "2001:DB8::7"],
)
UNCONFIGURED = HostNames(own=["cert.example"])


async def seen(names: HostNames, *hosts: str, path: str = "/x", **more: Any) -> tuple[int, Any]:
    """The status and the Host that the application gets, or the problem's code."""
    reached: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        reached.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError("nothing is read before the host is known")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "headers": [(b"host", host.encode("latin-1")) for host in hosts],
        "server": ("192.0.2.99", 8443),
        "extensions": {"websocket.http.response": {}},
        **more,
    }
    await HostCheck(application, names=names)(scope, receive, send)
    if reached:
        (host,) = [value.decode() for name, value in reached[0]["headers"] if name == b"host"] or [
            ""
        ]
        return 200, host
    status: int = sent[0]["status"]
    body = b"".join(message.get("body", b"") for message in sent)
    return status, json.loads(body)["code"]


@pytest.mark.parametrize(
    ("host", "public", "unconfigured"),
    [
        ("cloud.example:8443", "cloud.example:8443", None),
        ("CLOUD.example.", "cloud.example:8443", None),
        ("viewer.example", "viewer.example", None),
        ("viewer.example:9000", "viewer.example:9000", None),
        ("pacs.lan.example", "pacs.lan.example", None),
        ("cert.example:7000", "cloud.example:8443", "cert.example:7000"),
        ("a.wild.example", "cloud.example:8443", None),
        ("192.0.2.7", "cloud.example:8443", None),
        ("[2001:db8:0::7]:1", "cloud.example:8443", None),
        ("localhost:8443", "cloud.example:8443", "localhost:8443"),
        ("127.9.9.9", "cloud.example:8443", "127.9.9.9"),
        ("[::1]:8443", "cloud.example:8443", "[::1]:8443"),
        ("192.0.2.99:8443", "cloud.example:8443", "192.0.2.99:8443"),
    ],
)
async def test_a_known_host_becomes_the_public_address(
    host: str, public: str, unconfigured: str | None
) -> None:
    assert await seen(NAMES, host) == (200, public)
    expected = (421, "host") if unconfigured is None else (200, unconfigured)
    assert await seen(UNCONFIGURED, host) == expected


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "cloud.example.evil.example",
        "xviewer.example",
        "a.b.wild.example",
        "wild.example",
        "lan.example",
        "192.0.2.8",
        "localhost.evil.example",
        "[2001:db8::8]",
        "0.0.0.0",
        "2130706433",
    ],
)
async def test_a_foreign_host_is_misdirected(host: str) -> None:
    assert await seen(NAMES, host) == (421, "host")


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("cloud.example", "cloud.example"),
        ("cloud.example", "evil.example"),
        ("",),
        ("cloud.example:",),
        ("a b",),
        ("user@cloud.example",),
        ("cloud.example/x",),
        ("cloud.example:99999",),
        ("cloud.example#x",),
        ("[::1",),
        ("clöud",),
    ],
)
async def test_no_host_several_and_invalid_ones_are_bad(hosts: tuple[str, ...]) -> None:
    assert await seen(NAMES, *hosts) == (400, "host")
    assert await seen(NAMES, *hosts, type="websocket") == (400, "host")


async def test_what_a_proxy_adds_is_not_read() -> None:
    forwarded = [(b"x-forwarded-host", b"evil.example"), (b"forwarded", b"host=evil.example")]
    headers = [(b"host", b"cloud.example"), *forwarded]
    assert await seen(NAMES, headers=headers) == (200, "cloud.example:8443")
    assert await seen(NAMES, headers=forwarded) == (400, "host")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_may_come_by_any_address(path: str) -> None:
    assert await seen(NAMES, "10.9.8.7:8443", path=path) == (200, "10.9.8.7:8443")
    assert await seen(NAMES, path=path, http_version="1.0") == (200, "")
    assert (await seen(NAMES, path=path))[0] == 400
    assert (await seen(NAMES, "10.9.8.7:8443", path="/metrics"))[0] == 421


async def test_links_may_come_by_any_name() -> None:
    assert await seen(NAMES, "proxy.example", path="/link", type="websocket") == (
        200,
        "proxy.example",
    )


def test_a_new_certificate_brings_new_names() -> None:
    names = HostNames(own=["old.example"])
    names.register(["new.example"])
    assert names.address_for(Host("old.example"), None) is None
    assert names.address_for(Host("new.example"), None) == Host("new.example")


def test_a_host_is_written_as_it_was_read() -> None:
    for text in ("a.example", "a.example:1", "[::1]", "[::1]:443", "192.0.2.1:80"):
        assert str(Host.parse(text)) == text
    with pytest.raises(InvalidAddressError):
        Host.parse("a:b:c")


async def test_no_answer_leads_to_a_foreign_host(cloud: Cloud) -> None:
    """Every route that answers with absolute URLs, and the redirect to a path without its last
    slash.
    """
    token = await cloud.token(Role.CLINICIAN)
    instance = f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances"
    paths = (
        "/dicomweb/studies",
        f"/dicomweb/studies/{STUDY}/series",
        instance,
        f"{instance}/{INSTANCE}/metadata",
    )
    for path in (*paths, "/dicomweb/studies/"):
        headers = {"Authorization": f"Bearer {token}"}
        foreign = await cloud.http.get(path, headers={**headers, "Host": "evil.example"})
        assert foreign.status_code == 421, path
        assert foreign.headers["content-type"] == "application/problem+json"
        assert foreign.headers["cache-control"] == "no-store"
        assert "evil.example" not in foreign.text
        forwarded = await cloud.http.get(
            path, headers={**headers, "X-Forwarded-Host": "evil.example"}
        )
        said = forwarded.text + forwarded.headers.get("location", "")
        assert "evil.example" not in said
        assert "https://cloud.example/dicomweb/" in said or forwarded.status_code == 404, path
