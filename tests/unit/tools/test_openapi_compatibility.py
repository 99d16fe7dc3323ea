"""The comparison that keeps /api/v1 to additions: each kind of change, and the API itself."""

import copy
import json
from typing import Any

import pytest

from swallowtail.cloud.web.openapi_document import describe
from tests.unit.cloud.web.conftest import APP
from tools.generate_openapi import BASELINE
from tools.openapi_compatibility import incompatibilities

OLD: dict[str, Any] = {
    "paths": {
        "/things": {
            "get": {
                "x-roles": ["auditor", "operator"],
                "parameters": [
                    {
                        "in": "query",
                        "name": "state",
                        "schema": {"type": "string", "enum": ["new", "old"]},
                    },
                    {"in": "query", "name": "limit", "schema": {"type": "number", "maximum": 100}},
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                        }
                    },
                    "404": {},
                },
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/New"}}
                    }
                },
                "responses": {"201": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id", "state"],
                "properties": {
                    "id": {"type": "string"},
                    "state": {"type": "string", "enum": ["new", "old"]},
                    "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                },
            },
            "New": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
        }
    },
}
GET, POST = "paths./things.get", "paths./things.post"
THING, NEW = "components.schemas.Thing", "components.schemas.New"


def changed(path: str, value: Any = None) -> dict[str, Any]:
    """Return the document with one change; None removes."""
    document: Any = copy.deepcopy(OLD)
    *steps, last = path.split(".")
    target = document
    for step in steps:
        target = target[int(step) if isinstance(target, list) else step]
    key: Any = int(last) if last.isdigit() and isinstance(target, list) else last
    if value is None:
        del target[key]
    else:
        target[key] = value
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("paths./things", None, "the path is removed"),
        (GET, None, "the method is removed"),
        (f"{GET}.x-roles", ["operator"], "the role auditor is no longer allowed"),
        (f"{GET}.parameters.0", None, "the parameter state is removed"),
        (f"{GET}.parameters.0.required", True, "the parameter state is now required"),
        (f"{GET}.parameters.0.schema.enum", ["new"], "the value 'old' is removed"),
        (f"{GET}.parameters.1.schema.maximum", 50, "maximum is narrowed to 50"),
        (f"{GET}.parameters.1.schema.minimum", 1, "minimum is narrowed to 1"),
        (
            f"{GET}.parameters.1.schema.type",
            "integer",
            "the type is changed from number to integer",
        ),
        (f"{GET}.responses.200", None, "the response 200 is removed"),
        (f"{GET}.responses.200.content", {"text/plain": {}}, "application/json is removed"),
        (f"{POST}.requestBody", None, "the body is removed"),
        (f"{POST}.requestBody.required", True, "a body is now required"),
        (f"{THING}.properties.size", None, ".size: the field is removed"),
        (f"{THING}.properties.state.enum", ["new"], "the value 'old' is removed"),
        (f"{THING}.properties.id.type", "integer", "the type is changed from string to integer"),
        (f"{THING}.properties.id.type", ["string", "null"], "the type is changed from string"),
        (f"{THING}.required", ["state"], ".id: the field may now be absent"),
        (f"{NEW}.properties.note", None, ".note: the field is removed"),
        (f"{NEW}.properties.note", {"type": "string"}, "the type is changed from null or string"),
        (f"{NEW}.properties.name.maxLength", 5, "maxLength is narrowed to 5"),
        (f"{NEW}.properties.name.pattern", "^a", "pattern is narrowed to ^a"),
        (f"{NEW}.properties.name.enum", ["a"], "only some values are accepted now"),
        (f"{NEW}.required", ["name", "note"], ".note: the field is now required"),
        (f"{NEW}.additionalProperties", False, "other keys are no longer accepted"),
    ],
)
def test_a_change_that_a_client_would_notice_is_found(
    path: str, value: Any, complaint: str
) -> None:
    found = incompatibilities(OLD, changed(path, value))
    assert any(complaint in one for one in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("paths./others", {"get": {}}),
        ("paths./things.put", {"responses": {}}),
        (f"{GET}.x-roles", ["auditor", "clinician", "operator"]),
        (f"{GET}.parameters.2", None),
        (f"{GET}.parameters.0.schema.enum", ["new", "old", "lost"]),
        (f"{GET}.parameters.1.schema.maximum", 500),
        (f"{GET}.responses.202", {}),
        (f"{GET}.responses.404", None),
        (f"{THING}.properties.extra", {"type": "string"}),
        (f"{THING}.properties.state.enum", ["new", "old", "lost"]),
        (f"{THING}.properties.size", {"type": "number"}),
        (f"{THING}.required", ["id", "size", "state"]),
        (f"{NEW}.properties.extra", {"type": "string"}),
        (f"{NEW}.properties.name.maxLength", 50),
        (f"{NEW}.required", []),
    ],
)
def test_an_addition_passes(path: str, value: Any) -> None:
    if path.endswith("parameters.2"):
        new = copy.deepcopy(OLD)
        new["paths"]["/things"]["get"]["parameters"].append({"in": "query", "name": "x"})
    else:
        new = changed(path, value)
    assert incompatibilities(OLD, new) == []


def test_a_new_parameter_that_is_required_is_found() -> None:
    new = copy.deepcopy(OLD)
    parameter = {"in": "query", "name": "x", "required": True}
    new["paths"]["/things"]["get"]["parameters"].append(parameter)
    assert incompatibilities(OLD, new) == ["GET /things: the parameter x is new and required"]


def test_the_api_only_adds_to_its_baseline() -> None:
    document = describe(APP)
    assert incompatibilities(document, document) == []
    assert incompatibilities(json.loads(BASELINE.read_text(encoding="utf-8")), document) == []
