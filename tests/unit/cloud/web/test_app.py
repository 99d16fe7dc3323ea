"""The document of the API, the pages beside it, and what every answer carries."""

import json

import pytest

from swallowtail import __version__
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.guard import MAX_BODY
from tests.unit.cloud.web.conftest import APP, Cloud
from tools.generate_openapi import DOCUMENT, page


def test_the_committed_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == page(), "run: python -m tools.generate_openapi"


async def test_the_served_document_is_the_committed_one(cloud: Cloud) -> None:
    assert (await cloud.http.get("/openapi.json")).json() == json.loads(
        DOCUMENT.read_text(encoding="utf-8")
    )


def test_every_route_says_which_roles_may_use_it_and_has_a_sentence() -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert set(operation["x-roles"]) <= {str(role) for role in Role}, (method, path)
            assert operation["description"].endswith("."), (method, path)
            limited = operation["responses"]["429"]["$ref"].rpartition("/")[2]
            assert "Retry-After" in document["components"]["responses"][limited]["headers"]


@pytest.mark.parametrize(
    "path", ["/", "/style.css", "/healthz", "/readyz", "/metrics", "/nothing", "/api/v1/whoami"]
)
async def test_every_answer_carries_a_strict_policy(cloud: Cloud, path: str) -> None:
    headers = (await cloud.http.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_the_page_names_the_release_and_runs_no_script(cloud: Cloud) -> None:
    page = (await cloud.http.get("/")).text
    assert __version__ in page
    assert "<script" not in page
    assert "style=" not in page
    for link in ("/openapi.json", "/api/v1", "/dicomweb", "/link"):
        assert link in page


async def test_ready_says_when_the_store_is_down(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await cloud.http.get("/readyz")).text == "ready\n"

    async def down(*_: object, **__: object) -> None:
        raise StorageUnavailableError

    monkeypatch.setattr(cloud.records.organisations, "organisations", down)
    assert (await cloud.http.get("/readyz")).status_code == 503
    assert (await cloud.http.get("/healthz")).status_code == 200


async def test_ready_says_what_workers_run_without(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(APP.state, "unprotected", {"landlock": "ENOSYS"})
    answer = await cloud.http.get("/readyz")
    assert (answer.status_code, answer.text) == (
        200,
        "ready\nworkers run without landlock: ENOSYS\n",
    )


async def test_metrics_hold_no_names(cloud: Cloud) -> None:
    await cloud.call("GET", "studies", await cloud.token(Role.CLINICIAN), patient_name="Heron^Ada")
    text = (await cloud.http.get("/metrics")).text
    assert 'swallowtail_http_requests_total{method="GET",status="200"}' in text
    assert "Heron" not in text


async def test_an_unknown_path_is_a_problem_with_a_remedy(cloud: Cloud) -> None:
    answer = await cloud.http.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/openapi.json" in answer.json()["remedy"]


async def test_a_fault_of_ours_tells_nothing_of_its_inside(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("Heron^Ada")

    monkeypatch.setattr(cloud.records.organisations, "facilities", broken)
    answer = await cloud.call("GET", "facilities", await cloud.token(Role.AUDITOR))
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "Heron" not in answer.text


async def test_a_body_over_the_limit_hears_so_from_every_route_that_takes_one(cloud: Cloud) -> None:
    answer = await cloud.call(
        "POST", "facilities", await cloud.token(Role.ADMINISTRATOR), {"name": "x" * MAX_BODY}
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too-large"
    assert answer.json()["remedy"]
