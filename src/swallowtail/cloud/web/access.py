"""Authentication and authorisation of requests, before a handler is called.

The bearer token alone determines principal and tenant. The roles of the route decide whether it
is admitted.

The checks are ordered by what they disclose: no valid token 401, wrong role 403, another tenant's
thing 404.
All of it happens before a byte of the body is read.
"""

import enum
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from swallowtail.cloud.access_control.authentication import Authentication
from swallowtail.cloud.model.caller import Caller, check_unlimited
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import OPERATOR, Principal, Role
from swallowtail.cloud.model.use_case_errors import ForbiddenError
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.cloud.web.rate_limits import JUDGED, RequestLimits
from swallowtail.cloud.web.use_cases import UseCases

ROLES_KEY: Final = "x-roles"
"""Where a route keeps its roles.

The OpenAPI document shows them, and GuardedRoute checks them.
"""
LIMITED_KEY: Final = "x-limited"
"""Where a route keeps what it does for a limited token, as with ROLES_KEY."""


class Limited(enum.StrEnum):
    """The treatment of a token that is limited to facilities or archives (ADR 0014, 0021)."""

    FILTERED = "filtered"
    """It shows and changes what is in the token's facilities and archives.

    The rest does not exist (404).
    """
    BY_FACILITY = "by-facility"
    """As FILTERED for facilities.

    What it is about is in no archive: 403 to a token that is limited to archives.
    """
    REFUSED = "refused"
    """It concerns the whole organisation: 403."""
    SAME = "same"
    """It discloses nothing of any facility."""


def use_cases_of(request: Request) -> UseCases:
    """Return the use cases that the composition root has wired."""
    use_cases = request.app.state.use_cases
    assert isinstance(use_cases, UseCases)
    return use_cases


async def authenticate(request: Request) -> Principal:
    """Return the principal of the bearer token.

    Raises a 401 that is the same for none, unknown, expired and revoked.

    Raises a 429 beyond the limit of the token, or without a valid one beyond that of the address.
    """
    authentication = use_cases_of(request).get(Authentication)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    limits: RequestLimits = request.app.state.limits
    address = address_of(request)
    setattr(request.state, JUDGED, True)
    if scheme.lower() == "bearer" and secret:
        principal = await authentication.principal(secret.strip())
        if principal is not None:
            limits.count_token(principal.id)
            return principal
        limits.count_refused(address)  # beyond the limit nothing more is read for this request
        await authentication.record_refusal(secret.strip(), address)
    else:
        limits.count_refused(address)
    raise ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        "the request has no valid token",
        remedy=(
            "Send the header 'Authorization: Bearer swt_…' with a token that is neither expired nor"
            " revoked."
        ),
    )


async def admit(request: Request, roles: frozenset[Role], limited: Limited) -> Principal:
    """Check role and limits of the bearer token, and return its principal.

    The principal is kept with the request for `caller`.
    """
    principal = await authenticate(request)
    if principal.role not in roles:
        allowed = ", ".join(sorted(roles))
        raise ForbiddenError(f"the role {principal.role} may not do this; these may: {allowed}")
    if limited is Limited.REFUSED:
        check_unlimited(principal)
    if limited is Limited.BY_FACILITY and principal.archives is not None:
        raise ForbiddenError("this is in no archive, and the token is limited to some archives")
    request.state.principal = principal
    return principal


class GuardedRoute(APIRoute):
    """A route of the API that checks the caller before FastAPI reads the body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with the check before it."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        roles = frozenset(Role(role) for role in extra[ROLES_KEY])
        limited = Limited(extra[LIMITED_KEY])

        async def guarded(request: Request) -> Response:
            await admit(request, roles, limited)
            return await handle(request)

        return guarded


OrganisationId = Annotated[
    str | None, Query(description="The organisation's id; only an operator names another one.")
]


async def caller(request: Request, organisation: OrganisationId = None) -> Caller:
    """Return the caller, within an organisation.

    The token's own, or for an operator the one that `organisation` names by id.
    """
    principal: Principal = request.state.principal
    tenant = principal.tenant
    if tenant is None:
        if organisation is None:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                "organisation",
                "an operator's token belongs to no organisation",
                remedy="Name the organisation's id with ?organisation=….",
            )
        tenant = await use_cases_of(request).get(Authentication).organisation(organisation)
    elif organisation not in {None, tenant}:
        raise NotFoundError
    return Caller(principal, tenant, address_of(request))


async def operator(request: Request) -> Caller:
    """Return the caller, outside any organisation but the token's own."""
    principal: Principal = request.state.principal
    return Caller(principal, principal.tenant or OPERATOR, address_of(request))


def address_of(request: Request) -> str:
    """Return the peer's address without port."""
    return request.client.host if request.client else ""


InOrganisation = Annotated[Caller, Depends(caller)]
Anywhere = Annotated[Caller, Depends(operator)]
