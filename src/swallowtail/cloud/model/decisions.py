"""Decisions that every store makes alike, as pure functions of what it has read."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId, EventOutcome
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.delivery import DONE_STATES, Delivery, DeliveryState
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import (
    OPERATOR,
    AdmissionProblem,
    ApiToken,
    CodeState,
    Link,
    OrganisationState,
    RefusedToken,
    TokenProblem,
)


def stored_as(copies: Iterable[tuple[str, bytes]], identity: InstanceIdentity) -> Stored:
    """Return how an arrival is stored, given what its facility has under its UID.

    That is given as pairs of transfer syntax and SHA-256.
    """
    kept = set(copies)
    if not kept:
        return Stored.NEW
    if (identity.transfer_syntax, identity.sha256) in kept:
        return Stored.SAME
    if any(syntax == identity.transfer_syntax for syntax, _ in kept):
        return Stored.CONFLICT
    return Stored.OTHER_SYNTAX


def transferred(arrival: Arrival, stored: Stored) -> AuditEvent:
    """Return the audit event of an arrival: DICOM Instances Transferred (PS3.15 A.5.3.7)."""
    origin = arrival.origin
    return AuditEvent(
        event=EventId.INSTANCES_TRANSFERRED,
        action=EventAction.CREATE if stored is Stored.NEW else EventAction.UPDATE,
        type=f"instance.{stored}",
        actor=origin.actor or origin.calling_ae,
        address=origin.peer,
        objects=(
            ("instance", arrival.identity.sop_instance),
            ("sha256", arrival.identity.sha256.hex()),
        )
        + ((("link", origin.link),) if origin.link else ()),
    )


def delivered(delivery: Delivery, event: EventId) -> AuditEvent:
    """Return the audit event of a delivery that has ended.

    `event` is the payload's: of instances, DICOM Instances Transferred (PS3.15 A.5.3.7).
    """
    return AuditEvent(
        event=event,
        action=EventAction.READ,
        outcome=(
            EventOutcome.SUCCESS if delivery.state in DONE_STATES else EventOutcome.SERIOUS_FAILURE
        ),
        type=f"delivery.{delivery.state}",
        actor="dispatch",
        objects=(
            (delivery.payload.kind, delivery.payload.identifier),
            ("link", delivery.target.link),
            ("destination", delivery.target.destination),
        ),
        detail=delivery.detail,
    )


AWAITING_PERSON: Final = {
    DeliveryState.DEAD_LETTER: Condition.DEAD_LETTER,
    DeliveryState.STOPPED: Condition.LANE_STOPPED,
}
"""States in which a delivery waits for a person, and its alarm."""


def parked_alarm(delivery: Delivery) -> NewAlarm:
    """Return the alarm of a dead letter, or of a delivery that has stopped its lane."""
    name = delivery.target.destination
    text = (
        f"a delivery to {name} is a dead letter: {delivery.detail}. Then resend or retry it, or"
        " skip it"
    )
    if delivery.state is DeliveryState.STOPPED:
        what = f"a lane of {name} has stopped, and what follows in it waits"
        text = f"{what}: {delivery.detail}. Then retry the stopped delivery, or skip or park it"
    return NewAlarm(
        condition=AWAITING_PERSON[delivery.state],
        subject=delivery.target.subject,
        severity=Severity.MAJOR,
        detail=text,
    )


def conflict_alarm(arrival: Arrival, *, elsewhere: bool = False) -> NewAlarm:
    """Return the alarm that a UID came again with other bytes, which may be kept `elsewhere`.

    In another facility.
    """
    sender = arrival.origin.device or arrival.origin.calling_ae or "an upload"
    both = "both are kept, the first stays visible until you choose"
    if elsewhere:
        both = (
            "another facility holds the other; each facility keeps and shows its own, examine the"
            " sender"
        )
    return NewAlarm(
        condition=Condition.INSTANCE_CONFLICT,
        subject=arrival.identity.sop_instance,
        severity=Severity.MAJOR,
        detail=f"{sender} sent this SOP Instance UID with other content; {both}",
    )


def quarantine_alarm(sop_instance: str, problem: str) -> NewAlarm:
    """Return the alarm that a stored data set cannot be indexed, with what to do about it."""
    return NewAlarm(
        condition=Condition.INSTANCE_QUARANTINED,
        subject=sop_instance,
        severity=Severity.MAJOR,
        detail=(
            f"the data set is stored, and was acknowledged, but cannot be indexed: {problem}; "
            "GET /api/v1/unindexed-instances lists it: download it to examine it, index it again, "
            "or delete it and have the sender send it again"
        ),
    )


def judge(link: Link, key: bytes, now: float) -> AdmissionProblem | None:
    """Return why a key that presents this Link's code is refused (wire §3); None.

    Admit it, and bind it where the code is fresh.
    """
    if link.code_state is CodeState.FRESH:
        return None if link.code_until is None or now < link.code_until else AdmissionProblem.CODE
    if link.code_state is CodeState.REVOKED:
        return AdmissionProblem.CODE
    return None if link.key == key else AdmissionProblem.KEY


def admitted(link: Link, *, bound: bool, address: str) -> AuditEvent:
    """Return the audit event of a session that begins (PS3.15 A.5.3.11, Login)."""
    return AuditEvent(
        event=EventId.USER_AUTHENTICATION,
        action=EventAction.EXECUTE,
        type="link.bound" if bound else "link.admitted",
        actor=link.name,
        role="link",
        address=address,
        objects=(("link", link.id),),
    )


def not_admitted(link: Link, problem: AdmissionProblem, *, address: str) -> AuditEvent:
    """Return the audit event of a known code that was refused."""
    return AuditEvent(
        event=EventId.USER_AUTHENTICATION,
        action=EventAction.EXECUTE,
        outcome=EventOutcome.SERIOUS_FAILURE,
        type=f"link.refused.{problem}",
        actor=link.name,
        role="link",
        address=address,
        objects=(("link", link.id),),
    )


def key_alarm(link: Link, address: str) -> NewAlarm:
    """Return the alarm of a bound code that was presented with another key."""
    return NewAlarm(
        condition=Condition.LINK_KEY,
        subject=link.id,
        severity=Severity.CRITICAL,
        detail=(
            f"{address} presented the code of Link {link.name} with another device key: rebind if"
            " the machine was replaced, otherwise rotate the code, it has leaked"
        ),
    )


def refusal_of(token: ApiToken, state: str | None, now: float) -> RefusedToken:
    """Return why a token that is presented now is refused.

    `state` is that of its organisation, None for an operator's.
    """
    if token.revoked is not None:
        problem = TokenProblem.REVOKED
    elif token.expires is not None and token.expires <= now:
        problem = TokenProblem.EXPIRED
    elif token.tenant is not None and state != OrganisationState.ACTIVE:
        problem = TokenProblem.ORGANISATION
    else:
        problem = TokenProblem.ROTATED
    return RefusedToken(problem=problem, tenant=token.tenant or OPERATOR, id=token.id)


def not_authenticated(refused: RefusedToken, *, address: str) -> AuditEvent:
    """Return the audit event of a request with an invalid token (PS3.15 A.5.3.11, Login).

    It never holds the secret.
    """
    return AuditEvent(
        event=EventId.USER_AUTHENTICATION,
        action=EventAction.EXECUTE,
        outcome=(
            EventOutcome.MINOR_FAILURE
            if refused.problem is TokenProblem.UNKNOWN
            else EventOutcome.SERIOUS_FAILURE
        ),
        type=f"token.refused.{refused.problem}",
        actor=refused.id or "(unknown)",
        address=address,
        objects=(("token", refused.id),) if refused.id else (),
    )


def token_alarm(token: ApiToken, act: str) -> NewAlarm:
    """Return the alarm that an operator changed a token of an organisation (ADR 0006)."""
    secret = "may have" if act == "changed" else "has seen"
    return NewAlarm(
        condition=Condition.OPERATOR_TOKEN,
        subject=token.id,
        severity=Severity.WARNING,
        detail=(
            f"an operator {act} the token {token.name!r} of the role {token.role} and {secret} its"
            " secret, which opens patient data: acknowledge this if you asked for it and trust its"
            " way to you, otherwise revoke the token and make your own"
        ),
    )


def folded(text: str) -> str:
    """Return text for comparison without case and accents (PS3.4 C.2.2.2.1, names)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def words_of(name: str) -> list[str]:
    """Return the words of a person name, separated by ^, = and spaces (PS3.5 6.2.1)."""
    return (
        name.replace("^", " ")
        .replace("=", " ")
        .replace(",", " ")
        .replace("*", " ")
        .replace("?", " ")
        .split()
    )
