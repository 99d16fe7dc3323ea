"""API tokens: the statements of the port `Tokens`."""

from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    insert,
    or_,
    select,
    update,
)

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.decisions import refusal_of, token_alarm
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.model.tenancy import (
    ALL_TOKENS,
    OPERATOR,
    ApiToken,
    RefusedToken,
    Role,
    Tenant,
    TokenChange,
    TokenProblem,
    TokenSearch,
    TokenState,
)
from swallowtail.cloud.records import schema, scopes
from swallowtail.cloud.records.alarms import cleared, is_raised, raised, raised_unseen
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.organisations import require_organisation
from swallowtail.cloud.records.rows import Listing, only, paged, plain, values
from swallowtail.cloud.records.searching import matches

_token = schema.api_token
_UNEXPIRED = or_(_token.c.expires.is_(None), _token.c.expires > bindparam("now"))
FIND = select(_token).where(
    or_(
        _token.c.digest == bindparam("digest"),
        and_(_token.c.previous == bindparam("digest"), _token.c.previous_until > bindparam("now")),
    ),
    _token.c.revoked.is_(None),
    _UNEXPIRED,
    or_(
        _token.c.tenant == OPERATOR,
        exists().where(
            schema.organisation.c.id == _token.c.tenant,
            schema.organisation.c.state == "active",
        ),
    ),
)
ANY = (
    select(_token, schema.organisation.c.state)
    .outerjoin(schema.organisation, schema.organisation.c.id == _token.c.tenant)
    .where(or_(_token.c.digest == bindparam("digest"), _token.c.previous == bindparam("digest")))
)
ONE = select(_token).where(_token.c.tenant == bindparam("tenant"), _token.c.id == bindparam("id"))


