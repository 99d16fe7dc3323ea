"""The application behind the one port.

API, DICOMweb, pages, and whatever the composition root mounts beside them (/link).
"""

import time
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from swallowtail import __version__
from swallowtail.calls.config import InvalidConfigurationError
from swallowtail.cloud.model.port_errors import CloudError
from swallowtail.cloud.web import pages, routes
from swallowtail.cloud.web.guard import Guard
from swallowtail.cloud.web.hosts import HostCheck, HostNames
from swallowtail.cloud.web.openapi_document import describe
from swallowtail.cloud.web.problems import ProblemError, answer_problem
from swallowtail.cloud.web.proxies import Network, TrustedProxies
from swallowtail.cloud.web.rate_limits import AddressLimits, RequestLimits
from swallowtail.cloud.web.route import router
from swallowtail.cloud.web.use_cases import UseCases


async def _describe(request: Request) -> Response:
    app: FastAPI = request.app
    if app.openapi_schema is None:
        app.openapi_schema = await run_in_threadpool(
            describe, app
        )  # a third of a second that the loop does not have
    return JSONResponse(app.openapi_schema)


def build(
    use_cases: UseCases | None,
    beside: Sequence[BaseRoute] = (),
    *,
    hosts: HostNames | None = None,
    limits: RequestLimits | None = None,
    proxies: Sequence[Network] = (),
) -> FastAPI:
    """Build the application; without `use_cases` it can only describe itself.

    Without `hosts` it answers only requests to loopback and to the address where they arrive.
    """
    app = FastAPI(
        title="Swallowtail Cloud",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.use_cases = use_cases
    app.state.unprotected = {}
    app.state.limits = limits or RequestLimits(time.monotonic)
    for prefix, table in routes.TABLES:
        app.include_router(router(prefix, table))
    app.add_route("/openapi.json", _describe)
    app.router.routes.extend((*pages.ROUTES, *beside))
    for kind in (
        ProblemError,
        CloudError,
        InvalidConfigurationError,
        RequestValidationError,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, answer_problem)
    app.add_middleware(HostCheck, names=hosts or HostNames())
    app.add_middleware(AddressLimits, guarded=tuple(f"{prefix}/" for prefix, _ in routes.TABLES))
    app.add_middleware(Guard)  # around those: what they refuse is counted, and has its headers
    app.add_middleware(TrustedProxies, trusted=proxies)
    return app
