"""The row of a route table, and the routes that FastAPI gets from a table.

A row names everything that is decided about a request before its handler is called, and what the
OpenAPI document contains of it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.access import LIMITED_KEY, ROLES_KEY, GuardedRoute, Limited
from swallowtail.cloud.web.dicomweb.dicom_schema import DATA_SET, DATA_SETS
from swallowtail.cloud.web.openapi_document import REFUSES_KEY

FILTERED, BY_FACILITY = Limited.FILTERED, Limited.BY_FACILITY
REFUSED, SAME = Limited.REFUSED, Limited.SAME

AUDIT_KEY: Final = "x-audit"
"""Where the OpenAPI document shows the type of the audit event."""

_TEXT: Final = {"schema": {"type": "string"}}
WHOLE_HEADERS: Final = {
    "ETag": {"description": "Where ranges are given: changes with the bytes", **_TEXT},
    "Accept-Ranges": {"description": "`bytes` where ranges are given", **_TEXT},
}
PART_HEADERS: Final = {
    **WHOLE_HEADERS,
    "Content-Range": {"description": "Which bytes, of how many", "required": True, **_TEXT},
}
RANGE_PARAMETERS: Final = [
    {
        "name": "Range",
        "in": "header",
        "description": (
            "One range of bytes, like `bytes=0-1023`; several are answered with the whole."
        ),
        **_TEXT,
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "An ETag: the range if the bytes are still those, else the whole.",
        **_TEXT,
    },
]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    roles: frozenset[Role]
    limited: Limited
    tag: str
    status: int = 200
    use_case: Callable[..., Any] | None = None
    """The method that the handler calls; it authorises the caller, and records the audit event."""
    audit: str = ""
    """The type of the audit event of a successful request; empty: it leaves none."""
    media: str = "application/json"
    """Of a successful response; anything but JSON is described as bytes."""
    or_media: tuple[str, ...] = ()
    """The other media types of a successful response."""
    also: tuple[tuple[int, str], ...] = ()
    """Other statuses with an answer of the same kind."""
    may_be_empty: bool = False
    """It answers 204 where nothing matches."""
    parameters: tuple[Mapping[str, Any], ...] = ()
    """The parameters that do not follow from its types."""
    body: Mapping[str, Any] | None = None
    """The body that it reads by itself."""
    refuses: frozenset[int] = frozenset()
    """Statuses of refusals that follow from nothing else; see `description`."""
    ranged: bool = False
    """It gives a range of the bytes if asked for one, and answers HEAD."""

    @property
    def described(self) -> dict[int | str, dict[str, Any]]:
        """The responses that do not follow from its types."""
        if self.media == "application/json":
            return {}
        schema: dict[str, Any] = {"type": "string", "format": "binary"}
        if self.media.endswith("+json"):
            schema = DATA_SETS if self.method == "GET" else DATA_SET
        nothing: dict[int | str, dict[str, Any]] = (
            {204: {"description": "Nothing matches"}} if self.may_be_empty else {}
        )
        same: dict[int | str, dict[str, Any]] = {}
        same |= {
            status: {"content": {self.media: {"schema": schema}}, "description": text}
            for status, text in self.also
        }
        content = {media: {"schema": schema} for media in (self.media, *self.or_media)}
        found: dict[str, Any] = {"content": content}
        if not self.ranged:
            return {self.status: found, **nothing, **same}
        part = {**found, "description": "The range that Range asks for", "headers": PART_HEADERS}
        return {self.status: found | {"headers": WHOLE_HEADERS}, 206: part, **nothing, **same}


def _prose(endpoint: Callable[..., Any]) -> tuple[str | None, str | None]:
    """Return title and description of an endpoint whose docstring has both.

    Else FastAPI makes them.
    """
    title, _, rest = inspect.cleandoc(endpoint.__doc__ or "").partition("\n\n")
    return (title.removesuffix("."), rest) if rest else (None, None)


def _extra(route: Route) -> dict[str, Any]:
    """Return what the document contains of a route beside FastAPI's description."""
    ranged = RANGE_PARAMETERS if route.ranged else ()
    body = {"requestBody": route.body} if route.body is not None else {}
    return {
        ROLES_KEY: sorted(route.roles),
        LIMITED_KEY: route.limited,
        **({AUDIT_KEY: route.audit} if route.audit else {}),
        REFUSES_KEY: sorted(route.refuses | ({416} if route.ranged else set())),
        "security": [{"token": []}],
        "parameters": [*route.parameters, *ranged],
        **body,
    }


def router(prefix: str, routes: Sequence[Route]) -> APIRouter:
    """Return the routes of one table, each restricted to its roles."""
    api = APIRouter(prefix=prefix, route_class=GuardedRoute)
    for route in routes:
        summary, description = _prose(route.endpoint)
        extra = _extra(route)
        if route.ranged:
            api.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                openapi_extra=extra,
                include_in_schema=False,
            )
        api.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            status_code=route.status,
            response_class=Response if route.described else JSONResponse,
            responses=route.described,
            tags=[route.tag],
            operation_id=route.endpoint.__name__,
            summary=summary,
            description=description,
            openapi_extra=extra,
        )
    return api