class TokenRecords:
    """The port `Tokens` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: ApiToken, digest: bytes, *, now: float, event: AuditEvent) -> None:
        tenant = token.tenant or OPERATOR

        def add(unit: Unit) -> None:
            if tenant != OPERATOR:
                require_organisation(unit.connection, tenant)
            row = _row(values(token)) | {"tenant": tenant, "digest": digest}
            unit.connection.execute(insert(_token), row)
            unit.audit(tenant, event, now)
            if _by_operator(tenant, event):
                raised(unit.connection, tenant, token_alarm(token, "made"), now)

        await self._database.write(add, tenant=tenant)

    async def find(self, digest: bytes, *, now: float) -> ApiToken | None:
        def find(connection: Connection) -> ApiToken | None:
            scopes.present(connection, digest)
            row = connection.execute(FIND, {"digest": digest, "now": now}).mappings().first()
            return None if row is None else _of(plain(row))

        return await self._database.read(find)

    async def refusal(self, digest: bytes, *, now: float) -> RefusedToken:
        def find(connection: Connection) -> RefusedToken:
            scopes.present(connection, digest)
            row = connection.execute(ANY, {"digest": digest}).mappings().first()
            if row is None:
                return RefusedToken(problem=TokenProblem.UNKNOWN)
            return refusal_of(_of(plain(row)), row["state"], now)

        return await self._database.read(find)

    async def token(self, tenant: Tenant, token: str) -> ApiToken:
        return await self._database.read(
            lambda connection: _one(connection, tenant, token), tenant=tenant
        )

    async def tokens(
        self,
        tenant: Tenant,
        search: TokenSearch = ALL_TOKENS,
        page: PageRequest = FIRST_PAGE,
        *,
        now: float,
    ) -> Page[ApiToken]:
        key, query = {"tenant": tenant, "now": now}, TOKENS.where(*_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, query, key, page), tenant=tenant
        )

    async def change(
        self,
        tenant: Tenant,
        token: str,
        change: TokenChange,
        *,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        def change_(unit: Unit) -> ApiToken:
            _usable(_one(unit.connection, tenant, token))
            if change.values():
                _update(unit.connection, tenant, token, _row(change.values()))
            changed = _one(unit.connection, tenant, token)
            if _by_operator(tenant, event):
                raised_unseen(unit.connection, tenant, token_alarm(changed, "changed"), now)
            unit.audit(tenant, event, now)
            return changed

        return await self._database.write(change_, tenant=tenant)

    async def rotate(
        self,
        tenant: Tenant,
        token: str,
        digest: bytes,
        *,
        until: float | None,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        def rotate(unit: Unit) -> ApiToken:
            old = _one(unit.connection, tenant, token)
            _usable(old)
            if old.expires is not None and old.expires <= now:
                raise ConflictError("the token has expired; change its expiry first")
            previous = None if until is None else _token.c.digest
            row = {"previous": previous, "previous_until": until, "digest": digest, "rotated": now}
            _update(unit.connection, tenant, token, row)
            rotated = _one(unit.connection, tenant, token)
            if _by_operator(tenant, event):
                raised_unseen(unit.connection, tenant, token_alarm(rotated, "rotated"), now)
            elif until is None and not _is_operators(unit.connection, tenant, event.actor):
                cleared(unit.connection, tenant, Condition.OPERATOR_TOKEN, token, now)
            unit.audit(tenant, event, now)
            return rotated

        return await self._database.write(rotate, tenant=tenant)

    async def revoke(self, tenant: Tenant, token: str, *, now: float, event: AuditEvent) -> None:
        def revoke(unit: Unit) -> None:
            if _one(unit.connection, tenant, token).revoked is None:
                _update(unit.connection, tenant, token, {"revoked": now})
            if event.role != Role.OPERATOR:  # who made it may not clear its alarm
                cleared(unit.connection, tenant, Condition.OPERATOR_TOKEN, token, now)
            unit.audit(tenant, event, now)

        await self._database.write(revoke, tenant=tenant)


def _by_operator(tenant: Tenant, event: AuditEvent) -> bool:
    return tenant != OPERATOR and event.role == Role.OPERATOR


def _is_operators(connection: Connection, tenant: Tenant, token: str) -> bool:
    """Return whether an operator has the secret of a token: what it does is what they may do."""
    return is_raised(connection, tenant, Condition.OPERATOR_TOKEN, token)


def _usable(token: ApiToken) -> None:
    if token.revoked is not None:
        raise ConflictError("the token is revoked, which is final; create another")


def _one(connection: Connection, tenant: Tenant, token: str) -> ApiToken:
    return only(connection.execute(ONE, {"tenant": tenant, "id": token}), _of, "token")


def _update(connection: Connection, tenant: Tenant, token: str, row: dict[str, Any]) -> None:
    mine = (_token.c.tenant == tenant) & (_token.c.id == token)
    connection.execute(update(_token).where(mine).values(row))


def _conditions(search: TokenSearch) -> list[ColumnElement[bool]]:
    conditions = [matches(_token.c.name, search.name)]
    if search.role is not None:
        conditions.append(_token.c.role == search.role)
    if search.facility:
        listed = _token.c.facilities.contains(_encoded(search.facility), autoescape=True)
        conditions.append(or_(_token.c.facilities.is_(None), listed))
    match search.state:
        case TokenState.REVOKED:
            conditions.append(_token.c.revoked.is_not(None))
        case TokenState.EXPIRED:
            conditions += [_token.c.revoked.is_(None), _token.c.expires <= bindparam("now")]
        case TokenState.ACTIVE:
            conditions += [_token.c.revoked.is_(None), _UNEXPIRED]
    return conditions


_LIMITS: Final = ("facilities", "archives")
"""Columns that hold a list of ids; null: no limit."""


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _row(fields: dict[str, Any]) -> dict[str, Any]:
    limits = {name: fields[name] for name in _LIMITS if fields.get(name) is not None}
    return fields | {name: _encoded(sorted(ids)) for name, ids in limits.items()}


def _of(row: dict[str, Any]) -> ApiToken:
    limits = {
        name: None if row[name] is None else msgspec.json.decode(str(row[name])) for name in _LIMITS
    }
    return msgspec.convert(row | {"tenant": row["tenant"] or None} | limits, ApiToken)


TOKENS = Listing(select(_token).where(_token.c.tenant == bindparam("tenant")), _of, (_token.c.id,))
