"""API tokens of organisations and of operators: list, create, update, rotate, revoke.

What a token may do is decided by other tokens: none changes its own role, facilities or expiry, so
that a leaked one can neither widen nor prolong itself.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query, Response
from pydantic import Field

from swallowtail.cloud.model.archives import MAX_ARCHIVES
from swallowtail.cloud.model.audit import AuditEvent, EventAction
from swallowtail.cloud.model.credentials import mint_token
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.tenancy import (
    OPERATOR,
    ApiToken,
    Role,
    Tenant,
    TokenChange,
    TokenSearch,
    TokenState,
)
from swallowtail.cloud.model.use_case_errors import ForbiddenError
from swallowtail.cloud.web.access import Anywhere, Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    Body,
    Moment,
    Out,
    PageOut,
    Title,
    page_out,
    sorted_or_none,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, OPERATORS
from swallowtail.cloud.web.route import REFUSED, Route

MAX_GRACE: Final = 86_400.0
"""Seconds that a replaced secret may stay valid."""
MAX_FACILITIES: Final = 1000

Facilities = Annotated[list[str], Field(max_length=MAX_FACILITIES)]
Archives = Annotated[list[str], Field(max_length=MAX_ARCHIVES)]
LIMITED: Final = "Ids of the facilities that it is limited to; null: not limited."
FILED: Final = "Ids of the archives whose studies alone it sees; null: not limited."
EXPIRES: Final = "When it expires, UTC seconds, in the future; null: never."


class TokenOut(Out):
    """An API token, without its secret."""

    id: str
    name: str
    role: Role
    facilities: list[str] | None = Field(description=LIMITED)
    archives: list[str] | None = Field(description=FILED)
    created: float
    expires: float | None = Field(description="When it expires, UTC seconds; null: never.")
    revoked: float | None
    rotated: float | None = Field(description="When its secret was last replaced.")
    previous_until: float | None = Field(
        description="Until when the secret before the last rotation stays valid; null: it is not.",
    )


class TokenNew(Body):
    """A token to create."""

    name: Title
    role: Role
    facilities: Facilities | None = Field(None, description=LIMITED)
    archives: Archives | None = Field(None, description=FILED)
    expires: Moment | None = Field(None, description=EXPIRES)


class TokenUpdate(Body):
    """What to change of a token; keys that are left out stay as they are."""

    name: Title | None = Field(None, description="null: unchanged.")
    role: Role | None = Field(None, description="null: unchanged.")
    facilities: Facilities | None = Field(None, description=LIMITED)
    archives: Archives | None = Field(None, description=FILED)
    expires: Moment | None = Field(None, description=EXPIRES)


class OperatorTokenUpdate(Body):
    """What to change of an operator's token; keys that are left out stay as they are."""

    name: Title | None = Field(None, description="null: unchanged.")
    expires: Moment | None = Field(None, description=EXPIRES)


class TokenRotation(Body):
    """How to rotate a token."""

    grace: Annotated[float, Field(ge=0, le=MAX_GRACE, allow_inf_nan=False)] = Field(
        0.0,
        description="Seconds that the old secret stays valid, at most a day; 0: it ends at once.",
    )


AT_ONCE: Final = TokenRotation(grace=0.0)


class TokenWithSecret(TokenOut):
    """A token together with its secret, which is not shown again."""

    token: str


def _search(
    name: Annotated[
        str,
        Query(max_length=200, description="By name; `*` and `?` are wildcards."),
    ] = "",
    role: Annotated[Role | None, Query(description="By role.")] = None,
    facility: Annotated[
        str,
        Query(
            max_length=64,
            description="By facility id: tokens that are limited to it, or not limited.",
        ),
    ] = "",
    state: Annotated[TokenState | None, Query(description="By state.")] = None,
) -> TokenSearch:
    return TokenSearch(name=name, role=role, facility=facility, state=state)


def _operator_search(
    name: Annotated[
        str,
        Query(max_length=200, description="By name; `*` and `?` are wildcards."),
    ] = "",
    state: Annotated[TokenState | None, Query(description="By state.")] = None,
) -> TokenSearch:
    return TokenSearch(name=name, state=state)


Searching = Annotated[TokenSearch, Depends(_search)]
OperatorSearching = Annotated[TokenSearch, Depends(_operator_search)]


async def list_tokens(caller: InOrganisation, page: Paging, search: Searching) -> PageOut[TokenOut]:
    """List tokens.

    Returns the API tokens of the organisation by id, without their secrets. Expired and revoked
    tokens are included unless `state` is given.
    """
    return await _list(caller, caller.tenant, page, search)


async def create_token(caller: InOrganisation, body: TokenNew) -> TokenWithSecret:
    """Create a token.

    Returns the token with its secret, which is not shown again.
    """
    _check_role(body.role)
    await _check_facilities(caller, body.facilities)
    await _check_archives(caller, body.archives)
    return await _mint(caller, caller.tenant, body)


