"""Use cases of API tokens.

No token changes its own role, limits or expiry, so that a disclosed one can neither widen nor
prolong itself.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.credentials import KeyedHash, mint_token
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest, walk
from swallowtail.cloud.model.ports.archives import Archives
from swallowtail.cloud.model.ports.tenancy import Organisations, Tokens
from swallowtail.cloud.model.tenancy import (
    OPERATOR,
    ApiToken,
    Role,
    Tenant,
    TokenChange,
    TokenSearch,
    TokenState,
)
from swallowtail.cloud.model.use_case_errors import ForbiddenError, InvalidValueError


class IssuedToken(NamedTuple):
    """A token and its secret, which is kept as a keyed hash only."""

    token: ApiToken
    secret: str


class _Administration:
    """The common part of the administration of both kinds of tokens."""

    def __init__(
        self, tokens: Tokens, hashes: KeyedHash, *, clock: Clock, random: Randomness
    ) -> None:
        self._tokens, self._hashes = tokens, hashes
        self._clock, self._random = clock, random

    def _scope(self, caller: Caller) -> Tenant:
        """Return the tenant whose tokens are administered."""
        raise NotImplementedError

    async def tokens(
        self, caller: Caller, search: TokenSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[ApiToken]:
        """Return the tokens that match, by id."""
        return await self._tokens.tokens(self._scope(caller), search, page, now=self._clock())

    async def token(self, caller: Caller, token: str) -> ApiToken:
        """Return one token."""
        return await self._tokens.token(self._scope(caller), token)

    async def rotate(self, caller: Caller, token: str, *, grace: float) -> IssuedToken:
        """Replace the secret of a token; the old one is valid for `grace` seconds."""
        now, secret = self._clock(), mint_token(self._random)
        detail = f"the old secret ends in {grace:g} s" if grace else "the old secret ends at once"
        rotated = await self._tokens.rotate(
            self._scope(caller),
            token,
            self._hashes.of_token(secret),
            until=now + grace if grace else None,
            now=now,
            event=caller.event(EventAction.UPDATE, "token.rotate", ("token", token), detail=detail),
        )
        return IssuedToken(rotated, secret)

    async def revoke(self, caller: Caller, token: str) -> None:
        """Revoke a token; revoking a revoked one changes nothing."""
        event = caller.event(EventAction.DELETE, "token.revoke", ("token", token))
        await self._tokens.revoke(self._scope(caller), token, now=self._clock(), event=event)

    async def _issue(
        self,
        caller: Caller,
        tenant: Tenant | None,
        *,
        name: str,
        role: Role,
        expires: float | None,
        facilities: frozenset[str] | None = None,
        archives: frozenset[str] | None = None,
    ) -> IssuedToken:
        now = self._clock()
        self._check_expiry(expires)
        token = ApiToken(
            id=new_id(self._random),
            tenant=tenant,
            name=name,
            role=role,
            facilities=facilities,
            archives=archives,
            created=now,
            expires=expires,
        )
        secret = mint_token(self._random)
        event = caller.event(
            EventAction.CREATE, "token.create", ("token", token.id), detail=f"role {role}"
        )
        await self._tokens.add(token, self._hashes.of_token(secret), now=now, event=event)
        return IssuedToken(token, secret)

    async def _change(self, caller: Caller, token: str, change: TokenChange) -> ApiToken:
        given = change.values()
        if token == caller.principal.id and given.keys() - {"name"}:
            raise ForbiddenError(
                "a token cannot change its own role, limits or expiry; use another token"
            )
        if "expires" in given:
            self._check_expiry(given["expires"])
        detail = "; ".join(f"{name} {_audited(value)}" for name, value in given.items())
        event = caller.event(EventAction.UPDATE, "token.update", ("token", token), detail=detail)
        return await self._tokens.change(
            self._scope(caller), token, change, now=self._clock(), event=event
        )

    def _check_expiry(self, expires: float | None) -> None:
        if expires is not None and expires <= self._clock():
            raise InvalidValueError("$.expires", "is in the past; it is UTC seconds")


class TokenAdministration(_Administration):
    """Lists, issues and changes the tokens of the caller's organisation."""

    def __init__(
        self,
        tokens: Tokens,
        organisations: Organisations,
        archives: Archives,
        hashes: KeyedHash,
        *,
        clock: Clock,
        random: Randomness,
    ) -> None:
        super().__init__(tokens, hashes, clock=clock, random=random)
        self._organisations, self._archives = organisations, archives

    def _scope(self, caller: Caller) -> Tenant:
        return caller.tenant

    async def create(
        self,
        caller: Caller,
        *,
        name: str,
        role: Role,
        facilities: Collection[str] | None,
        archives: Collection[str] | None,
        expires: float | None,
    ) -> IssuedToken:
        """Issue a token of the organisation."""
        _check_role(role)
        await self._check_facilities(caller, facilities)
        await self._check_archives(caller, archives)
        return await self._issue(
            caller,
            caller.tenant,
            name=name,
            role=role,
            expires=expires,
            facilities=None if facilities is None else frozenset(facilities),
            archives=None if archives is None else frozenset(archives),
        )

    async def update(self, caller: Caller, token: str, change: TokenChange) -> ApiToken:
        """Change what is set in `change`; raises ConflictError when the token is revoked."""
        given = change.values()
        _check_role(given.get("role"))
        await self._check_facilities(caller, given.get("facilities"))
        await self._check_archives(caller, given.get("archives"))
        return await self._change(caller, token, change)

    async def _check_facilities(self, caller: Caller, facilities: Collection[str] | None) -> None:
        if not facilities:
            return
        organisations = self._organisations
        known = {
            one.id async for one in walk(lambda page: organisations.facilities(caller.tenant, page))
        }
        _check_known("facility", "$.facilities", facilities, known)

    async def _check_archives(self, caller: Caller, archives: Collection[str] | None) -> None:
        wanted = list(archives or ())
        known = await self._archives.known(caller.tenant, wanted)
        _check_known("archive", "$.archives", wanted, known)


