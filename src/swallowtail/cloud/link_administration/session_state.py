"""The state of a Link's session: online or offline, and its last session."""

import msgspec

from swallowtail.cloud.model.operations import Running
from swallowtail.cloud.model.ports.sessions import Sessions
from swallowtail.cloud.model.tenancy import Tenant, Value


class SessionState(Value, frozen=True, kw_only=True):
    """The state of a Link, and its present or last session."""

    online: bool
    since: float | None = None
    """When it came online or went offline, UTC seconds."""
    last_seen: float | None = None
    """When its last frame came, UTC seconds."""
    address: str = ""
    release: str = ""
    round_trip: float | None = None
    """Seconds, of the last echo; None: offline, or connected to another node."""


def session_state(
    sessions: Sessions, tenant: Tenant, link: str, reported: Running | None
) -> SessionState:
    """Return the state of a Link's session.

    A session on this node is known to the second; of others the store has what was `reported`.
    """
    here = sessions.session(tenant, link)
    if here is not None:
        values = msgspec.structs.asdict(here)
        known = {name: values[name] for name in ("since", "address", "release", "round_trip")}
        return SessionState(online=True, last_seen=here.proven, **known)
    if reported is None:
        return SessionState(online=False)
    return SessionState(
        online=reported.connected,
        since=reported.since,
        last_seen=reported.seen,
        address=reported.address,
        release=reported.release,
    )
