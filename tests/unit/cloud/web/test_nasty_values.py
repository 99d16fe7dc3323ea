"""Nasty values in every parameter and every body that the API's document knows.

Whatever they are, no answer is a fault of ours.
"""

import json
from typing import Any

import pytest

from swallowtail.cloud.model.paging import cursor_of
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import Cloud
from tools.generate_openapi import DOCUMENT

NASTY = [
    "",
    "0",
    "-1",
    "9223372036854775808",
    "1" * 400,
    "nan",
    "inf",
    "\x00",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "../../etc/passwd",
    "' OR 1=1 --",
    "%",
    "*" * 200,
    "<script>",
    "2026-13-45",
    "=cmd",
    ",".join("1.2.3" for _ in range(1000)),
    cursor_of((2**63, "x")),
    cursor_of(("x", 2**64 - 1)),
    cursor_of((float("nan"), -(2**63))),
]
DEEP = json.loads("[" * 200 + "]" * 200)
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].items()
    for method, operation in methods.items()
]


def a_role(operation: dict[str, Any]) -> Role:
    roles = {Role(role) for role in operation["x-roles"]}
    return min(roles - {Role.OPERATOR}, default=Role.OPERATOR)


def filled(path: str, value: str) -> str:
    from urllib.parse import quote

    parts = path.split("/")
    return "/".join(
        quote(value, safe="") or "-" if part.startswith("{") else part for part in parts
    )


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
async def test_nasty_parameters_are_answered(cloud: Cloud, value: str) -> None:
    tokens = {role: await cloud.token(role) for role in Role}
    for method, path, operation in OPERATIONS:
        names = [
            parameter["name"]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        ]
        for name in [*(name for name in names if name != "organisation"), None]:
            query = {} if name is None else {name: value}
            answer = await cloud.call(
                method,
                filled(path, value if name is None else "1"),
                tokens[a_role(operation)],
                {},
                **query,
            )
            assert answer.status_code < 500 or answer.json()["code"] == "link-offline", (
                method,
                path,
                name,
                answer.text,
            )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        "\x00",
        10**30,
        float("nan"),
        float("inf"),
        DEEP,
        "x" * 100_000,
        True,
        {"$ref": "#"},
    ],
    ids=range(11),
)
async def test_nasty_bodies_are_answered(cloud: Cloud, value: Any) -> None:
    tokens = {role: await cloud.token(role) for role in Role}
    schemas = json.loads(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    for method, path, operation in OPERATIONS:
        if "application/json" not in operation.get("requestBody", {"content": {}})["content"]:
            continue
        schema = schemas[
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition(
                "/"
            )[2]
        ]
        for body in [
            value,
            *({name: value} for name in schema["properties"]),
            dict.fromkeys(schema["properties"], value),
        ]:
            headers = {
                "Authorization": f"Bearer {tokens[a_role(operation)]}",
                "Content-Type": "application/json",
            }
            target = path.replace("{link_id}", "radiology-heron").replace(
                "{facility_id}", "main-heron"
            )
            content = json.dumps(body).encode()
            answer = await cloud.http.request(
                method, filled(target, "1"), headers=headers, content=content
            )
            assert answer.status_code < 500, (method, path, body, answer.text)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"name":' * 50_000, b"1" * 1_000_000]
)
async def test_what_is_no_json_is_answered(cloud: Cloud, content: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {await cloud.token(Role.ADMINISTRATOR)}",
        "Content-Type": "application/json",
    }
    for method, path in (
        ("POST", "/api/v1/links"),
        ("PUT", "/api/v1/links/radiology-heron/configuration"),
    ):
        answer = await cloud.http.request(method, path, headers=headers, content=content)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
