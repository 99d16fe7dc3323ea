"""The authentication of Links: code and key (wire §3).

A right code is always admitted, whatever comes from the same address: a hospital has one address.
Guessing is hopeless, a code has 135 bits; what it costs the Cloud is bounded by
`connection_limits`, which start the next connections of an address with many refused ones more
slowly.

An unknown, a revoked and a mistyped code, and one whose proof does not verify, take the same way
through the same lookup and receive the same answer. A wrong key receives `key`: its owner has the
code already, and who has replaced a machine has to be notified of rebind.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swallowtail.cloud.link_administration.admission import LinkAdmission
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import AdmissionProblem, Admitted
from swallowtail.wire.control import RefuseReason
from swallowtail.wire.handshake import HelloReceived

CODE_WAIT: Final = 30.0
STORAGE_WAIT: Final = 5.0

DETAILS: Final = {
    AdmissionProblem.CODE: "the security code is unknown, revoked or mistyped",
    AdmissionProblem.KEY: (
        "the code is bound to another machine's key; rebind replaces that machine"
    ),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refusal of a Link's hello."""

    reason: RefuseReason
    detail: str
    retry_after: float


class Gate:
    """The check of the hellos of one node."""

    def __init__(self, admission: LinkAdmission) -> None:
        self._admission = admission

    async def judge(self, received: HelloReceived, address: str) -> Admitted | Refusal:
        """Evaluate a hello.

        Admission binds a fresh code's key and raises the epoch, in one transaction.
        """
        hello = received.hello
        code = hello.code if received.proved else ""
        try:
            admission = await self._admission.admit(code, hello.key, address=address)
        except StorageUnavailableError:
            return Refusal(RefuseReason.BUSY, "the Cloud's storage is not available", STORAGE_WAIT)
        if isinstance(admission, Admitted):
            return admission
        return Refusal(RefuseReason(admission.problem.value), DETAILS[admission.problem], CODE_WAIT)


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Check an Ed25519 signature."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
