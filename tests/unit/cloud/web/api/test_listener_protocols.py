"""A listener of a second protocol in the API's configuration document."""

import pytest

from swallowtail.cloud.model.tenancy import Role
from tests.line_echo import registered
from tests.unit.cloud.web.conftest import Cloud

PATH = "links/radiology-heron/configuration"
LISTENER = {"protocol": "line-echo", "name": "echo", "port": 7777, "prefix": "> "}


async def test_the_document_is_accepted_with_the_protocol_and_refused_without(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    body = {"document": {"listeners": [LISTENER]}}
    refused = (await cloud.call("PUT", PATH, admin, body)).json()
    assert refused["errors"][0]["field"] == "$.listeners[0].protocol"
    registered(monkeypatch)
    kept = (await cloud.call("PUT", PATH, admin, body)).json()
    assert kept["document"]["listeners"] == [LISTENER | {"address": "0.0.0.0", "max_line": 80}]
    wrong = {"document": {"listeners": [LISTENER | {"prefix": ">" * 16, "max_line": 8}]}}
    problems = (await cloud.call("PUT", PATH, admin, wrong)).json()["errors"]
    assert [one["field"] for one in problems] == ["$.listeners[0].prefix"]
    schema = (await cloud.call("GET", "schemas/configuration", admin)).json()
    assert "LineEchoListener" in schema["$defs"]
