"""The application behind the one port: API, DICOMweb, pages, and whatever the composition root mounts beside them (/link)."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
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
from swallowtail.cloud.web.problems import ProblemError, answer_problem

DESCRIPTION = """Everything that can be done with a Swallowtail Cloud.

Every list pages: `limit` and `cursor` in, `next` out. Every failure is `application/problem+json` (RFC 9457) with `code`, `detail`,
`remedy` and, where fields are wrong, `errors`. The organisation comes from the token alone; an operator names
it with `?organisation=`. `/api/v1` changes only by addition: ignore keys that you do not know."""


def describe(app: FastAPI) -> dict[str, Any]:
    """Give the OpenAPI document; it is committed as docs/openapi.json and compared in the tests."""
    document = get_openapi(title=app.title, version="1", description=DESCRIPTION, routes=app.routes)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "swt_…"}}
    return document


async def _describe(request: Request) -> Response:
    app: FastAPI = request.app
    if app.openapi_schema is None:
        app.openapi_schema = describe(app)
    return JSONResponse(app.openapi_schema)


def build(services: Services | None, beside: Sequence[BaseRoute] = ()) -> FastAPI:
    """Put the application together; without `services` it can only describe itself."""
    app = FastAPI(title="Swallowtail Cloud", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.services = services
    for prefix, routes in table.TABLES:
        app.include_router(table.router(prefix, routes))
    app.add_route("/openapi.json", _describe)
    app.router.routes.extend((*pages.ROUTES, *beside))
    for kind in (ProblemError, CloudError, InvalidConfigurationError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer_problem)
    app.add_middleware(Guard)
    return app
