"""Private keys that are kept in the database, each sealed.

The one list of them, for whoever replaces the master key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Table, select, update

from swallowtail.cloud.model.exporting import key_purpose
from swallowtail.cloud.records.schema import audit_export
from swallowtail.cloud.secrets.sealing import Seal


@dataclass(frozen=True)
class SealedKeys:
    """A column of sealed private keys (`Seal.close_key`).

    `purpose` makes of the value of `owner` what they are sealed for.
    """

    table: Table
    owner: Column[str]
    column: Column[bytes]
    purpose: Callable[[str], str]


COLUMNS: Final = (SealedKeys(audit_export, audit_export.c.tenant, audit_export.c.key, key_purpose),)


def reseal_rows(connection: Connection, seal: Seal) -> int:
    """Seal every key in the database under the newest master key; return how many were not."""
    count = 0
    for one in COLUMNS:
        rows = connection.execute(select(one.owner, one.column).where(one.column != b"")).all()
        for owner, pem in rows:
            purpose = one.purpose(owner)
            if not seal.is_current_key(pem, purpose):
                again = seal.close_key(seal.open_key(pem, purpose), purpose)
                connection.execute(
                    update(one.table).where(one.owner == owner).values({one.column: again})
                )
                count += 1
    return count
