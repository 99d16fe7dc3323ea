"""Authentication of requests by bearer token."""

from collections.abc import Callable

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.credentials import KeyedHash
from swallowtail.cloud.model.decisions import not_authenticated
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.ports.tenancy import Organisations, Tokens
from swallowtail.cloud.model.rates import host_of
from swallowtail.cloud.model.tenancy import Principal, Tenant


class Authentication:
    """The authentication of a secret, and the organisation in which an operator acts.

    `on_refused` is called with the audit event of a refused secret and the tenant whose it is.
    """

    def __init__(
        self,
        tokens: Tokens,
        organisations: Organisations,
        hashes: KeyedHash,
        *,
        clock: Clock,
        on_refused: Callable[[Tenant, AuditEvent], None],
    ) -> None:
        self._tokens, self._organisations, self._hashes = tokens, organisations, hashes
        self._clock, self._on_refused = clock, on_refused

    async def principal(self, secret: str) -> Principal | None:
        """Return the principal of a secret; None: unknown, expired or revoked."""
        token = await self._tokens.find(self._hashes.of_token(secret), now=self._clock())
        if token is None:
            return None
        return Principal(
            id=token.id,
            name=token.name,
            role=token.role,
            tenant=token.tenant,
            facilities=token.facilities,
            archives=token.archives,
        )

    async def record_refusal(self, secret: str, address: str) -> None:
        """Record in the audit that a secret was refused, and why."""
        digest = self._hashes.of_token(secret)
        refused = await self._tokens.refusal(digest, now=self._clock())
        event = not_authenticated(refused, address=host_of(address))
        self._on_refused(refused.tenant, event)

    async def organisation(self, organisation: str) -> Tenant:
        """Return the tenant of an organisation that an operator names; raises NotFoundError."""
        return (await self._organisations.organisation(Tenant(organisation))).id

    async def check_storage(self) -> None:
        """Check that principals can be found; raises StorageUnavailableError."""
        await self._organisations.organisations(name="")
