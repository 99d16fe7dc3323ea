"""Live sessions of Links, as the API sees them; `links` implements it, `web` asks it."""

from swallowtail.cloud.model.port_errors import CloudError
from swallowtail.cloud.model.tenancy import Value


class LinkOfflineError(CloudError):
    """The Link has no live session; look at its host, its network and its code, then try again."""


class LinkSession(Value, frozen=True, kw_only=True):
    """A live session."""

    since: float
    """When it was welcomed, UTC seconds."""
    proven: float
    """When its last frame came, UTC seconds."""
    address: str
    release: str
    epoch: int
    round_trip: float | None = None
    """Seconds, of the last echo."""
