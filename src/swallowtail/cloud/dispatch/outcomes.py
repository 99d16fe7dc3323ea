"""The outcomes of an attempt, in terms that every route and payload kind has."""

from dataclasses import dataclass

from swallowtail.cloud.model.delivery import FailureSubject


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The destination has the payload."""

    status: int | None = None
    warned: bool = False
    comment: str = ""
    """The destination's own text."""
    seconds: float | None = None
    """Duration of the transfer to the destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The destination does not have the payload, according to the route."""

    about: FailureSubject
    phase: str
    detail: str
    """For a person: what failed, the cause, the action; no patient data."""
    status: int | None = None
    permanent: bool = False
    """It cannot succeed before somebody changes the destination or its settings."""
    comment: str = ""
    """The destination's own text, which may hold anything."""
    after: float = 0.0
    """Seconds after which the route would begin it."""
    begun: bool = True
    """Whether anything outside the Cloud and Link can have seen the attempt."""
    behind: bool = False
    """It was not begun, and may be because the one before it on its connection failed."""
    interrupted: bool = False
    """The connection ended during the transfer, without a response."""


@dataclass(frozen=True, slots=True)
class RouteLost:
    """The route ended or did not respond as it should.

    `session_ended`: there is no session to retry on.
    """

    detail: str
    session_ended: bool = True


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The route did not begin it, because the one before it on its connection failed."""

    detail: str


@dataclass(frozen=True, slots=True)
class PayloadSuspected:
    """The connection ended again during this payload, while the destination responds otherwise."""

    failure: Failure
    evidence: str
    """How the destination responded, as the end of a sentence."""


Outcome = Success | Failure | RouteLost | NotBegun | PayloadSuspected
