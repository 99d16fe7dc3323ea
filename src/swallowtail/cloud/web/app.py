"""The application behind the one port: API, DICOMweb, pages, and whatever the composition root mounts beside them (/link)."""

import time
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from swallowtail import __version__
from swallowtail.calls.config import InvalidConfigurationError
from swallowtail.cloud.model.errors import CloudError
from swallowtail.cloud.web import pages, table
from swallowtail.cloud.web.access import Services
from swallowtail.cloud.web.guard import Guard
from swallowtail.cloud.web.hosts import HostCheck, HostNames
from swallowtail.cloud.web.problems import MEDIA_TYPE, ProblemError, answer_problem
from swallowtail.cloud.web.proxies import Network, TrustedProxies
from swallowtail.cloud.web.rate_limits import AddressLimits, RequestLimits

DESCRIPTION = """Everything that can be done with a Swallowtail Cloud.

Every list pages: `limit` and `cursor` in, `next` out. Every failure is `application/problem+json` (RFC 9457) with `code`, `detail`,
`remedy` and, where fields are wrong, `errors`. The organisation comes from the token alone; an operator names
it with `?organisation=`. Requests are limited, by token or, without a good one, by address: 429 with `Retry-After`.
`/api/v1` changes only by addition: ignore keys that you do not know."""


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


LIMITED: Final = {
    "description": "Too many requests; wait for the seconds of Retry-After",
    "headers": {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Give the OpenAPI document; it is committed as docs/openapi.json and compared in the tests."""
    document = get_openapi(title=app.title, version="1", description=DESCRIPTION, routes=app.routes)
    components = document["components"]
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "swt_…"}}
    for theirs in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(theirs, None)
    components["schemas"]["Problem"] = PROBLEM
    problem = {"description": "A problem", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)  # FastAPI's own shape, which we never send
            operation["responses"]["429"] = LIMITED
            operation["responses"]["default"] = problem
    return document


async def _describe(request: Request) -> Response:
    app: FastAPI = request.app
    if app.openapi_schema is None:
        app.openapi_schema = await run_in_threadpool(describe, app)  # a third of a second that the loop does not have
    return JSONResponse(app.openapi_schema)


def build(
    services: Services | None,
    beside: Sequence[BaseRoute] = (),
    *,
    hosts: HostNames | None = None,
    limits: RequestLimits | None = None,
    proxies: Sequence[Network] = (),
) -> FastAPI:
    """Put the application together; without `services` it can only describe itself.

    Without `hosts` it answers only requests to loopback and to the address where they arrive.
    """
    app = FastAPI(title="Swallowtail Cloud", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.services = services
    app.state.unprotected = {}
    app.state.limits = limits or RequestLimits(time.monotonic)
    for prefix, routes in table.TABLES:
        app.include_router(table.router(prefix, routes))
    app.add_route("/openapi.json", _describe)
    app.router.routes.extend((*pages.ROUTES, *beside))
    for kind in (ProblemError, CloudError, InvalidConfigurationError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer_problem)
    app.add_middleware(HostCheck, names=hosts or HostNames())
    app.add_middleware(AddressLimits, guarded=tuple(f"{prefix}/" for prefix, _ in table.TABLES))
    app.add_middleware(Guard)  # around those: what they refuse is counted, and has its headers
    app.add_middleware(TrustedProxies, trusted=proxies)
    return app