async def get_token(caller: InOrganisation, token_id: str) -> TokenOut:
    """Get a token.

    Returns one API token of the organisation, without its secret.
    """
    return _out(await caller.services.tokens.token(caller.tenant, token_id))


async def update_token(caller: InOrganisation, token_id: str, body: TokenUpdate) -> TokenOut:
    """Update a token.

    Changes its name, role, facilities, archives or expiry; requests that follow are judged by the
    new values. A token cannot change its own role, limits or expiry, and a revoked token cannot be
    changed.
    """
    _check_role(body.role)
    await _check_facilities(caller, body.facilities)
    await _check_archives(caller, body.archives)
    return await _update(caller, caller.tenant, token_id, body)


async def rotate_token(
    caller: InOrganisation,
    token_id: str,
    body: TokenRotation = AT_ONCE,
) -> TokenWithSecret:
    """Rotate a token.

    Replaces its secret and returns the new one, which is not shown again. The old secret ends at
    once, or after `grace` seconds; a secret that an earlier rotation left valid ends at once.
    """
    return await _rotate(caller, caller.tenant, token_id, body)


async def revoke_token(caller: InOrganisation, token_id: str) -> Response:
    """Revoke a token.

    Its secrets end at once. Revoking a revoked token changes nothing.
    """
    return await _revoke(caller, caller.tenant, token_id)


async def list_operator_tokens(
    caller: Anywhere,
    page: Paging,
    search: OperatorSearching,
) -> PageOut[TokenOut]:
    """List operator tokens.

    Returns the operators' tokens by id, without their secrets. Expired and revoked tokens are
    included unless `state` is given.
    """
    return await _list(caller, OPERATOR, page, search)


async def create_operator_token(caller: Anywhere, body: TokenNew) -> TokenWithSecret:
    """Create an operator token.

    Returns the token with its secret, which is not shown again.
    """
    if body.role is not Role.OPERATOR or body.facilities is not None or body.archives is not None:
        raise invalid("$.role", "here the role is operator, without facilities and archives")
    return await _mint(caller, None, body)


async def get_operator_token(caller: Anywhere, token_id: str) -> TokenOut:
    """Get an operator token.

    Returns one operator's token, without its secret.
    """
    return _out(await caller.services.tokens.token(OPERATOR, token_id))


async def update_operator_token(
    caller: Anywhere,
    token_id: str,
    body: OperatorTokenUpdate,
) -> TokenOut:
    """Update an operator token.

    Changes its name or expiry. A token cannot change its own expiry, and a revoked token cannot be
    changed.
    """
    return await _update(caller, OPERATOR, token_id, body)


async def rotate_operator_token(
    caller: Anywhere,
    token_id: str,
    body: TokenRotation = AT_ONCE,
) -> TokenWithSecret:
    """Rotate an operator token.

    Replaces its secret and returns the new one, which is not shown again. The old secret ends at
    once, or after `grace` seconds; a secret that an earlier rotation left valid ends at once.
    """
    return await _rotate(caller, OPERATOR, token_id, body)


async def revoke_operator_token(caller: Anywhere, token_id: str) -> Response:
    """Revoke an operator token.

    Its secrets end at once. Revoking a revoked token changes nothing.
    """
    return await _revoke(caller, OPERATOR, token_id)


def _check_role(role: Role | None) -> None:
    if role is Role.OPERATOR:
        detail = "an operator's token belongs to no organisation; use /api/v1/operator-tokens"
        raise ForbiddenError(detail)


async def _check_facilities(caller: Caller, facilities: list[str] | None) -> None:
    if not facilities:
        return
    people = caller.services.people
    known = {one.id async for one in walk(lambda page: people.facilities(caller.tenant, page))}
    if unknown := [one for one in facilities if one not in known]:
        raise invalid("$.facilities", f"there is no facility {unknown[0]!r} in this organisation")


async def _check_archives(caller: Caller, archives: list[str] | None) -> None:
    known = await caller.services.archives.known(caller.tenant, archives or [])
    if unknown := [one for one in archives or () if one not in known]:
        raise invalid("$.archives", f"there is no archive {unknown[0]!r} in this organisation")


def _check_expiry(caller: Caller, expires: float | None) -> None:
    if expires is not None and expires <= caller.now:
        raise invalid("$.expires", "is in the past; it is UTC seconds")


async def _list(
    caller: Caller,
    tenant: Tenant,
    page: Paging,
    search: TokenSearch,
) -> PageOut[TokenOut]:
    found = await caller.services.tokens.tokens(tenant, search, page, now=caller.now)
    return page_out(found, _out)


