"""Organisations (the tenants), their facilities, Links and tokens."""

import enum
from typing import Any, Final, NewType

import msgspec

Tenant = NewType("Tenant", str)
"""An organisation's id: 1 to 32 of a-z and 0-9, so that it can name a folder."""

OPERATOR: Final = Tenant("")
"""The operator's own audit chain and tokens; no organisation has this id."""

FIRST_CODE_WINDOW: Final = 14 * 86_400.0
"""How long a new Link's first code waits for its key, in seconds (design, "The wire")."""
REBIND_WINDOW: Final = 3_600.0
"""How long a rebind's code waits for the new machine's key, in seconds (design, "The wire")."""


DEFAULT_RETENTION_DAYS: Final = 30
MAX_RETENTION_DAYS: Final = 3650
DAY: Final = 86_400.0


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the model: frozen, compared by value."""


class OrganisationState(enum.StrEnum):
    """The state of an organisation.

    A removed one is not found, and is purged when its retention has ended.
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Organisation(Value, frozen=True, kw_only=True):
    """A tenant; `name` is unique among all and is what `apply` calls it."""

    id: Tenant
    name: str
    title: str = ""
    state: OrganisationState = OrganisationState.ACTIVE
    created: float
    retention_days: int = DEFAULT_RETENTION_DAYS
    """How long what is deleted from now on can be restored, before it is purged."""


class Facility(Value, frozen=True, kw_only=True):
    """A place of the organisation; `name` is unique in it; `time_zone` is an IANA name."""

    id: str
    name: str
    title: str = ""
    time_zone: str


class CodeState(enum.StrEnum):
    """The state of a Link's security code."""

    FRESH = "fresh"
    """No key yet: the first key that presents it until `code_until` is bound."""
    BOUND = "bound"
    """Valid with one device key."""
    REVOKED = "revoked"
    """No longer valid."""


class Link(Value, frozen=True, kw_only=True):
    """A Link as the Cloud stores it.

    `key` is its Ed25519 public key, empty until bound; the code is kept as keyed hash only.
    """

    id: str
    facility: str
    name: str
    code_state: CodeState = CodeState.FRESH
    code_until: float | None = None
    """Until when a fresh code can be bound."""
    key: bytes = b""
    epoch: int = 0
    """Raised by every admission and by rotate, revoke and rebind.

    Commits of an older epoch are fenced.
    """
    created: float


class SecurityCode(Value, frozen=True, kw_only=True):
    """A new security code.

    Its keyed hash (32 bytes), and until when a key may be bound to it, where one still has to be.
    """

    digest: bytes
    until: float


class Admitted(Value, frozen=True, kw_only=True):
    """The code and key are valid.

    Whose Link this is, and the epoch that this session has from now on.
    """

    tenant: Tenant
    link: Link
    bound: bool
    """This admission bound the key."""


class AdmissionProblem(enum.StrEnum):
    """Why a Link is not admitted, in the words of wire §3."""

    CODE = "code"
    KEY = "key"


class NotAdmitted(Value, frozen=True, kw_only=True):
    """Refused.

    `tenant` and `link` own the code, for audit and alarm; None: unknown code. Never disclosed
    to the outside.
    """

    problem: AdmissionProblem
    tenant: Tenant | None = None
    link: str | None = None


Admission = Admitted | NotAdmitted


class Role(enum.StrEnum):
    """The role of a principal (design, "Cloud")."""

    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"
    INTEGRATOR = "integrator"
    CLINICIAN = "clinician"
    AUDITOR = "auditor"


class ApiToken(Value, frozen=True, kw_only=True):
    """A right to use the API; the secret is kept as keyed hash only.

    An operator's token has no organisation.
    """

    id: str
    tenant: Tenant | None
    name: str
    role: Role
    facilities: frozenset[str] | None = None
    """Facility ids it is limited to; None: all."""
    archives: frozenset[str] | None = None
    """Archive ids it is limited to; None: it sees studies whatever archive they are in."""
    created: float
    expires: float | None = None
    revoked: float | None = None
    rotated: float | None = None
    """When its secret was last replaced."""
    previous_until: float | None = None
    """Until when the secret before that is valid too; None: it ended with the rotation."""


class TokenState(enum.StrEnum):
    """The state of a token."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class TokenSearch(Value, frozen=True, kw_only=True):
    """A search for tokens; every given key must match."""

    name: str = ""
    """`*` and `?` are wildcards."""
    role: Role | None = None
    facility: str = ""
    """May see this facility: limited to it among others, or not limited."""
    state: TokenState | None = None


ALL_TOKENS: Final = TokenSearch()


class TokenChange(Value, frozen=True, kw_only=True):
    """A change of a token; unset fields stay."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    facilities: frozenset[str] | msgspec.UnsetType | None = msgspec.UNSET
    archives: frozenset[str] | msgspec.UnsetType | None = msgspec.UNSET
    expires: float | msgspec.UnsetType | None = msgspec.UNSET

    def values(self) -> dict[str, Any]:
        """Return what is set, by field."""
        set_ = msgspec.structs.asdict(self)
        return {name: value for name, value in set_.items() if value is not msgspec.UNSET}


class TokenProblem(enum.StrEnum):
    """The cause of a refused token, which is not disclosed."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ROTATED = "rotated"
    """Its secret was replaced, and the grace of the old one is over."""
    ORGANISATION = "organisation"
    """Its organisation is suspended or removed."""


class RefusedToken(Value, frozen=True, kw_only=True):
    """A token that opens nothing, and whose it is, for the audit; an unknown one is nobody's."""

    problem: TokenProblem
    tenant: Tenant = OPERATOR
    id: str = ""


class Principal(Value, frozen=True, kw_only=True):
    """The authenticated actor of a request."""

    id: str
    name: str
    role: Role
    tenant: Tenant | None
    facilities: frozenset[str] | None = None
    archives: frozenset[str] | None = None
