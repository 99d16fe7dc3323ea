"""The REST resources of API tokens, of an organisation and of operators."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query, Response
from pydantic import Field

from swallowtail.cloud.access_control.tokens import (
    IssuedToken,
    OperatorTokenAdministration,
    TokenAdministration,
)
from swallowtail.cloud.model.archives import MAX_ARCHIVES
from swallowtail.cloud.model.tenancy import (
    ApiToken,
    Role,
    TokenChange,
    TokenSearch,
    TokenState,
)
from swallowtail.cloud.web.access import Anywhere, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    Body,
    Moment,
    Out,
    PageOut,
    Timestamp,
    Title,
    page_out,
    sorted_or_none,
)
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ACCESS_MANAGERS, OPERATORS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

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
    created: Timestamp
    expires: float | None = Field(description="When it expires, UTC seconds; null: never.")
    revoked: Timestamp | None
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
    expires: Moment | None = Field(None, strict=True, description=EXPIRES)


class TokenUpdate(Body):
    """A change of a token; keys that are left out stay as they are."""

    name: Title | None = Field(None, description="null: unchanged.")
    role: Role | None = Field(None, description="null: unchanged.")
    facilities: Facilities | None = Field(None, description=LIMITED)
    archives: Archives | None = Field(None, description=FILED)
    expires: Moment | None = Field(None, strict=True, description=EXPIRES)


class OperatorTokenUpdate(Body):
    """A change of an operator's token; keys that are left out stay as they are."""

    name: Title | None = Field(None, description="null: unchanged.")
    expires: Moment | None = Field(None, strict=True, description=EXPIRES)