class OperatorTokenAdministration(_Administration):
    """Lists, issues and changes the tokens of operators."""

    def _scope(self, caller: Caller) -> Tenant:
        return OPERATOR

    async def create(
        self,
        caller: Caller,
        *,
        name: str,
        role: Role,
        facilities: Collection[str] | None,
        archives: Collection[str] | None,
        expires: float | None,
    ) -> IssuedToken:
        """Issue a token of an operator."""
        if role is not Role.OPERATOR or facilities is not None or archives is not None:
            raise InvalidValueError(
                "$.role", "an operator's token has the role operator and no facilities or archives"
            )
        return await self._issue(caller, None, name=name, role=role, expires=expires)

    async def bootstrap(self) -> str | None:
        """Issue an operator's token where none can be used, and return its secret."""
        now, usable = self._clock(), TokenSearch(state=TokenState.ACTIVE)
        if (await self._tokens.tokens(OPERATOR, usable, PageRequest(1), now=now)).items:
            return None
        secret = mint_token(self._random)
        token = ApiToken(
            id=new_id(self._random), tenant=None, name="bootstrap", role=Role.OPERATOR, created=now
        )
        event = AuditEvent(
            event=EventId.APPLICATION_ACTIVITY,
            action=EventAction.CREATE,
            type="operator.bootstrap",
            actor="cloud serve",
            objects=(("token", token.id),),
        )
        await self._tokens.add(token, self._hashes.of_token(secret), now=now, event=event)
        return secret

    async def update(self, caller: Caller, token: str, change: TokenChange) -> ApiToken:
        """Change what is set in `change`; raises ConflictError when the token is revoked."""
        return await self._change(caller, token, change)


def _check_role(role: Role | None) -> None:
    if role is Role.OPERATOR:
        raise ForbiddenError(
            "an operator's token belongs to no organisation; use /api/v1/operator-tokens"
        )


def _check_known(noun: str, field: str, wanted: Collection[str], known: Collection[str]) -> None:
    if unknown := [one for one in wanted if one not in known]:
        message = f"there is no {noun} {unknown[0]!r} in this organisation"
        raise InvalidValueError(field, message)


def _audited(value: Any) -> str:
    """Return a changed value as the audit record shows it."""
    if isinstance(value, frozenset):
        return ",".join(sorted(value)) or "none"
    return "unlimited" if value is None else str(value)
