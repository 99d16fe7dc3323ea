"""The inventory of the database, for the commands that check, back up and restore.

The port spans tenants and is for the machinery: no person's request reaches it.
"""

import msgspec


class BlobReference(msgspec.Struct, frozen=True):
    """A blob that at least one instance refers to.

    `instance` is the lowest row id among the `instances` rows that do.
    """

    sha256: bytes
    length: int
    instance: int
    instances: int


class IndexCounts(msgspec.Struct, frozen=True):
    """The state of a tenant's index: jobs that wait, instances that could not be indexed.

    `undocumented`: indexed instances without a document, at most 100 row ids.
    """

    waiting: int
    quarantined: int
    undocumented: tuple[int, ...]