class TokenRotation(Body):
    """A rotation of a token."""

    grace: Annotated[float, Field(strict=True, ge=0, le=MAX_GRACE, allow_inf_nan=False)] = Field(
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


Administration = Annotated[TokenAdministration, provided(TokenAdministration)]
OperatorAdministration = Annotated[
    OperatorTokenAdministration, provided(OperatorTokenAdministration)
]
Searching = Annotated[TokenSearch, Depends(_search)]
OperatorSearching = Annotated[TokenSearch, Depends(_operator_search)]


async def list_tokens(
    caller: InOrganisation, tokens: Administration, page: Paging, search: Searching
) -> PageOut[TokenOut]:
    """List tokens.

    Returns the API tokens of the organisation by id, without their secrets. Expired and revoked
    tokens are included unless `state` is given.
    """
    return page_out(await tokens.tokens(caller, search, page), _out)


async def create_token(
    caller: InOrganisation, tokens: Administration, body: TokenNew
) -> TokenWithSecret:
    """Create a token.

    Returns the token with its secret, which is not shown again.
    """
    return _with_secret(await tokens.create(caller, **body.model_dump()))


async def get_token(caller: InOrganisation, tokens: Administration, token_id: str) -> TokenOut:
    """Get a token.

    Returns one API token of the organisation, without its secret.
    """
    return _out(await tokens.token(caller, token_id))


async def update_token(
    caller: InOrganisation, tokens: Administration, token_id: str, body: TokenUpdate
) -> TokenOut:
    """Update a token.

    Changes its name, role, facilities, archives or expiry; the new values apply to later
    requests. A token cannot change its own role, limits or expiry, and a revoked token cannot be
    changed.
    """
    return _out(await tokens.update(caller, token_id, _change(body)))


async def rotate_token(
    caller: InOrganisation,
    tokens: Administration,
    token_id: str,
    body: TokenRotation = AT_ONCE,
) -> TokenWithSecret:
    """Rotate a token.

    Replaces its secret and returns the new one, which is not shown again. The old secret ends at
    once, or after `grace` seconds; a secret that an earlier rotation left valid ends at once.
    """
    return _with_secret(await tokens.rotate(caller, token_id, grace=body.grace))


async def revoke_token(caller: InOrganisation, tokens: Administration, token_id: str) -> Response:
    """Revoke a token.

    Its secrets end at once. Revoking a revoked token changes nothing.
    """
    await tokens.revoke(caller, token_id)
    return Response(status_code=204)


async def list_operator_tokens(
    caller: Anywhere,
    tokens: OperatorAdministration,
    page: Paging,
    search: OperatorSearching,
) -> PageOut[TokenOut]:
    """List operator tokens.

    Returns the operators' tokens by id, without their secrets. Expired and revoked tokens are
    included unless `state` is given.
    """
    return page_out(await tokens.tokens(caller, search, page), _out)


async def create_operator_token(
    caller: Anywhere, tokens: OperatorAdministration, body: TokenNew
) -> TokenWithSecret:
    """Create an operator token.

    Returns the token with its secret, which is not shown again.
    """
    return _with_secret(await tokens.create(caller, **body.model_dump()))


async def get_operator_token(
    caller: Anywhere, tokens: OperatorAdministration, token_id: str
) -> TokenOut:
    """Get an operator token.

    Returns one operator's token, without its secret.
    """
    return _out(await tokens.token(caller, token_id))


async def update_operator_token(
    caller: Anywhere,
    tokens: OperatorAdministration,
    token_id: str,
    body: OperatorTokenUpdate,
) -> TokenOut:
    """Update an operator token.

    Changes its name or expiry. A token cannot change its own expiry, and a revoked token cannot be
    changed.
    """
    return _out(await tokens.update(caller, token_id, _change(body)))


async def rotate_operator_token(
    caller: Anywhere,
    tokens: OperatorAdministration,
    token_id: str,
    body: TokenRotation = AT_ONCE,
) -> TokenWithSecret:
    """Rotate an operator token.

    Replaces its secret and returns the new one, which is not shown again. The old secret ends at
    once, or after `grace` seconds; a secret that an earlier rotation left valid ends at once.
    """
    return _with_secret(await tokens.rotate(caller, token_id, grace=body.grace))


async def revoke_operator_token(
    caller: Anywhere, tokens: OperatorAdministration, token_id: str
) -> Response:
    """Revoke an operator token.

    Its secrets end at once. Revoking a revoked token changes nothing.
    """
    await tokens.revoke(caller, token_id)
    return Response(status_code=204)


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


def _with_secret(issued: IssuedToken) -> TokenWithSecret:
    return TokenWithSecret(**_out(issued.token).model_dump(), token=issued.secret)


def _out(token: ApiToken) -> TokenOut:
    listed = {
        "facilities": sorted_or_none(token.facilities),
        "archives": sorted_or_none(token.archives),
    }
    return TokenOut(**msgspec.structs.asdict(token) | listed)


ROUTES: Final = (
    Route(
        "GET",
        "/tokens",
        list_tokens,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        use_case=TokenAdministration.tokens,
    ),
    Route(
        "POST",
        "/tokens",
        create_token,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        201,
        use_case=TokenAdministration.create,
        audit="token.create",
    ),
    Route(
        "GET",
        "/tokens/{token_id}",
        get_token,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        use_case=TokenAdministration.token,
    ),
    Route(
        "PATCH",
        "/tokens/{token_id}",
        update_token,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        use_case=TokenAdministration.update,
        audit="token.update",
    ),
    Route(
        "POST",
        "/tokens/{token_id}/rotate",
        rotate_token,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        use_case=TokenAdministration.rotate,
        audit="token.rotate",
    ),
    Route(
        "DELETE",
        "/tokens/{token_id}",
        revoke_token,
        ACCESS_MANAGERS,
        REFUSED,
        "access",
        204,
        use_case=TokenAdministration.revoke,
        audit="token.revoke",
    ),
    Route(
        "GET",
        "/operator-tokens",
        list_operator_tokens,
        OPERATORS,
        REFUSED,
        "access",
        use_case=OperatorTokenAdministration.tokens,
    ),
    Route(
        "POST",
        "/operator-tokens",
        create_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        201,
        use_case=OperatorTokenAdministration.create,
        audit="token.create",
    ),
    Route(
        "GET",
        "/operator-tokens/{token_id}",
        get_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        use_case=OperatorTokenAdministration.token,
    ),
    Route(
        "PATCH",
        "/operator-tokens/{token_id}",
        update_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        use_case=OperatorTokenAdministration.update,
        audit="token.update",
    ),
    Route(
        "POST",
        "/operator-tokens/{token_id}/rotate",
        rotate_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        use_case=OperatorTokenAdministration.rotate,
        audit="token.rotate",
    ),
    Route(
        "DELETE",
        "/operator-tokens/{token_id}",
        revoke_operator_token,
        OPERATORS,
        REFUSED,
        "access",
        204,
        use_case=OperatorTokenAdministration.revoke,
        audit="token.revoke",
    ),
)