async def _mint(caller: Caller, tenant: Tenant | None, body: TokenNew) -> TokenWithSecret:
    now, services = caller.now, caller.services
    _check_expiry(caller, body.expires)
    token = ApiToken(
        id=new_id(services.random),
        tenant=tenant,
        name=body.name,
        role=body.role,
        facilities=None if body.facilities is None else frozenset(body.facilities),
        archives=None if body.archives is None else frozenset(body.archives),
        created=now,
        expires=body.expires,
    )
    secret = mint_token(services.random)
    event = _event(caller, EventAction.CREATE, "token.create", token.id, f"role {token.role}")
    await services.tokens.add(token, services.hashes.of_token(secret), now=now, event=event)
    return _with_secret(token, secret)


async def _update(
    caller: Caller,
    tenant: Tenant,
    token_id: str,
    body: TokenUpdate | OperatorTokenUpdate,
) -> TokenOut:
    change = _change(body)
    given = change.values()
    if token_id == caller.principal.id and given.keys() - {"name"}:
        detail = "a token cannot change its own role, limits or expiry; use another token"
        raise ForbiddenError(detail)
    if "expires" in given:
        _check_expiry(caller, given["expires"])
    detail = "; ".join(f"{name} {_told(value)}" for name, value in given.items())
    event = _event(caller, EventAction.UPDATE, "token.update", token_id, detail)
    tokens = caller.services.tokens
    return _out(await tokens.change(tenant, token_id, change, now=caller.now, event=event))


def _change(body: TokenUpdate | OperatorTokenUpdate) -> TokenChange:
    """Return what a body sets; null means no limit or no end where there can be none."""
    given: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
    for name in ("name", "role"):
        if given.get(name) is None:
            given.pop(name, None)
    for name in ("facilities", "archives"):
        if given.get(name) is not None:
            given[name] = frozenset(given[name])
    return TokenChange(**given)


def _told(value: Any) -> str:
    """Return a changed value as the audit record shows it."""
    if isinstance(value, frozenset):
        return ",".join(sorted(value)) or "none"
    return "unlimited" if value is None else str(value)


async def _rotate(
    caller: Caller,
    tenant: Tenant,
    token_id: str,
    body: TokenRotation,
) -> TokenWithSecret:
    now, services = caller.now, caller.services
    grace, secret = body.grace, mint_token(services.random)
    detail = f"the old secret ends in {grace:g} s" if grace else "the old secret ends at once"
    token = await services.tokens.rotate(
        tenant,
        token_id,
        services.hashes.of_token(secret),
        until=now + grace if grace else None,
        now=now,
        event=_event(caller, EventAction.UPDATE, "token.rotate", token_id, detail),
    )
    return _with_secret(token, secret)


async def _revoke(caller: Caller, tenant: Tenant, token_id: str) -> Response:
    event = _event(caller, EventAction.DELETE, "token.revoke", token_id)
    await caller.services.tokens.revoke(tenant, token_id, now=caller.now, event=event)
    return Response(status_code=204)


def _event(
    caller: Caller,
    action: EventAction,
    kind: str,
    token_id: str,
    detail: str = "",
) -> AuditEvent:
    return caller.event(action, kind, ("token", token_id), detail=detail)


def _with_secret(token: ApiToken, secret: str) -> TokenWithSecret:
    return TokenWithSecret(**_out(token).model_dump(), token=secret)


def _out(token: ApiToken) -> TokenOut:
    listed = {
        "facilities": sorted_or_none(token.facilities),
        "archives": sorted_or_none(token.archives),
    }
    return TokenOut(**msgspec.structs.asdict(token) | listed)


ROUTES: Final = (
    Route("GET", "/tokens", list_tokens, ACCESS_MANAGERS, REFUSED, "access"),
    Route("POST", "/tokens", create_token, ACCESS_MANAGERS, REFUSED, "access", 201),
    Route("GET", "/tokens/{token_id}", get_token, ACCESS_MANAGERS, REFUSED, "access"),
    Route("PATCH", "/tokens/{token_id}", update_token, ACCESS_MANAGERS, REFUSED, "access"),
    Route("POST", "/tokens/{token_id}/rotate", rotate_token, ACCESS_MANAGERS, REFUSED, "access"),
    Route("DELETE", "/tokens/{token_id}", revoke_token, ACCESS_MANAGERS, REFUSED, "access", 204),
    Route("GET", "/operator-tokens", list_operator_tokens, OPERATORS, REFUSED, "access"),
    Route("POST", "/operator-tokens", create_operator_token, OPERATORS, REFUSED, "access", 201),
    Route("GET", "/operator-tokens/{token_id}", get_operator_token, OPERATORS, REFUSED, "access"),
    Route(
        "PATCH", "/operator-tokens/{token_id}", update_operator_token, OPERATORS, REFUSED, "access"
    ),
    Route(
        "POST",
        "/operator-tokens/{token_id}/rotate",
        rotate_operator_token,
        OPERATORS,
        REFUSED,
        "access",
    ),
    Route(
        "DELETE",
        "/operator-tokens/{token_id}",
        revoke_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        204,
    ),
)
