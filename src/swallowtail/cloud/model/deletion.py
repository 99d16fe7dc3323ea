"""Deletions of stored instances: what was deleted, by whom, and until when it can be restored.

Deleted instances leave the table of instances for one of their own, so that nothing that reads
instances needs of deletions (docs/adr, "Deleted instances are kept apart"). The ports at the
end follow the rules of `model.ports`.
"""

import enum
from typing import Final

from swallowtail.cloud.model.tenancy import Value

MAX_REASON: Final = 400


class Scope(Value, frozen=True, kw_only=True):
    """The scope of a deletion.

    A study, a series, a SOP Instance UID with all copies of it, or one row by its id.
    """

    study: str = ""
    series: str = ""
    sop_instance: str = ""
    instance: int | None = None

    def __post_init__(self) -> None:
        if not (self.study or self.sop_instance) and self.instance is None:
            raise ValueError("a scope names a study, an instance or a row")


class NewDeletion(Value, frozen=True, kw_only=True):
    """A person's decision to delete. `facilities`: only what came from these; None: from all."""

    id: str
    scope: Scope
    facilities: frozenset[str] | None = None
    reason: str
    deleted: float
    deleted_by: str
    """The principal's id."""
    until: float
    """The end of the retention: purged from then on."""


class DeletionState(enum.StrEnum):
    """The state of a deletion."""

    DELETED = "deleted"
    """Something of it can still be restored."""
    RESTORED = "restored"
    """All of it was restored."""
    PURGED = "purged"
    """Nothing of it is left to restore, and something of it was purged."""


class Deletion(Value, frozen=True, kw_only=True):
    """A deletion as it is now. The counts are of the facilities that the reader may see."""

    id: str
    scope: Scope
    reason: str
    deleted: float
    deleted_by: str
    until: float
    instances: int
    """How many instances were deleted."""
    restored: int
    purged: int

    @property
    def state(self) -> DeletionState:
        """Return the state of the deletion."""
        if self.restored + self.purged < self.instances:
            return DeletionState.DELETED
        return DeletionState.PURGED if self.purged else DeletionState.RESTORED


class Selection(Value, frozen=True, kw_only=True):
    """A selection of the instances of a deletion; empty: all."""

    series: tuple[str, ...] = ()
    instances: tuple[int, ...] = ()


class DeletedBatch(Value, frozen=True, kw_only=True):
    """The result of one transaction of a deletion."""

    count: int
    """Instances that it deleted; 0: nothing that the deletion is about is left."""
    last: int
    """The id of the newest instance that the deletion is about.

    What arrives later is none of it.
    """
    links: frozenset[str] = frozenset()
    """Links with deliveries that it skipped."""


class RetentionLock(Value, frozen=True, kw_only=True):
    """The lock of a study: nothing of it may be deleted or purged (legal hold)."""

    study: str
    reason: str
    locked_by: str
    """The principal's id."""
    since: float
