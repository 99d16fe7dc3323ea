"""The caller of a use case, and the checks of its limits (ADR 0014, 0021, 0031)."""

from dataclasses import dataclass

from swallowtail.cloud.model.archives import AccessLimits
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import Principal, Tenant
from swallowtail.cloud.model.use_case_errors import ForbiddenError


@dataclass(frozen=True)
class Caller:
    """A principal, the organisation in which it acts, and the address that it calls from."""

    principal: Principal
    tenant: Tenant
    address: str

    @property
    def limits(self) -> AccessLimits:
        """Return the facilities and archives to which this caller is limited."""
        return AccessLimits(facilities=self.principal.facilities, archives=self.principal.archives)

    def event(
        self,
        action: EventAction,
        kind: str,
        *objects: tuple[str, str],
        event: EventId = EventId.SECURITY_ALERT,
        detail: str = "",
    ) -> AuditEvent:
        """Return the audit event of an action of this caller; `kind` is its type."""
        return AuditEvent(
            event=event,
            action=action,
            type=kind,
            actor=self.principal.id,
            role=self.principal.role,
            address=self.address,
            objects=objects,
            detail=detail,
        )

    def check_facility(self, facility: str, noun: str) -> None:
        """Check that the caller may see a facility; raises NotFoundError.

        The message is the one of a `noun` that does not exist, so that it discloses nothing.
        """
        if self.principal.facilities is not None and facility not in self.principal.facilities:
            raise NotFoundError(f"there is no such {noun}")

    def check_archive(self, archive: str) -> None:
        """Check that the caller may see an archive; raises NotFoundError."""
        if self.principal.archives is not None and archive not in self.principal.archives:
            raise NotFoundError("there is no such archive")

    def check_unlimited(self) -> None:
        """Check that the caller is limited neither to facilities nor to archives.

        Raises ForbiddenError.
        """
        check_unlimited(self.principal)


def check_unlimited(principal: Principal) -> None:
    """Check that a principal is limited to no part of its organisation; raises ForbiddenError."""
    if principal.facilities is not None or principal.archives is not None:
        part = "facilities" if principal.facilities is not None else "archives"
        raise ForbiddenError(
            f"this concerns the whole organisation, and the token is limited to some of its {part}"
        )
