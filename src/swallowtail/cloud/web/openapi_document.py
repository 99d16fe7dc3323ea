"""The OpenAPI document: the routes as FastAPI describes them, every refusal, and DICOM JSON.

Each operation lists every status that it can answer; the tests fail on one that is not listed.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.access import LIMITED_KEY, ROLES_KEY, Limited
from swallowtail.cloud.web.dicomweb.dicom_schema import DICOM_SCHEMAS
from swallowtail.cloud.web.openapi_terms import add_descriptions
from swallowtail.cloud.web.problems import MEDIA_TYPE, title_of

REFUSES_KEY: Final = "x-refuses"
"""Where a route keeps statuses that follow from nothing else in the document; removed from it."""

DESCRIPTION: Final = """Everything that can be done with a Swallowtail Cloud.

Every list is paged: `limit` and `cursor` are parameters, `next` is the cursor of the next page.
Every failure is `application/problem+json` (RFC 9457) with `code`, `detail`, `remedy` and, where
fields are invalid, `errors`. The organisation is the one of the token; an operator names it with
`?organisation=`. Requests are limited by token or, without a valid one, by address: 429 with
`Retry-After`. `/api/v1` changes only by addition: ignore unknown keys."""

PROBLEM: Final = {
    "type": "object",
    "description": "What failed, where, and what to do next (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "remedy"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "What a program decides by."},
        "detail": {"type": "string"},
        "remedy": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

REFUSALS: Final[Mapping[int, str]] = {
    400: "A parameter or the Host header cannot be read, or the organisation is not named",
    401: "No token, or one that is unknown, expired or revoked",
    403: "The token's role or its limit to facilities does not allow this",
    404: "No such thing, or one of another organisation or facility",
    406: "Nothing that Accept allows can be given; `remedy` lists what can",
    408: "The body came too slowly",
    409: "Something else is in the way, like a name that is taken; read the present state again",
    413: "The body, or what is asked for, is too large",
    415: "The body is of another media type",
    416: "No byte is in the range",
    421: "The Cloud is not served under this host name",
    422: "A field is wrong; `errors` names it",
    429: "Too many requests; wait for the seconds of Retry-After",
    500: "A fault of the Cloud",
    503: "Storage, or what else is needed, is not available; wait for the seconds of Retry-After",
}
ALWAYS: Final = frozenset({400, 401, 421, 429, 500, 503})
_RETRY: Final = {
    "Retry-After": {
        "description": "Seconds",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
_CHALLENGE: Final = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
_HEADERS: Final = {401: _CHALLENGE, 429: _RETRY, 503: _RETRY}
_NAME: Final = {status: title_of(status).replace(" ", "") for status in REFUSALS}
_CONTENT: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document; it is committed as docs/openapi.json and compared in the tests."""
    document = get_openapi(title=app.title, version="1", description=DESCRIPTION, routes=app.routes)
    components = document["components"]
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "swt_…"}
    components["securitySchemes"] = {"token": scheme}
    for theirs in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(theirs, None)
    components["responses"] = {_NAME[status]: _response(status) for status in REFUSALS}
    components["schemas"] |= {"Problem": PROBLEM, **DICOM_SCHEMAS}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            responses.pop("422", None)  # FastAPI's own shape, which we never send
            for status in sorted(_refusals(path, method, operation)):
                _add(responses, status)
    add_descriptions(document)
    return document


def _refusals(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """Return the statuses with which an operation refuses a request."""
    found = {*ALWAYS, *operation.pop(REFUSES_KEY, ())}
    parameters = {one["name"] for one in operation.get("parameters", ())}
    limited = operation[LIMITED_KEY] in {Limited.REFUSED, Limited.BY_FACILITY}
    if limited or set(operation[ROLES_KEY]) != {str(role) for role in Role}:
        found |= {403}
    if "{" in path or "organisation" in parameters:
        found |= {404}
    if "requestBody" in operation:
        found |= {408, 413}
    if method != "get":
        found |= {409}
    if parameters or "requestBody" in operation:
        found |= {422}
    return found


def _response(status: int) -> dict[str, Any]:
    response = {"description": REFUSALS[status], "content": _CONTENT}
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def _add(responses: dict[str, Any], status: int) -> None:
    """Add a refusal; a status that is another answer too has the problem as one more content."""
    if (other := responses.get(str(status))) is not None:
        other["content"] |= _CONTENT
    else:
        responses[str(status)] = {"$ref": f"#/components/responses/{_NAME[status]}"}
