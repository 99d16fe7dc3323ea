"""How many requests are answered: hostile floods beside clients with good tokens."""

from typing import Any

import httpx2
import pytest

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.hosts import HostNames
from swallowtail.cloud.web.proxies import parse_proxies
from swallowtail.cloud.web.rate_limits import (
    ADDRESS_RATE,
    REFUSED_RATE,
    TOKEN_RATE,
    Rates,
    RequestLimits,
)
from swallowtail.sansio.token_bucket import Rate
from tests.unit.cloud.web.conftest import APP, INSTANCE, SERIES, STUDY, Cloud

SMALL = Rates(token=Rate(1.0, 5.0), address=Rate(1.0, 3.0), refused=Rate(0.5, 2.0))
HOSTS = HostNames(allowed=["cloud.example"])
BAD = "swt_" + "0" * 48


class Clock:
    """The time, as a test sets it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(cloud: Cloud) -> Clock:
    """Limit the requests of a Cloud to a few."""
    made = Clock()
    APP.state.limits = RequestLimits(made, SMALL)
    return made


async def statuses(cloud: Cloud, path: str, token: str | None, count: int) -> list[int]:
    return [(await cloud.call("GET", path, token)).status_code for _ in range(count)]


async def test_a_token_beyond_its_rate_is_told_when_to_come_back(
    cloud: Cloud,
    clock: Clock,
) -> None:
    token, other = await cloud.token(Role.AUDITOR), await cloud.token(Role.AUDITOR)
    assert await statuses(cloud, "whoami", token, 5) == [200] * 5
    answer = await cloud.call("GET", "whoami", token)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "rate-limited"
    assert answer.json()["remedy"]
    assert await statuses(cloud, "whoami", other, 1) == [200], "judged alone"
    assert await statuses(cloud, "studies", token, 1) == [429], "whatever its role may do"
    clock.now += float(answer.headers["Retry-After"])
    assert await statuses(cloud, "whoami", token, 2) == [200, 429]


async def test_a_rotated_token_is_one_token(cloud: Cloud, clock: Clock) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    body = {"name": "x", "role": "auditor"}
    old = (await cloud.call("POST", "tokens", admin, body)).json()
    path = f"tokens/{old['id']}/rotate"
    new = (await cloud.call("POST", path, admin, {"grace": 60})).json()
    assert await statuses(cloud, "whoami", old["token"], 5) == [200] * 5
    assert await statuses(cloud, "whoami", new["token"], 1) == [429]


@pytest.mark.parametrize("secret", [None, BAD, "x" * 10_000])
@pytest.mark.parametrize("path", ["whoami", "/dicomweb/studies", f"/dicomweb/studies/{STUDY}"])
async def test_a_flood_of_refused_requests_is_limited_and_keeps_no_good_token_out(
    cloud: Cloud, clock: Clock, secret: str | None, path: str
) -> None:
    token = await cloud.token(Role.CLINICIAN)
    assert await statuses(cloud, path, secret, 4) == [401, 401, 429, 429]
    assert await statuses(cloud, path, token, 5) == [200] * 5, "behind the same address"
    assert await statuses(cloud, path, secret, 1) == [429]
    clock.now += 2
    assert await statuses(cloud, path, secret, 2) == [401, 429]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing"])
@pytest.mark.parametrize("secret", [None, BAD])
async def test_a_flood_of_pages_is_limited_by_address(
    cloud: Cloud,
    clock: Clock,
    path: str,
    secret: str | None,
) -> None:
    seen = await statuses(cloud, path, secret, 5)
    assert 429 not in seen[:3]
    assert seen[3:] == [429, 429]
    assert await statuses(cloud, "whoami", await cloud.token(Role.AUDITOR), 1) == [200]


async def test_paths_that_do_not_exist_are_limited_whatever_token_they_name(
    cloud: Cloud,
    clock: Clock,
) -> None:
    seen = [
        await statuses(cloud, path, BAD, 1)
        for path in ("nothing", "/dicomweb/nothing", "/api/v1/x/y", "nothing", "/dicomweb/x/y/z")
    ]
    assert seen == [[404], [404], [404], [429], [429]]
    method = await cloud.call("DELETE", "whoami", BAD)
    assert method.status_code == 429


async def test_what_is_limited_is_counted_without_names(cloud: Cloud, clock: Clock) -> None:
    def count(text: str, by: str) -> float:
        name = f'swallowtail_http_limited_total{{by="{by}"}} '
        return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))

    before = (await cloud.http.get("/metrics")).text
    await statuses(cloud, "whoami", BAD, 4)
    await statuses(cloud, "whoami", await cloud.token(Role.AUDITOR), 8)
    after = (await cloud.http.get("/metrics")).text
    assert count(after, "refused") - count(before, "refused") == 2
    assert count(after, "token") - count(before, "token") == 3


async def test_a_viewer_that_fetches_hundreds_of_frames_at_once_is_not_limited(
    cloud: Cloud,
) -> None:
    made = Clock()
    APP.state.limits = RequestLimits(made)
    reader = await cloud.token(Role.CLINICIAN)
    frames = f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}/frames/1"
    assert set(await statuses(cloud, frames, reader, 100)) == {200}
    viewers, frames_each = 5, 2000
    assert viewers * frames_each <= TOKEN_RATE.burst
    assert REFUSED_RATE.per_second < ADDRESS_RATE.per_second < TOKEN_RATE.per_second


async def from_(address: str, forwarded: str | None, app: Any, path: str = "/healthz") -> int:
    transport = httpx2.ASGITransport(app=app, client=(address, 1))
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    async with httpx2.AsyncClient(transport=transport, base_url="https://cloud.example") as http:
        return (await http.get(path, headers=headers)).status_code


async def test_clients_behind_a_trusted_proxy_are_told_apart_and_others_cannot_pretend(
    cloud: Cloud,
) -> None:
    limits = RequestLimits(Clock(), SMALL)
    app = build(cloud.use_cases, hosts=HOSTS, limits=limits, proxies=parse_proxies(["10.0.0.5"]))
    floods = [await from_("10.0.0.5", "198.51.100.1", app) for _ in range(4)]
    assert floods == [200, 200, 200, 429]
    assert await from_("10.0.0.5", "198.51.100.2", app) == 200
    assert await from_("10.0.0.5", "203.0.113.9, 198.51.100.1", app) == 429, "the last entry"
    faked = [await from_("192.0.2.1", f"203.0.113.{n}", app) for n in range(4)]
    assert faked == [200, 200, 200, 429], "not a trusted proxy"


async def test_the_audit_names_the_client_behind_a_trusted_proxy(cloud: Cloud) -> None:
    app = build(cloud.use_cases, hosts=HOSTS, proxies=parse_proxies(["10.0.0.5"]))
    transport = httpx2.ASGITransport(app=app, client=("10.0.0.5", 1))
    token = await cloud.token(Role.CLINICIAN)
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "198.51.100.7"}
    async with httpx2.AsyncClient(transport=transport, base_url="https://cloud.example") as http:
        assert (await http.get("/api/v1/studies", headers=headers)).status_code == 200
    auditor = await cloud.token(Role.AUDITOR)
    record = (await cloud.call("GET", "audit", auditor, limit=2)).json()["items"][1]
    assert (record["type"], record["address"]) == ("study.search", "198.51.100.7")
